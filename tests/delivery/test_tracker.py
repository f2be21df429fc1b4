"""Which texts are open, what is settled, and when to ask again."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.delivery.outcome import REPORTS_KEPT, DeliveryOutcome
from airflow_provider_winsms.delivery.tracker import DeliveryTracker
from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gateways.backoff import LONGEST_BACK_OFF, back_off
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState
from airflow_provider_winsms.polling.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.messages import MessageId

GATEWAY = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")
DAY = 24 * 3600
NOW = 1000.0


def wait(ids: Iterable[MessageId], needs: float = 1.0, grace: float = 0.0) -> DeliveryTracker:
    return DeliveryTracker(ids, min_delivered=needs, grace_until=NOW + grace, not_found_holds=grace)


def reports(
    ids: Iterable[MessageId], state: DeliveryState, code: str = "", cost: str = "0"
) -> list[DeliveryReport]:
    return [DeliveryReport(each, state, code, Decimal(cost)) for each in ids]


# What is open


def test_ids_are_followed_once_each_in_their_order() -> None:
    followed = wait([3, 1, 2, 3, 1])
    assert len(followed) == 3
    assert list(followed.message_ids) == list(followed.open_ids()) == [1, 2, 3]


@pytest.mark.parametrize("ids", [["b", "a"], [10**30, 1], [2**63, 2**64]])
def test_ids_that_are_no_small_numbers_are_followed_too(ids: list[MessageId]) -> None:
    followed = wait(ids)
    followed.record(reports(ids[:1], DeliveryState.DELIVERED), NOW)
    assert list(followed.open_ids()) == ids[1:]


@pytest.mark.parametrize("ids", [[1, 2, 3, 4, 5], ["a", "b", "c", "d", "e"], [1, 2**63, 2**64, 2**65, 2**66]])
def test_open_ids_begin_after_any_of_the_ids(ids: list[MessageId]) -> None:
    followed = wait(ids)
    followed.record(reports([ids[1], ids[3]], DeliveryState.DELIVERED), NOW)
    rests = [list(followed.open_ids(after=each)) for each in ids]
    assert rests == [[ids[2], ids[4]], [ids[2], ids[4]], [ids[4]], [ids[4]], []]


def test_what_is_final_is_not_asked_for_again_and_stays_as_it_was() -> None:
    followed = wait([1, 2, 3], needs=0.0)
    followed.record(reports([1], DeliveryState.DELIVERED) + reports([2], DeliveryState.FAILED), NOW)
    followed.record(reports([1], DeliveryState.SENT), NOW)
    assert list(followed.open_ids()) == [3]
    assert followed.outcome().states == {"delivered": 1, "failed": 1, "unknown": 1}


def test_reports_of_others_are_passed_over() -> None:
    followed = wait([2, 4])
    followed.record(reports([1, 3, 5], DeliveryState.DELIVERED), NOW)
    assert list(followed.open_ids()) == [2, 4]
    assert followed.changes(reports([1, 3, 5], DeliveryState.DELIVERED)) == []


def test_only_what_has_changed_is_news() -> None:
    followed = wait([1, 2])
    first = reports([1, 2], DeliveryState.SENT)
    assert followed.changes(first) == first
    followed.record(first, NOW)
    assert followed.changes(first) == []
    then = reports([1], DeliveryState.DELIVERED) + reports([2], DeliveryState.SENT)
    assert followed.changes(then) == then[:1]
    assert followed.changes(reports([1], DeliveryState.SENT, code="X")) == reports(
        [1], DeliveryState.SENT, code="X"
    )


def test_an_id_that_the_gateway_never_knew_stays_open_for_its_grace() -> None:
    followed = wait([1], grace=60)
    for seconds in (0, 30, 59):
        followed.record(reports([1], DeliveryState.NOT_FOUND), NOW + seconds)
        assert list(followed.open_ids()) == [1]
    followed.record(reports([1], DeliveryState.NOT_FOUND), NOW + 60)
    assert followed.is_settled
    assert followed.outcome().states == {"not_found": 1}


@pytest.mark.parametrize("between", [DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.UNKNOWN])
def test_an_id_that_is_unknown_for_a_moment_long_after_its_grace_stays_open(between: DeliveryState) -> None:
    followed = wait([1], grace=60)
    followed.record(reports([1], between), NOW + 1000)
    for later in range(2000, 10_000, 1000):
        followed.record(reports([1], DeliveryState.NOT_FOUND), NOW + later)
        followed.record(reports([1], DeliveryState.NOT_FOUND), NOW + later + 59)
        followed.record(reports([1], between), NOW + later + 61)
    assert list(followed.open_ids()) == [1]
    followed.record(reports([1], DeliveryState.DELIVERED), NOW + 10_000)
    assert followed.outcome().is_success


def test_a_poll_asks_for_all_that_is_open_in_as_few_requests_as_hold_it_and_stops_when_settled() -> None:
    followed = wait(range(2500))
    followed.record(reports(range(500), DeliveryState.DELIVERED), NOW)
    assert len(list(followed.calls(GATEWAY))) == 2
    calls = followed.calls(GATEWAY)
    next(calls)
    followed.record(reports([700], DeliveryState.FAILED), NOW)
    assert list(calls) == [], "All were needed, and one is lost."


# What is settled


@pytest.mark.parametrize(
    ("total", "needs", "needed"), [(100, 0.07, 7), (3, 0.5, 2), (10, 0.0, 0), (10, 1.0, 10), (0, 1.0, 0)]
)
def test_a_share_of_the_texts_is_rounded_up_but_not_by_what_binary_fractions_add(
    total: int, needs: float, needed: int
) -> None:
    assert wait(range(total), needs).outcome().needed == needed


@pytest.mark.parametrize("needs", [-0.1, 1.1, "1", None, float("nan")])
def test_what_is_no_share_is_refused(needs: Any) -> None:
    with pytest.raises(InvalidMessage, match="a share, a number from 0 to 1"):
        wait([1], needs)


def test_an_outcome_counts_and_adds_up_over_all_and_names_a_thousand() -> None:
    followed = wait(range(100_000))
    followed.record(reports(range(50_000), DeliveryState.DELIVERED, cost="0.5"), NOW)
    followed.record(reports(range(50_000, 100_000), DeliveryState.FAILED, code="FAILED"), NOW)
    outcome = followed.outcome()
    assert outcome.summary() == {
        "total": 100_000,
        "delivered": 50_000,
        "states": {"delivered": 50_000, "failed": 50_000},
        "cost": "25000.0",
        "currency": "",
    }
    assert [report.message_id for report in outcome.undelivered] == list(range(50_000, 50_000 + REPORTS_KEPT))
    assert {report.code for report in outcome.undelivered} == {"FAILED"}


def test_an_outcome_survives_the_event_that_carries_it() -> None:
    followed = wait([1, 2, 3])
    followed.record(reports([1], DeliveryState.DELIVERED, cost="1.0"), NOW)
    followed.record(reports([2], DeliveryState.FAILED, code="FAILED", cost="0.0"), NOW)
    outcome = followed.outcome()
    assert DeliveryOutcome.from_json(outcome.to_json()) == outcome


# When to ask again


def test_texts_that_are_due_to_leave_later_are_asked_for_at_the_shortest_pause() -> None:
    assert Schedule(NOW + DAY, 10.0, 3600.0).pause(NOW) == 10.0


def test_the_back_off_is_bounded() -> None:
    pauses = [back_off(30, failures, None) for failures in range(1, 200)]
    assert all(30 <= pause <= LONGEST_BACK_OFF for pause in pauses)


def test_the_back_off_is_no_shorter_than_the_pause_nor_than_what_the_gateway_asks_for() -> None:
    assert back_off(1000, 5, None) == 1000
    assert back_off(5, 1, 700.0) == 700
