"""What the history of sent texts proves: whose text is in it, and when a reading of it is complete."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.messages import DeliveryState, Page, SentMessage
from airflow_provider_winsms.sending.sent_history import SubmittedText, match_references, read_sent
from tests.support.history_gateway import GATEWAY, NOON, HistoryAccount, Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.gateways.base import Call

ANN, BEN = "4917000000001", "4917000000002"
CLAIMED = NOON
SINCE = NOON.subtract(minutes=4)
OURS = SubmittedText("0123456789abcdef.1.1.0", ANN)
ROW = SentMessage("id-1", OURS.reference, ANN, DeliveryState.SENT, Decimal(1), NOON.add(seconds=5))


# Whether a reading is complete.


def account_with(texts: int) -> HistoryAccount:
    """Return an account with old texts, and some that were accepted since the claim."""
    account = HistoryAccount()
    account.now += 60
    for number in range(texts):
        account.texts.append(Text(f"new-{number}", "new", ANN, None, account.now + number / 1000))
    return account


@pytest.mark.parametrize("texts", [0, 3, 4, 20])
def test_a_quiet_history_is_read_back_to_before_the_claim_and_no_further(texts: int) -> None:
    account = account_with(texts)
    rows, is_complete = read_sent(account.execute, GATEWAY, SINCE)
    assert is_complete
    assert sum(str(row.message_id).startswith("new") for row in rows) == texts
    assert account.pages <= 2 * (texts // 4 + 1)


def test_a_busy_history_is_complete_as_new_texts_hide_no_older_one() -> None:
    account = account_with(10)

    def more(there: HistoryAccount) -> None:
        there.now += 1
        there.texts.append(Text(f"id-{there.pages}", "more", BEN, None, there.now))

    account.before_page = more
    rows, is_complete = read_sent(account.execute, GATEWAY, SINCE)
    assert is_complete
    assert sum(str(row.message_id).startswith("new") for row in rows) == 10


def unreadable(page: Page[SentMessage]) -> Page[SentMessage]:
    return replace(page, rows=page.rows[1:], unreadable_at=(0,))


def short(page: Page[SentMessage]) -> Page[SentMessage]:
    return replace(page, rows=page.rows[1:])


def oldest_first(page: Page[SentMessage]) -> Page[SentMessage]:
    return replace(page, rows=page.rows[::-1])


def without_times(page: Page[SentMessage]) -> Page[SentMessage]:
    return replace(page, rows=[replace(row, submitted_at=None) for row in page.rows])


def of_this_minute(page: Page[SentMessage]) -> Page[SentMessage]:
    return replace(page, rows=[replace(row, submitted_at=CLAIMED) for row in page.rows])


@pytest.mark.parametrize("spoil", [unreadable, short, oldest_first, without_times, of_this_minute])
def test_a_reading_that_may_lack_a_text_is_not_complete(
    spoil: Callable[[Page[SentMessage]], Page[SentMessage]],
) -> None:
    account = account_with(2)

    def execute(call: Call[Any], *_: Any) -> Any:
        return spoil(account.execute(call))

    _, is_complete = read_sent(execute, GATEWAY, SINCE)
    assert not is_complete


def test_a_total_that_falls_between_two_pages_proves_nothing() -> None:
    account = account_with(10)
    account.before_page = lambda there: there.texts.pop()  # type: ignore[assignment]
    _, is_complete = read_sent(account.execute, GATEWAY, SINCE)
    assert not is_complete


def test_a_reading_proves_nothing_if_rows_of_one_time_change_places_from_page_to_page() -> None:
    account = account_with(0)
    account.texts += [Text(f"new-{number}", "new", ANN, None, account.now) for number in range(7)]

    def execute(call: Call[Any], *_: Any) -> Any:
        at = int(call.query["offset"])
        account.before_page = lambda _: shuffle(at)
        return account.execute(call)

    def shuffle(at: int) -> None:
        """Sort rows of one time as a database may that sorts no more rows than a page needs."""
        account.texts.sort(key=lambda text: text.id, reverse=at > 0)

    rows, is_complete = read_sent(execute, GATEWAY, SINCE)
    assert sum(str(row.message_id).startswith("new") for row in rows) < 7
    assert not is_complete


def test_a_history_without_end_is_not_read_for_ever() -> None:
    pages = 0

    def execute(call: Call[Any], *_: Any) -> Any:
        nonlocal pages
        pages += 1
        offset = int(call.query["offset"])
        rows = [replace(ROW, message_id=f"id-{offset + number}") for number in range(4)]
        return Page(rows, offset, 10**18)

    _, is_complete = read_sent(execute, GATEWAY, SINCE)
    assert not is_complete
    assert pages <= 6000


# Whose text a row is.


ALIKE = {
    "as it was sent": ROW,
    "with a plus": replace(ROW, number=f"+{ANN}"),
    "submitted a minute before the claim": replace(ROW, submitted_at=CLAIMED.subtract(minutes=1)),
}
DOUBTFUL = {
    "another number": [replace(ROW, number=BEN)],
    "no number": [replace(ROW, number="")],
    "no time": [replace(ROW, submitted_at=None)],
    "three minutes before the claim": [replace(ROW, submitted_at=CLAIMED.subtract(minutes=3))],
    "no reference": [replace(ROW, reference=None)],
    "an empty reference": [replace(ROW, reference="")],
    "a reference that is cut short": [replace(ROW, reference=OURS.reference[:-1])],
    "a reference in other case": [replace(ROW, reference=OURS.reference.upper())],
    "a reference in other case that is cut short": [replace(ROW, reference=OURS.reference[:12].upper())],
    "a reference with blanks": [replace(ROW, reference=f" {OURS.reference} ")],
    "neither reference nor number": [replace(ROW, reference=None, number="")],
    "two texts": [ROW, replace(ROW, message_id="id-2")],
}
OTHERS = {
    "no row": [],
    "another reference": [replace(ROW, reference="0123456789abcdef.1.1.1")],
    "a longer reference": [replace(ROW, reference=f"{OURS.reference}1")],
    "long before the claim": [replace(ROW, submitted_at=CLAIMED.subtract(hours=1))],
    "no reference, and another number": [replace(ROW, reference=None, number=BEN)],
}


@pytest.mark.parametrize("row", ALIKE.values(), ids=ALIKE)
def test_a_row_with_reference_number_and_time_is_the_recipients_own(row: SentMessage) -> None:
    found = match_references({3: OURS}, [row], CLAIMED)
    assert (dict(found.certain), found.doubtful) == ({3: row}, frozenset())


@pytest.mark.parametrize("rows", DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_row_that_may_be_the_recipients_keeps_them_in_doubt(rows: list[SentMessage]) -> None:
    found = match_references({3: OURS}, rows, CLAIMED)
    assert (dict(found.certain), found.doubtful) == ({}, frozenset({3}))


@pytest.mark.parametrize("rows", OTHERS.values(), ids=OTHERS)
def test_a_row_of_another_text_says_nothing_about_the_recipient(rows: list[SentMessage]) -> None:
    found = match_references({3: OURS}, rows, CLAIMED)
    assert (dict(found.certain), found.doubtful) == ({}, frozenset())


def test_recipients_who_share_the_id_of_a_request_are_told_apart_by_reference() -> None:
    account = account_with(0)
    expected = {position: SubmittedText(f"ref.{position}", ANN) for position in range(3)}
    account.texts += [Text("shared", "new", ANN, text.reference, account.now) for text in expected.values()]
    rows, is_complete = read_sent(account.execute, GATEWAY, SINCE)
    assert is_complete
    assert match_references(expected, rows, CLAIMED).certain.keys() == {0, 1, 2}


def test_a_time_that_occurs_twice_on_the_gateways_clock_is_both() -> None:
    twice = pendulum.datetime(2026, 10, 25, 2, 30, tz="Europe/Berlin")
    claimed = twice.replace(fold=1).in_timezone("UTC")
    found = match_references({0: OURS}, [replace(ROW, submitted_at=twice.replace(fold=0))], claimed)
    assert found.certain.keys() == {0}
