"""Reconciling: what the gateway's list of scheduled texts says of a request whose answer was lost.

The list has no text and no client id in it. A row is taken for a recipient's own if its number, the minute
it is due and the time it was submitted fit, no other recipient is known to have its id, and there are
neither more nor fewer such rows than texts to that number for that minute.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Call, Gateway
    from airflow_provider_winsms.ledger.base import Record
    from airflow_provider_winsms.messages import Message, MessageId, ScheduledMessage

T = TypeVar("T")

DUE_MARGIN = timedelta(seconds=30)
"""So long before a text is due, the gateway's list is no proof any more: clocks differ."""

_SUBMIT_TIME_SLACK = timedelta(minutes=2)  # wire times are whole minutes, and clocks differ
_READS = 3


class Carry(Protocol):
    """Carries out a call. ``before_leaving`` is called each time right before it leaves, and may refuse."""

    def __call__(self, call: Call[T], before_leaving: Callable[[], None] | None = None) -> T:
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
    """Read the list, and tell whether it held still: rows move up when texts before them go out."""
    rows, is_whole = _read_once(carry, gateway)
    for _ in range(_READS - 1):
        if is_whole:
            break
        rows, is_whole = _read_once(carry, gateway)
    return rows, is_whole


def _read_once(carry: Carry, gateway: Gateway) -> tuple[list[ScheduledMessage], bool]:
    rows: dict[MessageId, ScheduledMessage] = {}
    totals, offset = set(), 0
    while True:
        page = carry(gateway.scheduled(offset, gateway.limits.page_rows))
        rows.update((row.message_id, row) for row in page.rows)
        totals.add(page.total)
        offset += len(page.rows)
        if not page.rows or offset >= page.total:
            return list(rows.values()), totals == {len(rows)}


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
