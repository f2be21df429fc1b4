"""Looks lost answers up in the gateway's list of scheduled texts.

``read_scheduled`` reads the list, and tells whether the reading is provably complete. ``reconcile`` compares
it with the texts of a request. The list shows no text and no client id. A row counts as a recipient's own if
three conditions hold:

* Its number, its due minute and its time of submission fit.
* The ledger has its id for no other recipient.
* The list has exactly as many such rows as the request has texts to that number for that minute.

A row may lack one of these values, or have one that cannot be read. Then it may belong to any recipient whom
the other values fit, and keeps them in doubt.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from airflow_provider_winsms.gateways.lists import pages_by_offset
from airflow_provider_winsms.messages import instants_of
from airflow_provider_winsms.phone import is_plain, last_digits
from airflow_provider_winsms.sending.policy import DUE_MARGIN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Execute, Gateway
    from airflow_provider_winsms.ledger.base import RequestRecord
    from airflow_provider_winsms.messages import Message, MessageId, Page, ScheduledMessage, SentMessage

_MAX_READS = 3
_MAX_PAGES = 2000
_MAX_REPEATED_PAGES = 3  # in a row: as many pages of a list that states a false total, or has no end
_OVERLAP = 10  # every page shares a tenth of its rows with the next one


def read_scheduled(execute: Execute, gateway: Gateway) -> tuple[list[ScheduledMessage], bool]:
    """Read the list. Tell whether each row that stayed in the list was surely read.

    Rows enter and leave while pages are read. So a row can move from an unread page to a page that was read
    before. Either of two proofs shows that no row did. Without a proof the list is read again.
    """
    pages: list[Page[ScheduledMessage]] = []
    is_complete = False
    for _ in range(_MAX_READS):
        reading = _read_once(execute, gateway)
        pages += reading
        if any(page.unreadable for page in pages):
            # A row without an id may be any text, and a gateway need not count it in its total.
            break
        is_complete = _overlap(reading[1:], gateway.limits.page_rows) or _is_snapshot(pages)
        if is_complete:
            break
    return list({row.message_id: row for page in pages for row in page.rows}.values()), is_complete


def _read_once(execute: Execute, gateway: Gateway) -> list[Page[ScheduledMessage]]:
    """Return the first page. If the list has more, add all pages from its end to its beginning.

    If the gateway states more rows than it lists, pages bring nothing new. A reading that stops at such pages
    does not reach the beginning, and proves nothing.
    """
    size = gateway.limits.page_rows
    fetch = pages_by_offset(gateway, "list_scheduled", execute)
    first = fetch(0, size)
    if first.total <= size:
        return [first]
    step = size - max(size // _OVERLAP, 1) or size
    pages, ids, repeated = [first], {row.message_id for row in first.rows}, 0
    for start in reversed(range(0, first.total, step)):
        pages.append(fetch(start, size))
        found = {row.message_id for row in pages[-1].rows} - ids
        ids |= found
        repeated = 0 if found or not start else repeated + 1
        if repeated == _MAX_REPEATED_PAGES or len(pages) == _MAX_PAGES:
            break
    return pages


def _is_snapshot(pages: Sequence[Page[ScheduledMessage]]) -> bool:
    """Tell whether the known ids were the whole list at the moment when some page was read.

    No id that has left comes back. So an id is in the list from the first page that has it to the last one.
    The total of a page counts the rows of the list at that moment. If both numbers agree, nothing else was in
    the list, whatever its order.
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


def _overlap(pages: Sequence[Page[ScheduledMessage]], size: int) -> bool:
    """Tell whether pages overlap, so that no row can hide between them. They are read from end to beginning.

    Each page shares a row with the page before it. Rows that stay keep their order. So all rows between a
    shared row and the end of the list were read already, and all rows before it are on this page or on the
    next ones. Ids that ascend or descend show that the list has an order.
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


T = TypeVar("T")

SUBMIT_TIME_SLACK = timedelta(minutes=2)  # wire times are whole minutes, and clocks differ
SUBMIT_TIME_DOUBT = timedelta(minutes=4)  # a row submitted so long before a claim belongs to another text


class ExpectedText(NamedTuple):
    """The row that the list should have for one recipient."""

    number: str
    send_at: DateTime

    def __repr__(self) -> str:
        """Show no number."""
        return f"ExpectedText(send_at={self.send_at!r})"


@dataclass(slots=True)
class Reconciliation:
    """The recipients in doubt whom one reading of the list found, and those whom it proved absent.

    :param is_complete: whether the reading is provably complete.
    """

    is_complete: bool
    adopted: dict[int, ScheduledMessage] = field(default_factory=dict)
    """The rows of recipients who were found, by position."""
    absent: list[int] = field(default_factory=list)
    """The positions of recipients who have no row."""


def expected_texts(messages: Sequence[Message]) -> dict[int, ExpectedText]:
    """Return the texts that the list should have, by position: those with a time."""
    each = ((recipient.number, m.send_at) for m in messages for recipient in m.recipients)
    return {
        position: ExpectedText(number, send_at.in_timezone("UTC"))
        for position, (number, send_at) in enumerate(each)
        if send_at is not None
    }


def not_due(
    record: RequestRecord, expected: Mapping[int, ExpectedText], now: DateTime
) -> dict[int, ExpectedText]:
    """Return the texts in doubt that the list must still have, if they were accepted."""
    return {
        position: expected[position]
        for position in record.in_doubt
        if position in expected and now < expected[position].send_at - DUE_MARGIN
    }


@dataclass(slots=True)
class RowMatches:
    """Which texts the rows of the list fit."""

    certain: defaultdict[ExpectedText, list[ScheduledMessage]]
    """The rows that surely fit one text."""
    possible: set[ExpectedText]
    """The texts that a row fits as far as it can be read."""


class RowMatcher:
    """Matches rows of the list with the expected texts of one request.

    :param claimed_at: when the request was claimed.
    """

    def __init__(self, expected: Iterable[ExpectedText], claimed_at: DateTime) -> None:
        self._claimed_at = claimed_at
        self._all = list(set(expected))
        self._by_number = defaultdict(list)
        self._by_last_digits = defaultdict(list)
        for text in self._all:
            self._by_number[text.number].append(text)
            self._by_last_digits[last_digits(text.number)].append(text)

    def candidates(self, row: ScheduledMessage) -> list[ExpectedText]:
        """Return the texts that a row may belong to. None, if it belongs to another request."""
        alike = self._with_number(row.number)
        if not alike or not may_be_submitted_since(self._claimed_at - SUBMIT_TIME_DOUBT, row):
            return []
        times = instants_of(row.send_at)
        return [text for text in alike if not times or text.send_at in times]

    def match(self, rows: Iterable[ScheduledMessage]) -> RowMatches:
        """Tell which rows fit which texts, surely or possibly."""
        found = RowMatches(defaultdict(list), set())
        for row in rows:
            expected = self.candidates(row)
            if len(expected) == 1 and self._is_certain(row, expected[0]):
                found.certain[expected[0]].append(row)
            else:
                found.possible.update(expected)
        return found

    def _with_number(self, number: str) -> list[ExpectedText]:
        if number in self._by_number or is_plain(number):
            return self._by_number.get(number, [])
        digits = last_digits(number)
        return self._by_last_digits.get(digits, []) if digits else self._all

    def _is_certain(self, row: ScheduledMessage, text: ExpectedText) -> bool:
        is_readable = row.number == text.number and None not in {row.send_at, row.submitted_at}
        return is_readable and may_be_submitted_since(self._claimed_at - SUBMIT_TIME_SLACK, row)


def may_be_submitted_since(moment: DateTime, row: ScheduledMessage | SentMessage) -> bool:
    """Tell whether a row may have been submitted after a moment, as far as its time can be read."""
    return row.submitted_at is None or max(instants_of(row.submitted_at)) > moment


def reconcile(
    expected: Mapping[int, ExpectedText],
    found: RowMatches,
    *,
    is_complete: bool,
    still_open: Collection[int],
    conflicts: Collection[ExpectedText],
) -> Reconciliation:
    """Tell who is in the list and who is not. Some rows, but not as many as texts, prove nothing.

    :param expected: the texts in doubt, by position.
    :param is_complete: whether the reading is provably complete.
    :param still_open: the positions that were not due when the reading ended.
    :param conflicts: texts that another request in doubt may have scheduled, too.
    """
    wanted = defaultdict(list)
    for position, text in expected.items():
        wanted[text].append(position)
    result = Reconciliation(is_complete=is_complete)
    for text, positions in wanted.items():
        rows = found.certain.get(text, [])
        if len(rows) == len(positions) and text not in conflicts:
            result.adopted.update(zip(positions, rows, strict=True))
        elif not rows and text not in found.possible and is_complete:
            result.absent += (position for position in positions if position in still_open)
    return result
