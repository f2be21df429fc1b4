"""The column ``raw`` is JSON for every database that reads JSON, whatever the gateway wrote."""

from __future__ import annotations

import json
from contextlib import closing
from math import isfinite
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.lists import listing, row
from tests.transfers.loads import run

if TYPE_CHECKING:
    from tests.support.databases import Database
    from tests.support.lists import Lists

HALF = "\ud83d"
TEXTS = st.text(st.characters(categories=None) | st.sampled_from(["\0", HALF, "\ude00", "\\", "u", '"']))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def mended(value: Any) -> Any:
    """Return what is right, in words of its own."""
    if isinstance(value, str):
        pairs = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return pairs.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {mended(key): mended(each) for key, each in value.items()}
    if isinstance(value, list):
        return [mended(each) for each in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def strange(value: Any) -> dict[str, Any]:
    return row(1, "27825550101", "Yes", whatever=value)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(values=st.lists(VALUES, min_size=1, max_size=9))
def test_postgresql_reads_each_row_as_json(values: list[Any], postgres: Database) -> None:
    with listing() as lists, pytest.MonkeyPatch.context() as patch, closing(postgres.connect()) as looking:
        patch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", lists.connection)
        lists.rows = [{**strange(value), "incomingApiMessageId": n} for n, value in enumerate(values, 1)]
        looking.execute(f"DROP TABLE IF EXISTS {postgres.named('replies')}")
        looking.commit()
        run(postgres, include_raw=True)
        found = looking.execute(
            f"SELECT raw, (raw::jsonb ->> 'messageText') FROM {postgres.named('replies')} ORDER BY message_id"  # noqa: S608 - a test's own name
        ).fetchall()
    assert [text for _, text in found] == ["Yes"] * len(values)
    assert [json.loads(raw)["whatever"] for raw, _ in found] == [
        mended(json.loads(json.dumps(value))) for value in values
    ]


@pytest.mark.parametrize(
    "value",
    [
        "\0",
        HALF,
        f"a{HALF}\0",
        {"\0": 1},
        {HALF: [{"\ude00": "\0"}]},
        [[["\0"]]],
        "\\u0000",
        "\\ud83d",
        "\U0001f600",
        float("nan"),
        float("inf"),
        [float("-inf")],
    ],
    ids=repr,
)
def test_what_no_database_stores_is_mended_in_the_whole_row_too(
    value: Any, lists: Lists, postgres: Database
) -> None:
    lists.rows = [strange(value)]
    run(postgres, include_raw=True)
    (found,) = postgres.column("raw::jsonb", "replies")
    assert found["whatever"] == mended(value)


def test_the_test_would_see_it(postgres: Database) -> None:
    with pytest.raises(psycopg.errors.UntranslatableCharacter):
        postgres.execute("SELECT '[\"\\u0000\"]'::jsonb")
