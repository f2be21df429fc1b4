"""Reads the gateway's history of sent texts, and finds texts in it by the references that they left with.

A row is a recipient's own if it has their reference and their number, and was submitted after the claim. If
its reference is missing, cut short or in other case, it may belong to any recipient whom the rest fits, and
keeps them in doubt.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count, pairwise
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.gateways.lists import pages_by_offset
from airflow_provider_winsms.messages import instants_of
from airflow_provider_winsms.phone import last_digits
from airflow_provider_winsms.sending.scheduled_list import (
    SUBMIT_TIME_DOUBT,
    SUBMIT_TIME_SLACK,
    may_be_submitted_since,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Execute, Gateway
    from airflow_provider_winsms.ledger.base import RequestKey
    from airflow_provider_winsms.messages import Message, Page, SentMessage

REFERENCE_LENGTH = 40
"""The longest reference of a text that leaves."""

HISTORY_DELAY = timedelta(minutes=2)
"""How long after a text was accepted the history surely has it."""

_BATCH_DIGITS = 16
_MAX_READS = 3
_MAX_PAGES = 2000


class SubmittedText(NamedTuple):
    """The row that the history should have for one recipient."""

    reference: str
    number: str

    def __repr__(self) -> str:
        """Show neither number nor reference."""
        return "SubmittedText()"


@dataclass(frozen=True, slots=True)
class HistoryMatches:
    """Which recipients the rows of the history fit, by position."""

    certain: Mapping[int, SentMessage]
    doubtful: frozenset[int]
    """Positions to which a row may belong."""


def reference_of(batch_id: str, key: RequestKey, position: int) -> str:
    """Return the reference that the text to one recipient of a request leaves with."""
    return f"{batch_id[:_BATCH_DIGITS]}.{key.round}.{key.request}.{position}"


def with_references(messages: Sequence[Message], batch_id: str, key: RequestKey) -> list[Message]:
    """Return the messages of a request with a reference for each recipient, in place of the sender's own."""
    positions = count()
    return [
        replace(
            message,
            recipients=tuple(
                replace(recipient, reference=reference_of(batch_id, key, next(positions)))
                for recipient in message.recipients
            ),
        )
        for message in messages
    ]


def read_sent(execute: Execute, gateway: Gateway, since: DateTime) -> tuple[list[SentMessage], bool]:
    """Read the history back to a time. Tell whether each row since then was surely read.

    New rows push older ones to later pages, so that these are read twice. Only a row that leaves could pull
    another one over to a page that was read before. So a reading of several pages is complete only if the
    total never fell, and if the next reading still has all its rows. Rows of one time may change places from
    page to page: then some are read twice that nothing has pushed, and others never. It must also reach a row
    from before that time: a history that ends earlier may have been cut short.
    """
    found: dict[tuple[object, ...], SentMessage] = {}
    before: set[tuple[object, ...]] | None = None
    for _ in range(_MAX_READS):
        pages = list(_pages(execute, gateway, since))
        rows = {_identity(row): row for page in pages for row in page.rows}
        found |= rows
        if not _is_sound(pages, list(rows.values()), gateway.limits.page_rows, since):
            before = None
            continue
        if len(pages) == 1 or (before is not None and before <= rows.keys()):
            return list(found.values()), True
        before = {each for each, row in rows.items() if may_be_submitted_since(since, row)}
    return list(found.values()), False


def match_references(
    expected: Mapping[int, SubmittedText], rows: Iterable[SentMessage], claimed_at: DateTime
) -> HistoryMatches:
    """Tell which rows belong to which recipients, surely or possibly."""
    by_reference, by_number = defaultdict(list), defaultdict(list)
    for row in rows:
        if may_be_submitted_since(claimed_at - SUBMIT_TIME_DOUBT, row):
            by_reference[row.reference].append(row)
            by_number[last_digits(row.number)].append((row.reference or "").strip().casefold())
    certain, doubtful = {}, set()
    for position, text in expected.items():
        own = by_reference[text.reference]
        references = (*by_number[last_digits(text.number)], *by_number[""])
        if len(own) == 1 and _is_certain(own[0], text, claimed_at):
            certain[position] = own[0]
        elif own or any(map(text.reference.casefold().startswith, references)):
            doubtful.add(position)
    return HistoryMatches(certain, frozenset(doubtful))


def _is_certain(row: SentMessage, text: SubmittedText, claimed_at: DateTime) -> bool:
    digits = last_digits(text.number)
    is_alike = row.number == text.number or bool(digits and last_digits(row.number) == digits)
    is_readable = row.submitted_at is not None
    return is_alike and is_readable and may_be_submitted_since(claimed_at - SUBMIT_TIME_SLACK, row)


def _pages(execute: Execute, gateway: Gateway, since: DateTime) -> Iterator[Page[SentMessage]]:
    """Yield pages from the newest row to the first row from before a time, or to the end."""
    size = gateway.limits.page_rows
    fetch = pages_by_offset(gateway, "sent_history", execute)
    for offset in range(0, size * _MAX_PAGES, size):
        page = fetch(offset, size)
        yield page
        is_over = page.length < size or offset + size >= page.total
        if is_over or not all(may_be_submitted_since(since, row) for row in page.rows):
            return


def _is_sound(
    pages: Sequence[Page[SentMessage]], rows: Sequence[SentMessage], size: int, since: DateTime
) -> bool:
    is_full = all(page.length == min(size, max(page.total - page.offset, 0)) for page in pages)
    is_readable = not any(page.unreadable for page in pages)
    has_grown = all(one.total <= next_one.total for one, next_one in pairwise(pages))
    reaches_back = any(not may_be_submitted_since(since, row) for row in rows)
    is_whole = is_full and is_readable and has_grown and reaches_back
    return is_whole and _is_newest_first(rows) and not _has_moved(pages)


def _has_moved(pages: Sequence[Page[SentMessage]]) -> bool:
    """Tell whether a page repeats more rows than new ones have pushed to it."""
    seen: set[tuple[object, ...]] = set()
    total = pages[0].total
    for page in pages:
        before = len(seen)
        seen.update(map(_identity, page.rows))
        if before + len(page.rows) - len(seen) > page.total - total:
            return True
        total = page.total
    return False


def _is_newest_first(rows: Sequence[SentMessage]) -> bool:
    times = [instants_of(row.submitted_at) for row in rows if row.submitted_at is not None]
    return all(min(later) <= max(earlier) for earlier, later in pairwise(times))


def _identity(row: SentMessage) -> tuple[object, ...]:
    """Return what identifies a row: some gateways give all recipients of a request one id."""
    return row.message_id, row.reference, row.number
