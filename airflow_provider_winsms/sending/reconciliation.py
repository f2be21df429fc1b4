"""Reconciling: what the gateway's list of scheduled texts says of a request whose answer was lost.

The list has no text and no client id in it. A row is taken for a recipient's own if its number, the minute
it is due and the time it was submitted fit, no other recipient is known to have its id, and there are
neither more nor fewer such rows than texts to that number for that minute. A row that lacks one of these, or
has one that cannot be read, may be anybody's whom the rest of it fits: it keeps them in doubt.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from airflow_provider_winsms.messages import instants_of
from airflow_provider_winsms.options import DUE_MARGIN
from airflow_provider_winsms.phone import is_plain, last_digits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.ledger.base import RequestRecord
    from airflow_provider_winsms.messages import Message, ScheduledMessage

T = TypeVar("T")

_SUBMIT_TIME_SLACK = timedelta(minutes=2)  # wire times are whole minutes, and clocks differ
_SUBMIT_TIME_DOUBT = timedelta(minutes=4)  # a row that was submitted so long before a claim is another's


class ExpectedText(NamedTuple):
    """What the list should show of one recipient."""

    number: str
    send_at: DateTime

    def __repr__(self) -> str:
        """Show no number."""
        return f"Target(send_at={self.send_at!r})"


@dataclass(slots=True)
class Reconciliation:
    """What one look at the list showed of those in doubt.

    :param is_whole: whether the list held still while it was read.
    """

    is_complete: bool
    adopted: dict[int, ScheduledMessage] = field(default_factory=dict)
    """Their rows, by position."""
    absent: list[int] = field(default_factory=list)
    """The positions that have none."""


def expected_texts(messages: Sequence[Message]) -> dict[int, ExpectedText]:
    """Return what the list should show, by position, of those texts that have a time."""
    each = ((recipient.number, m.send_at) for m in messages for recipient in m.recipients)
    return {
        position: ExpectedText(number, send_at.in_timezone("UTC"))
        for position, (number, send_at) in enumerate(each)
        if send_at is not None
    }


def not_due(
    record: RequestRecord, targets: Mapping[int, ExpectedText], now: DateTime
) -> dict[int, ExpectedText]:
    """Return the targets of those in doubt that the list must show, if they were accepted."""
    return {
        position: targets[position]
        for position in record.in_doubt
        if position in targets and now < targets[position].send_at - DUE_MARGIN
    }


@dataclass(slots=True)
class RowMatches:
    """Which rows may be whose."""

    certain: defaultdict[ExpectedText, list[ScheduledMessage]]
    """Rows that fit one target in all that they must."""
    possible: set[ExpectedText]
    """Those that a row fits as far as it can be read."""


class RowMatcher:
    """The targets of one request, found by what a row says.

    :param claimed_at: when the request was claimed.
    """

    def __init__(self, targets: Iterable[ExpectedText], claimed_at: DateTime) -> None:
        self._claimed_at = claimed_at
        self._all = list(set(targets))
        self._by_number = defaultdict(list)
        self._by_last_digits = defaultdict(list)
        for target in self._all:
            self._by_number[target.number].append(target)
            self._by_last_digits[last_digits(target.number)].append(target)

    def candidates(self, row: ScheduledMessage) -> list[ExpectedText]:
        """Return the targets that a row may be of: none, if it is known to be another's."""
        alike = self._with_number(row.number)
        if not alike or not _may_be_submitted_since(self._claimed_at - _SUBMIT_TIME_DOUBT, row):
            return []
        times = instants_of(row.send_at)
        return [target for target in alike if not times or target.send_at in times]

    def match(self, rows: Iterable[ScheduledMessage]) -> RowMatches:
        """Tell which rows fit which targets, for certain or perhaps."""
        found = RowMatches(defaultdict(list), set())
        for row in rows:
            targets = self.candidates(row)
            if len(targets) == 1 and self._is_certain(row, targets[0]):
                found.certain[targets[0]].append(row)
            else:
                found.possible.update(targets)
        return found

    def _with_number(self, number: str) -> list[ExpectedText]:
        if number in self._by_number or is_plain(number):
            return self._by_number.get(number, [])
        digits = last_digits(number)
        return self._by_last_digits.get(digits, []) if digits else self._all

    def _is_certain(self, row: ScheduledMessage, target: ExpectedText) -> bool:
        is_readable = row.number == target.number and None not in {row.send_at, row.submitted_at}
        return is_readable and _may_be_submitted_since(self._claimed_at - _SUBMIT_TIME_SLACK, row)


def _may_be_submitted_since(moment: DateTime, row: ScheduledMessage) -> bool:
    return row.submitted_at is None or max(instants_of(row.submitted_at)) > moment


def reconcile(
    targets: Mapping[int, ExpectedText],
    found: RowMatches,
    *,
    is_complete: bool,
    still_open: Collection[int],
    conflicts: Collection[ExpectedText],
) -> Reconciliation:
    """Tell who is in the list and who is not. More rows than texts, or fewer, tell nothing.

    :param targets: of those in doubt, by position.
    :param is_whole: whether the list was proved to hold still while it was read.
    :param still_open: the positions that the list still had to show when it had been read.
    :param conflicts: targets that another request in doubt may have reached.
    """
    wanted = defaultdict(list)
    for position, target in targets.items():
        wanted[target].append(position)
    look = Reconciliation(is_complete=is_complete)
    for target, positions in wanted.items():
        rows = found.certain.get(target, [])
        if len(rows) == len(positions) and target not in conflicts:
            look.adopted.update(zip(positions, rows, strict=True))
        elif not rows and target not in found.possible and is_complete:
            look.absent += (position for position in positions if position in still_open)
    return look
