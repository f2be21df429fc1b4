"""A table of opt-outs that forgot a person is the table that it would be, but for number and text."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.ledger.person import Person
from airflow_provider_winsms.phone import NumberPlan
from airflow_provider_winsms.warehouse.person import open_personal_rows
from airflow_provider_winsms.warehouse.relations import TableName
from tests.support import databases
from tests.support.lists import listing, row
from tests.transfers.loads import run, stored

if TYPE_CHECKING:
    from tests.support.databases import Database
    from tests.support.lists import Lists

ANN, BEN, CAT = NUMBERS = [f"2782555010{each}" for each in range(3)]
SECRET = "a secret that outlives API keys"  # noqa: S105 - of a test
BEGAN = datetime(2026, 5, 1, tzinfo=UTC)

ENTRIES = st.builds(
    row,
    message_id=st.none() | st.integers(1, 3),
    number=st.sampled_from(NUMBERS),
    text=st.sampled_from(["STOP", "END"]),
    receiveTime=st.sampled_from(["202603021030", "202603021031"]),
)
LOADS = st.lists(st.tuples(st.lists(ENTRIES, max_size=4), st.booleans()), min_size=1, max_size=5)
"""The entries of each load, and whether Ann is forgotten after it."""


def load(database: Database, lists: Lists, at: datetime, privacy: str, *, to_forget: bool) -> bool:
    """Load, forget Ann if that is asked for, and return whether anything was forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        database.let_tasks_find_it(patch)
        patch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", lists.connection)
        run(database, "opt_outs", began=at, privacy=privacy)
        if not to_forget:
            return False
        person = Person(ANN, [KeyedHash(SECRET)], NumberPlan("27"))
        with open_personal_rows(database.hook(), TableName("replies")) as rows:
            return any(rows.forget(person).values())


def without_ann(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    hashes = KeyedHash(SECRET)
    hidden = {"number": hashes.pseudonym(ANN), "text": None, "number_key_id": None}
    return [{**each, **hidden} if each["number"] in {ANN, hashes.of(ANN)} else each for each in rows]


def comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave ``loaded_at`` out: a text that changes is no change of a row without its text."""
    return sorted(({**each, "loaded_at": None} for each in rows), key=repr)


@given(loads=LOADS, privacy=st.sampled_from(["none", "keyed_hash"]))
@settings(max_examples=40)
def test_a_table_that_forgot_a_person_goes_on_as_if_it_had_not(
    loads: list[tuple[list[dict[str, Any]], bool]], privacy: str
) -> None:
    is_forgotten = False
    with tempfile.TemporaryDirectory() as folder, listing() as lists:
        lists.extra["hash_secret"] = SECRET
        kept, forgot = (databases.sqlite(Path(folder) / name) for name in ("kept.db", "forgot.db"))
        for day, (entries, to_forget) in enumerate(loads):
            lists.opt_outs = entries
            at = BEGAN + timedelta(days=day)
            load(kept, lists, at, privacy, to_forget=False)
            is_forgotten |= load(forgot, lists, at, privacy, to_forget=to_forget)
            for table in ("replies", "replies_history"):
                expected = stored(kept, "opt_outs", table)
                found = stored(forgot, "opt_outs", table)
                expected = without_ann(expected) if is_forgotten else expected
                assert comparable(found) == comparable(expected)
