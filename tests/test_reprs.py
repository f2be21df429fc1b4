"""No ``repr`` of anything that the package hands about shows a number, a text or a key.

Frameworks put reprs into logs: of arguments, of local variables in a traceback, of futures and of tasks.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

import airflow_provider_winsms
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.sandbox.plan import MagicNumber

PERSONAL_BY_KIND = {
    "number": "number numbers digits phone phones mobile msisdn to recipient recipients",
    "text": "text texts message messages body content digest digests value values reference",
    "either": """
        raw rows row headers query client_id name display_name answer keys chunks first shown_duplicates
        reply path""",
    "key": "api_key hash_secret secret password token key",
}
PERSONAL = set(" ".join(PERSONAL_BY_KIND.values()).split())
"""Names of fields that may hold a number, a text or a key."""

PLAIN_BY_KIND = {
    "what a gateway, a table, a view, a list, a field of a template, an operation or a fault is called": """
        Endpoint.name LedgerTable.name View.name Column.name LedgerColumn.name Alphabet.name
        Gsm7.name Ucs2.name Dataset.name WatchedList.name Operation.name Fault.name""",
    "a DAG or an outcome in a plot, and its counts": """
        Series.name Series.values LegendEntry.name Plot.rows""",
    "names of columns, and paths of the API": """
        LedgerTable.key Dataset.key Call.path Operation.path Control.path PagedOperation.path
        PagedOperation.key""",
    "digests, and a hash or an id": """
        BatchDigest.texts BatchDigest.numbers PlanId.digest FeedRow.key Reply.key""",
    "counts": """
        BatchDigest.recipients BatchSummary.recipients UnresolvedRequest.recipients Plan.recipients
        PlanId.recipients Limits.recipients Limits.messages
        SendOutcome.recipients _RequestBuilder.recipients UnresolvedRequest.key ClaimedRequest.key
        ArmedFault.rows ListedRecipient.message ListedRecipient.recipient""",
    "SQL, the name of a list in an answer, and a choice of what is stored": """
        Call.rows Operation.rows SqlOptions.text""",
    "names of the columns of a query, and of an index": """
        RowColumns.number RowColumns.reference _RequestBuilder.first _RequestBuilder.messages""",
    "names that Airflow gave, and values of the task state store, which hold digests and ids": """
        Batch.key ClaimedRequest.key _StoredRow.key _StoredRow.value""",
    "offsets and limits; masked numbers; a number that the sandbox's own page lists": """
        Answer.number Call.query Duplicates.first Plan.shown_duplicates MagicNumber.number
        MagicNumber.reply""",
    "objects that hide what is personal in them": """
        Envelope.row Page.rows Block.rows PageRange.chunks Batch.digest ListedRecipient.digest
        ResentRecipient.digest _Claim.digests""",
}
PLAIN = set(" ".join(PLAIN_BY_KIND.values()).split())
"""Fields of such a name that hold nothing of the kind, and may be shown."""


def is_record(kind: object) -> bool:
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"))


def records() -> dict[str, type]:
    """Return each dataclass and each named tuple of the package, by its place."""
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(airflow_provider_winsms.__path__, "airflow_provider_winsms."):
        if module.name.endswith("__main__"):
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if is_record(kind) and kind.__module__ == module.name and not issubclass(kind, BaseOperator):
                found[f"{module.name.partition('.')[2]}.{kind.__qualname__}"] = kind
    return found


def fields_of(kind: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return tuple(kind._fields)


def seeded(kind: Any) -> object:
    """Return an instance each of whose fields holds a word of its own."""
    names = fields_of(kind)
    if not dataclasses.is_dataclass(kind):
        return tuple.__new__(kind, [f"<{name}>" for name in names])
    instance: object = object.__new__(kind)  # type: ignore[arg-type] # a class
    for name in names:
        object.__setattr__(instance, name, f"<{name}>")
    return instance


@pytest.mark.parametrize("place", records())
def test_a_repr_shows_no_field_that_may_hold_a_number_a_text_or_a_key(place: str) -> None:
    kind = records()[place]
    shown = repr(seeded(kind))
    leaks = [
        f"{kind.__name__}.{name}" for name in fields_of(kind) if name in PERSONAL and f"<{name}>" in shown
    ]
    assert set(leaks) <= PLAIN


def test_each_plain_field_is_one_of_a_record_and_has_a_personal_name() -> None:
    fields = {f"{kind.__name__}.{name}" for kind in records().values() for name in fields_of(kind)}
    assert fields >= PLAIN
    assert {name.partition(".")[2] for name in PLAIN} <= PERSONAL


def test_the_search_finds_the_records_and_what_they_show() -> None:
    assert len(records()) > 90
    assert "<request>" in repr(seeded(RequestKey))
    assert "<number>" in repr(seeded(MagicNumber))
