"""Reconciling: what the gateway's list of scheduled texts says of a request whose answer was lost.

The list has no text and no client id in it. A row is taken for a recipient's own if its number, the minute
it is due and the time it was submitted fit, no other recipient is known to have its id, and there are
neither more nor fewer such rows than texts to that number for that minute.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Call, Gateway, Leaving
    from airflow_provider_winsms.ledger.base import Record
    from airflow_provider_winsms.messages import Message, ScheduledMessage

T = TypeVar("T")

DUE_MARGIN = timedelta(seconds=30)
"""So long before a text is due, the gateway's list is no proof any more: clocks differ."""

_SUBMIT_TIME_SLACK = timedelta(minutes=2)  # wire times are whole minutes, and clocks differ
_READS = 3


class Carry(Protocol):
    """Carries out a call, as ``Transport.send`` does."""

    def __call__(self, call: Call[T], leaving: Leaving = ..., /) -> T:
        """Return what the gateway answered."""


class Target(NamedTuple):
    """What the list should show of one recipient."""

    number: str
    send_at: DateTime


@dataclass(slots=True)
class Look:
    """What one look at the list showed of those in doubt.

    :param is_whole: whether the list held still while it was read.
    """

    is_whole: bool
    adopted: dict[int, ScheduledMessage] = field(default_factory=dict)
    """Their rows, by position."""
    absent: list[int] = field(default_factory=list)
    """The positions that have none."""


def targets_of(messages: Sequence[Message]) -> dict[int, Target]:
    """Return what the list should show, by position, of those texts that have a time."""
    each = ((recipient.number, m.send_at) for m in messages for recipient in m.recipients)
    return {
        position: Target(number, send_at)
        for position, (number, send_at) in enumerate(each)
        if send_at is not None
    }


def not_due(record: Record, targets: Mapping[int, Target], now: DateTime) -> dict[int, Target]:
    """Return the targets of those in doubt that the list must show, if they were accepted."""
    return {
        position: targets[position]
        for position in record.in_doubt
        if position in targets and now < targets[position].send_at - DUE_MARGIN
    }


def read_scheduled(carry: Carry, gateway: Gateway) -> tuple[list[ScheduledMessage], bool]:
    """Read the list, and tell whether all that was in it throughout is in what was read.

    One page is a moment. Of several, the last is read first: rows move up when texts before them go out, so
    that none is missed, as long as new ones come at the end. That they do is seen by their ids, which then
    ascend; if they do not, only a list that holds still can be relied on.
    """
    rows, is_whole = _read_once(carry, gateway)
    for _ in range(_READS - 1):
        if is_whole:
            break
        rows, is_whole = _read_once(carry, gateway)
    return rows, is_whole


def _read_once(carry: Carry, gateway: Gateway) -> tuple[list[ScheduledMessage], bool]:
    size = gateway.limits.page_rows
    first = carry(gateway.scheduled(0, size))
    if first.total <= size:
        return list(first.rows), len(first.rows) >= first.total
    pages = [carry(gateway.scheduled(offset, size)) for offset in reversed(range(0, first.total, size))]
    in_order = [row for page in reversed(pages) for row in page.rows]
    rows = {row.message_id: row for row in in_order}
    ascends = all(page.rows == tuple(sorted(page.rows, key=_id)) for page in pages) and all(
        before.rows[0].message_id <= after.rows[0].message_id  # type: ignore[operator] # ids of one kind
        for after, before in pairwise(pages)
        if before.rows and after.rows
    )
    stood_still = {page.total for page in (first, *pages)} == {len(rows)}
    return list(rows.values()), stood_still or (ascends and len(rows) >= min(page.total for page in pages))


def _id(row: ScheduledMessage) -> Any:
    return row.message_id


def submitted_since(moment: DateTime, rows: Iterable[ScheduledMessage]) -> list[ScheduledMessage]:
    """Return the rows that may have been submitted at a moment or after it."""
    earliest = moment - _SUBMIT_TIME_SLACK
    return [row for row in rows if row.submitted_at is None or row.submitted_at >= earliest]


def compare(
    targets: Mapping[int, Target],
    rows: Iterable[ScheduledMessage],
    *,
    is_whole: bool,
    still_open: Collection[int],
    rivals: Collection[Target],
) -> Look:
    """Tell who is in the list and who is not. More rows than texts, or fewer, tell nothing.

    :param targets: of those in doubt, by position.
    :param rows: that may be of this request.
    :param is_whole: whether the list held still while it was read.
    :param still_open: the positions that the list still had to show when it had been read.
    :param rivals: targets that another request in doubt may have reached.
    """
    listed, wanted = defaultdict(list), defaultdict(list)
    for row in rows:
        if row.send_at is not None:
            listed[Target(row.number, row.send_at)].append(row)
    for position, target in targets.items():
        wanted[target].append(position)
    look = Look(is_whole=is_whole)
    for target, positions in wanted.items():
        found = listed[target]
        if not found and is_whole:
            look.absent += (position for position in positions if position in still_open)
        elif len(found) == len(positions) and target not in rivals:
            look.adopted.update(zip(positions, found, strict=True))
    return look
