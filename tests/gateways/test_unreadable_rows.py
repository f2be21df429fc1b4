"""One row that cannot be read says nothing against the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.gateways.responses import Answer, read_answer
from airflow_provider_winsms.messages import DeliveryState
from airflow_provider_winsms.sending.scheduled_list import read_scheduled
from tests.gateways.carriers import GATEWAY, WHERE
from tests.support.lists import page_range

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Call

IDS = [2316, 2317, 2318]
BAD = 2317

BAD_IDS: list[Any] = [None, "A1", "", True, False, -1, 1.5, 10**30, [BAD], {}]
BAD_FLAGS: list[Any] = ["true", "false", "n/a", "", 1, 0, {}, []]
NO_ROWS: list[Any] = [None, 0, "row", True, [], [BAD]]


def read(call: Call[Any], document: Any) -> Any:
    return read_answer(call, Answer(200, {}, json.dumps(document).encode()), WHERE)


def status(message_id: Any, **more: Any) -> dict[str, Any]:
    return {"apiMessageId": message_id, "statusDelivered": True, "statusErrorCode": "", **more}


def deleted(message_id: Any, **more: Any) -> dict[str, Any]:
    return {"apiMessageId": message_id, "deleted": True, "deleteError": "", "creditCost": 1, **more}


def reports(*rows: Any) -> Any:
    return read(GATEWAY.delivery_reports(IDS), {"messageStatuses": list(rows)})


def cancellations(*rows: Any) -> Any:
    return read(GATEWAY.cancel(IDS), {"deletedMessageStatuses": list(rows)})


UNREADABLE_STATUS = [
    *(status(bad) for bad in BAD_IDS),
    {"statusDelivered": True},
    *(status(BAD, statusDelivered=flag) for flag in BAD_FLAGS),
    *NO_ROWS,
]


@pytest.mark.parametrize("bad", UNREADABLE_STATUS, ids=repr)
def test_a_status_that_cannot_be_read_leaves_its_id_open_and_the_others_settled(bad: Any) -> None:
    answers = reports(status(2316), bad, status(2318))
    assert [(each.message_id, each.state) for each in answers] == [
        (2316, DeliveryState.DELIVERED),
        (2318, DeliveryState.DELIVERED),
    ]
    assert answers.unreadable == (BAD,)


@pytest.mark.parametrize("bad", UNREADABLE_STATUS, ids=repr)
def test_the_last_open_id_may_have_an_unreadable_status(bad: Any) -> None:
    """Or it would be in the way of all others that are asked for later."""
    answers = read(GATEWAY.delivery_reports([BAD]), {"messageStatuses": [bad]})
    assert answers == ()
    assert answers.unreadable == (BAD,)


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({"creditCost": "n/a"}, DeliveryState.DELIVERED),
        ({"creditCost": {}}, DeliveryState.DELIVERED),
        ({"creditCost": True}, DeliveryState.DELIVERED),
        ({"statusErrorCode": {}}, DeliveryState.DELIVERED),
        ({"statusErrorCode": []}, DeliveryState.DELIVERED),
        ({"statusErrorCode": {"code": "FAILED"}, "statusDelivered": False}, DeliveryState.UNKNOWN),
        ({"statusTime": "soon"}, DeliveryState.DELIVERED),
        ({"statusTime": {}}, DeliveryState.DELIVERED),
        ({"statusTime": "209913312561"}, DeliveryState.DELIVERED),
        ({"mobileNumber": []}, DeliveryState.DELIVERED),
        ({"statusDelivered": None}, DeliveryState.UNKNOWN),
    ],
)
def test_what_is_wrong_beside_the_outcome_leaves_the_outcome(
    more: dict[str, Any], state: DeliveryState
) -> None:
    answers = reports(status(BAD, **more))
    assert [(each.message_id, each.state) for each in answers] == [(BAD, state)]
    assert answers.unreadable == ()


def test_a_status_of_an_id_that_was_not_asked_for_is_passed_over() -> None:
    answers = reports(*map(status, (2316, 9999, 2318)))
    assert [each.message_id for each in answers] == [2316, 2318]
    assert answers.unreadable == ()


def test_two_statuses_that_contradict_each_other_are_none() -> None:
    failed = status(BAD, statusDelivered=False, statusErrorCode="FAILED")
    answers = reports(status(2316), status(BAD), failed, status(2318))
    assert [each.message_id for each in answers] == [2316, 2318]
    assert answers.unreadable == (BAD,)


@pytest.mark.parametrize(
    "bad", [*map(deleted, BAD_IDS), *(deleted(BAD, deleted=flag) for flag in BAD_FLAGS), *NO_ROWS], ids=repr
)
def test_a_cancellation_that_cannot_be_read_is_no_answer_and_the_others_are(bad: Any) -> None:
    answers = cancellations(deleted(2316), bad, deleted(2318))
    assert [(each.message_id, each.cancelled) for each in answers] == [(2316, True), (2318, True)]
    assert answers.unreadable == (BAD,)


@pytest.mark.parametrize("cost", ["n/a", {}, [], "NaN"])
def test_a_cancellation_whose_refund_cannot_be_read_is_a_cancellation(cost: Any) -> None:
    (answer,) = cancellations(deleted(BAD, creditCost=cost))
    assert answer.cancelled


SCHEDULED = {
    "mobileNumber": "27825550101",
    "submitTime": "201701201522",
    "scheduledSendTime": "201712251430",
    "creditCost": 1,
}
LISTS = [
    (GATEWAY.incoming(0, 3), "incomingMessages", "incomingApiMessageId"),
    (GATEWAY.short_code(0, 3), "shortcodeMessages", "incomingApiMessageId"),
    (GATEWAY.scheduled(0, 3), "scheduledMessages", "apiMessageId"),
]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("bad", [*({"id": bad} for bad in BAD_IDS), {}, *NO_ROWS], ids=repr)
@pytest.mark.parametrize(("call", "key", "id_key"), LISTS)
def test_a_page_says_which_of_its_rows_cannot_be_read(
    call: Call[Any], key: str, id_key: str, bad: Any, place: int
) -> None:
    rows: list[Any] = [{**SCHEDULED, id_key: each} for each in IDS]
    rows[place] = {**SCHEDULED, id_key: bad["id"]} if bad and isinstance(bad, dict) else bad
    page = read(call, {key: rows, "resultsTotalAvailable": 3})
    assert [each.message_id for each in page.rows] == [*IDS[:place], *IDS[place + 1 :]]
    assert (page.unreadable_at, page.unreadable, page.length, page.total) == ((place,), 1, 3, 3)


@pytest.mark.parametrize("value", ["n/a", {}, [], True])
@pytest.mark.parametrize("field", ["creditCost", "submitTime", "scheduledSendTime", "mobileNumber"])
def test_a_scheduled_row_with_an_id_is_a_row_whatever_else_is_wrong(field: str, value: Any) -> None:
    rows = [{**SCHEDULED, "apiMessageId": 1, field: value}, {**SCHEDULED, "apiMessageId": 2}]
    page = read(GATEWAY.scheduled(0, 3), {"scheduledMessages": rows, "resultsTotalAvailable": 2})
    assert [each.message_id for each in page.rows] == [1, 2]


@pytest.mark.parametrize("total", [1, 2, 1001, 1002])
def test_a_list_with_a_row_that_cannot_be_read_proves_no_absence(total: int) -> None:
    """Even where the gateway counts it not."""
    rows: list[Any] = [{**SCHEDULED, "apiMessageId": each} for each in range(1, total)]
    rows.insert(0, {**SCHEDULED, "apiMessageId": None})

    def execute(call: Call[Any], *_: Any) -> Any:
        offset, limit = page_range(call)
        document = {
            "scheduledMessages": rows[offset : offset + limit],
            "resultsTotalAvailable": max(total - 1, 1),
        }
        return read(call, document)

    assert not read_scheduled(execute, GATEWAY)[1]
