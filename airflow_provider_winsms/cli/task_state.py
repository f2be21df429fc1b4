"""The sends in Airflow's task state store, read from and written to the metadata database."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Self

from airflow.models.task_state_store import TaskStateStoreModel
from airflow.utils.session import create_session
from sqlalchemy import select, update

from airflow_provider_winsms.cli.instances import is_active, state_of
from airflow_provider_winsms.exceptions import ClaimLost, InvalidMessage
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.task_state import (
    BATCH_KEY,
    END_OF_NAME,
    batch_of,
    record_of,
    row_of_record,
    store_key,
)
from airflow_provider_winsms.ledger.unresolved import UnresolvedRequest
from airflow_provider_winsms.messages import Receipt, RejectReason, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session

    from airflow_provider_winsms.ledger.base import Batch, RequestRecord
    from airflow_provider_winsms.messages import MessageId

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _StoredRow:
    """One row of the store, as it was read."""

    id: int
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class _ListedRequest:
    """A request in doubt, with its rows as they were read for the list."""

    unresolved: UnresolvedRequest
    batch_row: _StoredRow
    request_row: _StoredRow
    record: RequestRecord


class TaskStateHistory:
    """The sends of tasks that have no SQL ledger. Its methods are those of ``UnresolvedRequests``."""

    def __init__(self) -> None:
        self.unreadable = 0
        """The number of batches that could not be read, because Airflow may keep their values elsewhere."""
        self._listed: dict[tuple[str, RequestKey], _ListedRequest] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing: each step has a session of its own."""

    def unresolved(self) -> list[UnresolvedRequest]:
        """Return the requests with recipients in doubt, of batches that are in force, oldest first."""
        self.unreadable = 0
        with create_session() as session:
            for rows in _sends(session):
                self._collect(rows)
        return sorted(
            (listed.unresolved for listed in self._listed.values()),
            key=lambda unresolved: unresolved.claimed_at,
        )

    def resolve(self, batch_id: str, key: RequestKey, accepted: Sequence[MessageId] | None) -> None:
        """Record whether the gateway accepted the texts of a request, if it did not change since it was read.

        :raises InvalidMessage: if it was not in doubt, or if the ids do not fit.
        :raises ClaimLost: if it has changed since.
        """
        listed = self._listed.get((batch_id, RequestKey(*key)))
        if listed is None:
            msg = f"Request {key.request} of round {key.round} of the batch {batch_id!r} is not in doubt."
            raise InvalidMessage(msg)
        record = listed.record
        _check_ids(accepted, record)
        receipts = (_accepted(i) for i in accepted) if accepted is not None else iter(())
        record.apply({position: next(receipts, _NOT_RECEIVED) for position in record.in_doubt})
        with create_session() as session:
            # Other values of a record, such as its connection, stay.
            _replace(
                session, listed, json.dumps({**json.loads(listed.request_row.value), **row_of_record(record)})
            )

    def _collect(self, rows: Mapping[str, _StoredRow]) -> None:
        batch_row = rows.get(BATCH_KEY)
        try:
            batch = batch_of(json.loads(batch_row.value)) if batch_row is not None else None
        # Airflow may keep the values elsewhere. Then the row has only a reference to them.
        except (KeyError, TypeError, ValueError):
            self.unreadable += 1
            return
        if batch_row is None or batch is None:
            return
        beginning = f"{BATCH_KEY}.{batch.generation}."
        for key, row in sorted(rows.items()):
            if key.startswith(beginning):
                self._collect_request(batch, batch_row, row)

    def _collect_request(self, batch: Batch, batch_row: _StoredRow, row: _StoredRow) -> None:
        key = RequestKey(*map(int, row.key.rsplit(".", 2)[1:]))
        record = record_of(json.loads(row.value))
        if not record.in_doubt or row.key != store_key(batch.generation, key):
            return
        sender = batch.sender
        unresolved = UnresolvedRequest(
            batch.id,
            sender.dag_id,
            sender.run_id,
            sender.task_id,
            sender.map_index,
            key,
            len(record.in_doubt),
            record.claimed_at,
            record.send_at,
        )
        self._listed[batch.id, key] = _ListedRequest(unresolved, batch_row, row, record)


def _sends(session: Session) -> Iterator[Mapping[str, _StoredRow]]:
    """Yield the rows of each send. A task instance may have several sends."""
    model = TaskStateStoreModel
    whose = (model.dag_run_id, model.task_id, model.map_index)
    query = (
        select(*whose, model.id, model.key, model.value)
        .where(model.key.like(f"%{BATCH_KEY}%"))
        .order_by(*whose)
        .execution_options(yield_per=_AT_ONCE)
    )
    for _, rows in groupby(session.execute(query), key=lambda row: tuple(row[:3])):
        sends: defaultdict[str, dict[str, _StoredRow]] = defaultdict(dict)
        for *_, row_id, key, value in rows:
            name, _, own_key = key.rpartition(END_OF_NAME)
            sends[name][own_key] = _StoredRow(row_id, own_key, value)
        yield from sends.values()


def _replace(session: Session, listed: _ListedRequest, value: str) -> None:
    """Write the record of a request, if neither it nor its batch has changed since it was listed."""
    model = TaskStateStoreModel
    batch = session.scalar(select(model.value).where(model.id == listed.batch_row.id))
    written = session.execute(
        update(model)
        .where(model.id == listed.request_row.id, model.value == listed.request_row.value)
        .values(value=value, updated_at=datetime.now(UTC))
    )
    is_written = getattr(written, "rowcount", 0) == 1
    if not is_written or batch != listed.batch_row.value or is_active(state_of(listed.unresolved, session)):
        # Raised inside the session, which rolls the change back.
        msg = "The request has changed while you decided. Nothing was recorded. List the requests again."
        raise ClaimLost(msg)


def _check_ids(accepted: Sequence[MessageId] | None, record: RequestRecord) -> None:
    if accepted is None:
        return
    in_doubt = len(record.in_doubt)
    if len(accepted) != in_doubt:
        msg = f"{pluralize(in_doubt, 'recipient')} in doubt, and {pluralize(len(accepted), 'id')} given."
        raise InvalidMessage(msg)
    ids = set(accepted)
    taken = len(accepted) - len(ids) + len(ids.intersection(record.ids.values()))
    if taken:
        msg = f"{taken} of the {pluralize(len(accepted), 'id')} belong to another recipient."
        raise InvalidMessage(msg)


_NOT_RECEIVED = Receipt.declined(RejectReason.NOT_RECEIVED)


def _accepted(message_id: MessageId) -> Receipt:
    return replace(_NOT_RECEIVED, accepted=True, message_id=message_id, reason=None)
