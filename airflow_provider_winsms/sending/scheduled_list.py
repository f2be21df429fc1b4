"""Reads the gateway's list of scheduled texts, and tells whether the reading is provably complete."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.gateways.base import Execute, Gateway
    from airflow_provider_winsms.messages import MessageId, Page, ScheduledMessage

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
    first = execute(gateway.scheduled(0, size))
    if first.total <= size:
        return [first]
    step = size - max(size // _OVERLAP, 1) or size
    pages, ids, repeated = [first], {row.message_id for row in first.rows}, 0
    for start in reversed(range(0, first.total, step)):
        pages.append(execute(gateway.scheduled(start, size)))
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
