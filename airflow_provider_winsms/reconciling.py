"""Reconciling: what the gateway's list of scheduled texts says of a request whose answer was lost.

The list has no text and no client id in it. A row is taken for a recipient's own if its number, the minute
it is due and the time it was submitted fit, no other recipient is known to have its id, and there are
neither more nor fewer such rows than texts to that number for that minute. A row that lacks one of these, or
has one that cannot be read, may be anybody's whom the rest of it fits: it keeps them in doubt.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from airflow_provider_winsms.choices import DUE_MARGIN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Call, Gateway, Leaving
    from airflow_provider_winsms.ledger.base import Record
    from airflow_provider_winsms.messages import Message, MessageId, Page, ScheduledMessage

T = TypeVar("T")

_SUBMIT_TIME_SLACK = timedelta(minutes=2)  # wire times are whole minutes, and clocks differ
_SUBMIT_TIME_DOUBT = timedelta(minutes=4)  # a row that was submitted so long before a claim is another's
_READS = 3
_MOST_PAGES = 2000
_MOST_REPEATED_PAGES = 3  # in a row: as many pages of a list that states a false total, or has no end
_OVERLAP = 10  # every page shares a tenth of its rows with the next one
_PLAIN_NUMBER = re.compile(r"[1-9][0-9]{6,14}", re.ASCII)
_SPELT_NUMBER = re.compile(r"[0-9+()\s-]*", re.ASCII)
_NO_DIGITS = re.compile(r"[^0-9]+", re.ASCII)
_SHARED_DIGITS = 7  # however a number is spelt, its last digits are the same


class Carry(Protocol):
    """Carries out a call, as ``Transport.send`` does."""

    def __call__(self, call: Call[T], leaving: Leaving = ..., /) -> T:
        """Return what the gateway answered."""


class Target(NamedTuple):
    """What the list should show of one recipient."""

    number: str
    send_at: DateTime

    def __repr__(self) -> str:
        """Show no number."""
        return f"Target(send_at={self.send_at!r})"


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
        position: Target(number, send_at.in_timezone("UTC"))
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

    Rows enter and leave while pages are read, so that a row can move from a page that is still to be read to
    one that was read. Either of two proofs shows that none did; without one, the list is read again.
    """
    pages: list[Page[ScheduledMessage]] = []
    is_whole = False
    for _ in range(_READS):
        reading = _read_once(carry, gateway)
        pages += reading
        if any(page.unreadable for page in pages):
            # Without an id it may be anybody's, and a gateway need not count it in its total.
            break
        is_whole = _is_chained(reading[1:], gateway.limits.page_rows) or _shows_a_moment(pages)
        if is_whole:
            break
    return list({row.message_id: row for page in pages for row in page.rows}.values()), is_whole


def _read_once(carry: Carry, gateway: Gateway) -> list[Page[ScheduledMessage]]:
    """Return the first page, and, of a list that has more, all pages from its end to its beginning.

    Where the gateway states more rows than it lists, pages bring nothing new. A reading that stops at such
    pages does not reach the beginning, and proves nothing.
    """
    size = gateway.limits.page_rows
    first = carry(gateway.scheduled(0, size))
    if first.total <= size:
        return [first]
    step = size - max(size // _OVERLAP, 1) or size
    pages, ids, repeated = [first], {row.message_id for row in first.rows}, 0
    for start in reversed(range(0, first.total, step)):
        pages.append(carry(gateway.scheduled(start, size)))
        found = {row.message_id for row in pages[-1].rows} - ids
        ids |= found
        repeated = 0 if found or not start else repeated + 1
        if repeated == _MOST_REPEATED_PAGES or len(pages) == _MOST_PAGES:
            break
    return pages


def _shows_a_moment(pages: Sequence[Page[ScheduledMessage]]) -> bool:
    """Tell whether, when one of the pages was read, the ids known to be in the list were all that it had.

    An id is in the list from the page where it was first read until the page where it was last read, as no
    id comes back that has left. The total of a page counts what is in the list at its moment. Where both
    numbers are the same, nothing else was in the list, in whatever order it is.
    """
    first: dict[MessageId, int] = {}
    last: dict[MessageId, int] = {}
    for moment, page in enumerate(pages):
        for row in page.rows:
            first.setdefault(row.message_id, moment)
            last[row.message_id] = moment
    changes = [0] * (len(pages) + 1)
    for message_id, moment in first.items():
        changes[moment] += 1
        changes[last[message_id] + 1] -= 1
    return any(known == page.total for known, page in zip(accumulate(changes), pages, strict=False))


def _is_chained(pages: Sequence[Page[ScheduledMessage]], size: int) -> bool:
    """Tell whether pages, read from the end of the list to its beginning, leave no gap between them.

    Each shares a row with the one before it. Rows that stay keep their order, so that what stands between a
    shared row and the end of the list was read already, and what stands before it is on this page or on
    those that follow. That the list has an order is seen by the ids, which ascend or descend.
    """
    if not pages or pages[-1].offset or not all(_is_full(page, size) for page in pages):
        return False
    ids = [[row.message_id for row in page.rows] for page in pages]
    reaches_end = pages[0].offset + len(ids[0]) >= pages[0].total
    is_ordered = all(map(_ascends, ids)) or all(_ascends(each[::-1]) for each in ids)
    return reaches_end and is_ordered and not any(set(a).isdisjoint(b) for a, b in pairwise(ids))


def _is_full(page: Page[ScheduledMessage], size: int) -> bool:
    return len(page.rows) >= min(size, page.total - page.offset)


def _ascends(ids: Sequence[Any]) -> bool:
    return all(one < next_one for one, next_one in pairwise(ids))


@dataclass(slots=True)
class Match:
    """Which rows may be whose."""

    certain: defaultdict[Target, list[ScheduledMessage]]
    """Rows that fit one target in all that they must."""
    doubtful: set[Target]
    """Those that a row fits as far as it can be read."""


class Expected:
    """The targets of one request, found by what a row says.

    :param claimed_at: when the request was claimed.
    """

    def __init__(self, targets: Iterable[Target], claimed_at: DateTime) -> None:
        self._claimed_at = claimed_at
        self._all = list(set(targets))
        self._by_number = defaultdict(list)
        self._by_last_digits = defaultdict(list)
        for target in self._all:
            self._by_number[target.number].append(target)
            self._by_last_digits[last_digits(target.number)].append(target)

    def may_be(self, row: ScheduledMessage) -> list[Target]:
        """Return the targets that a row may be of: none, if it is known to be another's."""
        alike = self._with_number(row.number)
        if not alike or not _may_be_submitted_since(self._claimed_at - _SUBMIT_TIME_DOUBT, row):
            return []
        times = instants_of(row.send_at)
        return [target for target in alike if not times or target.send_at in times]

    def match(self, rows: Iterable[ScheduledMessage]) -> Match:
        """Tell which rows fit which targets, for certain or perhaps."""
        found = Match(defaultdict(list), set())
        for row in rows:
            targets = self.may_be(row)
            if len(targets) == 1 and self._is_certain(row, targets[0]):
                found.certain[targets[0]].append(row)
            else:
                found.doubtful.update(targets)
        return found

    def _with_number(self, number: str) -> list[Target]:
        if number in self._by_number or is_plain(number):
            return self._by_number.get(number, [])
        digits = last_digits(number)
        return self._by_last_digits.get(digits, []) if digits else self._all

    def _is_certain(self, row: ScheduledMessage, target: Target) -> bool:
        is_readable = row.number == target.number and None not in {row.send_at, row.submitted_at}
        return is_readable and _may_be_submitted_since(self._claimed_at - _SUBMIT_TIME_SLACK, row)


def is_plain(number: str) -> bool:
    """Tell whether a number is international digits, so that it can be compared."""
    return _PLAIN_NUMBER.fullmatch(number) is not None


def last_digits(number: str) -> str:
    """Return the digits that a number ends with however it is spelt; none, if it may be any number."""
    digits = _NO_DIGITS.sub("", number) if _SPELT_NUMBER.fullmatch(number) else ""
    return digits[-_SHARED_DIGITS:] if len(digits) >= _SHARED_DIGITS else ""


def instants_of(time: DateTime | None) -> set[DateTime]:
    """Return what a time on a clock may stand for, in UTC: two instants, where clocks were put back.

    One that could not be read stands for none that is known.
    """
    return set() if time is None else {time.replace(fold=fold).in_timezone("UTC") for fold in (0, 1)}


def _may_be_submitted_since(moment: DateTime, row: ScheduledMessage) -> bool:
    return row.submitted_at is None or max(instants_of(row.submitted_at)) > moment


def conclude(
    targets: Mapping[int, Target],
    found: Match,
    *,
    is_whole: bool,
    still_open: Collection[int],
    rivals: Collection[Target],
) -> Look:
    """Tell who is in the list and who is not. More rows than texts, or fewer, tell nothing.

    :param targets: of those in doubt, by position.
    :param is_whole: whether the list was proved to hold still while it was read.
    :param still_open: the positions that the list still had to show when it had been read.
    :param rivals: targets that another request in doubt may have reached.
    """
    wanted = defaultdict(list)
    for position, target in targets.items():
        wanted[target].append(position)
    look = Look(is_whole=is_whole)
    for target, positions in wanted.items():
        rows = found.certain.get(target, [])
        if len(rows) == len(positions) and target not in rivals:
            look.adopted.update(zip(positions, rows, strict=True))
        elif not rows and target not in found.doubtful and is_whole:
            look.absent += (position for position in positions if position in still_open)
    return look
