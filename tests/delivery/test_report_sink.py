"""The sink of reports: written first, then handed to the waits that hold their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.delivery.report_sink import LEDGER_RETRY_DELAY, LEDGER_WRITE_TIMEOUT, ReportSink
from airflow_provider_winsms.delivery.subscriptions import Subscriptions
from airflow_provider_winsms.exceptions import ConfigurationError, LedgerUnavailable
from airflow_provider_winsms.messages import Answers, DeliveryReport, DeliveryState
from tests.support.virtual_time import BEGINNING, in_virtual_time
from tests.support.waits import BOOK, LOG, OTHER_BOOK, Books, now, subscription, until

if TYPE_CHECKING:
    from airflow_provider_winsms.delivery.subscriptions import Subscription


async def sink_of(books: Books, *waits: Subscription) -> ReportSink:
    subscriptions = Subscriptions()
    for one in waits:
        await subscriptions.add(one)
    return ReportSink(subscriptions, books.write, LOG, now)


def reports(*ids: int, unreadable: tuple[int, ...] = ()) -> Answers[DeliveryReport]:
    return Answers.of([DeliveryReport(each, DeliveryState.DELIVERED) for each in ids], unreadable)


@in_virtual_time
async def test_a_report_reaches_every_wait_of_its_id_and_no_other() -> None:
    one, both, none = subscription([1]), subscription([1, 2, 3]), subscription([9])
    sink = await sink_of(Books(), one, both, none)
    await sink.put(reports(1, 2, 7))
    assert [list(each.tracker.open_ids()) for each in (one, both, none)] == [[], [3], [9]]
    assert [each.ended.done() for each in (one, both, none)] == [True, False, False]


@in_virtual_time
async def test_a_change_is_written_once_for_all_waits_of_a_ledger() -> None:
    books = Books()
    waits = [subscription([1, 2], ledger=BOOK), subscription([1], ledger=BOOK), subscription([1])]
    sink = await sink_of(books, *waits, subscription([2], ledger=OTHER_BOOK))
    await sink.put(reports(1, 2))
    await sink.put(reports(1, 2))
    assert sorted(books.written) == [
        (BOOK, 1, "delivered"),
        (BOOK, 2, "delivered"),
        (OTHER_BOOK, 2, "delivered"),
    ]


@in_virtual_time
async def test_an_answer_that_could_not_be_written_does_not_count() -> None:
    def fail(ledger: object) -> None:
        if ledger == BOOK:
            msg = "The database is away."
            raise LedgerUnavailable(msg)

    held, other = subscription([1, 2], ledger=BOOK), subscription([1], ledger=OTHER_BOOK)
    sink = await sink_of(Books(fail), held, other)
    await sink.put(reports(1))
    assert list(held.tracker.open_ids()) == [1, 2]
    assert [held.trouble, held.is_held] == ["The database is away.", True]
    assert held.due_at == pytest.approx(now() + LEDGER_RETRY_DELAY, abs=0.2)
    assert other.ended.done()


@in_virtual_time
async def test_a_permanent_error_of_a_ledger_ends_all_its_waits() -> None:
    error = ConfigurationError("The tables have other columns.")

    def fail(_: object) -> None:
        raise error

    waits = [subscription([1], ledger=BOOK), subscription([2], ledger=BOOK), subscription([3])]
    sink = await sink_of(Books(fail), *waits)
    await sink.put(reports(1))
    assert [each.ended.exception() for each in waits[:2]] == [error] * 2
    assert not waits[2].ended.done()


@in_virtual_time
async def test_a_ledger_that_hangs_is_given_up_after_a_while() -> None:
    class Hanging(Books):
        async def write(self, *_: object) -> None:
            await until(1e9)

    one = subscription([1], ledger=BOOK)
    sink = await sink_of(Hanging(), one)
    await sink.put(reports(1))
    assert now() == BEGINNING + LEDGER_WRITE_TIMEOUT
    assert one.trouble == "The ledger behind 'book' could not be written (TimeoutError)."


@in_virtual_time
async def test_an_unreadable_row_is_named_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    one = subscription([1, 2])
    sink = await sink_of(Books(), one)
    for _ in range(2):
        await sink.put(reports(2, unreadable=(1,)))
    assert list(one.tracker.open_ids()) == [1]
    assert [record.getMessage() for record in caplog.records] == [
        "The gateway's status of 1 text cannot be read: 1. Their states stay unchanged."
    ]
