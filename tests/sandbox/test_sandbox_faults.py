"""Every fault, as the client of the sandbox sees it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import requests

from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.sandbox.faults import FAULTS
from tests.sandbox.sandbox_api import NOW, OTHER, PHONE, Api, wire_minute

BODY = {"message": "Hello", "recipients": [{"mobileNumber": number} for number in (PHONE, OTHER, "27")]}


def send(api: Api) -> requests.Response:
    return api.call("POST", "/sms/outgoing/send", BODY)


def accepted(api: Api) -> int:
    return len(api.box.outbox())


def test_a_lost_answer_leaves_the_texts_accepted(api: Api) -> None:
    api.box.add_fault("lost-after-acceptance", operation="smsSend")
    with pytest.raises(requests.ConnectionError, match="without response"):
        send(api)
    assert accepted(api) == 2
    assert api.balance() == 98


def test_a_reset_connection_leaves_nothing_accepted(api: Api) -> None:
    api.box.add_fault("reset-before-acceptance")
    with pytest.raises(requests.ConnectionError, match="reset"):
        send(api)
    assert accepted(api) == 0
    assert send(api).status_code == 200


@pytest.mark.parametrize(("when", "count"), [("before", 0), ("after", 2)])
@pytest.mark.parametrize("status", [500, 502, 503])
def test_an_error_answer_comes_before_or_after_acceptance(
    api: Api, status: int, when: str, count: int
) -> None:
    api.box.add_fault(f"{status}-{when}-acceptance", operation="/sms/outgoing/send")
    assert send(api).status_code == status
    assert accepted(api) == count
    assert send(api).status_code == 200


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, "text/html"),
        (400, "application/json"),
        (401, "text/html"),
        (403, "text/html"),
        (404, "application/json"),
        (422, "application/json"),
    ],
)
def test_somebody_else_refuses_what_was_accepted(api: Api, status: int, kind: str) -> None:
    api.box.add_fault(f"{status}-after-acceptance", operation="smsSend")
    answer = api.call("POST", "/sms/outgoing/send", BODY, allow_redirects=False)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (status, kind)
    assert b"errorMessage" not in answer.content
    assert accepted(api) == 2


def test_a_refusal_for_too_many_requests_says_when_to_come_back(api: Api) -> None:
    api.box.add_fault("429-too-many-requests", retry_after=7)
    answer = send(api)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json()["statusCode"] == 429
    assert accepted(api) == 0


@pytest.mark.parametrize(("fault", "count"), [("latency", 2), ("late-acceptance", 0)])
def test_a_client_that_gives_up_waiting_does_not_know_what_was_accepted(
    api: Api, fault: str, count: int
) -> None:
    api.box.add_fault(fault, seconds=30)
    with pytest.raises(requests.ReadTimeout):
        api.call("POST", "/sms/outgoing/send", BODY, timeout=0.1)
    assert accepted(api) == count


@pytest.mark.parametrize("fault", ["latency", "late-acceptance"])
def test_a_delay_is_as_long_as_it_was_asked_to_be_and_holds_up_nobody_else(api: Api, fault: str) -> None:
    api.box.add_fault(fault, operation="smsSend", seconds=0.1)
    other = Api(api.box)
    balances: list[float] = []
    thread = threading.Thread(target=lambda: balances.append(other.balance()))
    started = time.monotonic()
    thread.start()
    assert send(api).status_code == 200
    assert time.monotonic() - started >= 0.1
    thread.join()
    assert len(balances) == 1
    other.session.close()


def test_a_truncated_answer_announces_more_than_it_brings(api: Api) -> None:
    api.box.add_fault("truncated-json")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        send(api)
    assert accepted(api) == 2


def test_an_html_answer_is_200_and_no_json(api: Api) -> None:
    api.box.add_fault("html-answer")
    answer = send(api)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def spoilt_page(api: Api, fault: str) -> list[str]:
    api.box.add_incoming([(PHONE, text) for text in "abcde"])
    api.box.add_fault(fault)
    api.balance()
    return [row["messageText"] for row in api.get("/sms/incoming")["incomingMessages"]]


@pytest.mark.parametrize(
    ("fault", "rows"), [("duplicated-row", "aabcde"), ("missing-row", "abde"), ("reordered-rows", "edcba")]
)
def test_rows_of_a_page_can_be_wrong(api: Api, fault: str, rows: str) -> None:
    assert spoilt_page(api, fault) == list(rows)
    assert [row["messageText"] for row in api.get("/sms/incoming")["incomingMessages"]] == list("abcde")


def test_rows_of_a_send_of_many_are_its_recipients(api: Api) -> None:
    api.box.add_fault("missing-row")
    answer = api.post("/sms/outgoing/sendmulti", {"messages": [BODY, BODY]})
    assert [len(message["recipients"]) for message in answer["messages"]] == [2, 3]
    assert accepted(api) == 4


def test_an_empty_page_has_no_row_to_spoil(api: Api) -> None:
    api.box.add_fault("duplicated-row")
    assert api.get("/sms/incoming")["incomingMessages"] == []


@pytest.mark.parametrize(
    ("path", "key"), [("/sms/incoming", "incomingMessages"), ("/shortcode/incoming", "shortcodeMessages")]
)
def test_rows_arrive_between_two_pages(api: Api, path: str, key: str) -> None:
    api.box.add_incoming([(PHONE, "Hello")] * 3)
    for _ in range(3):
        api.box.shortcode(PHONE, "Hello")
    api.box.add_fault("rows-between-pages", operation=path, rows=2)
    first, second = api.get(path, limit=3), api.get(path, offset=3, limit=3)
    assert (first["resultsTotalAvailable"], second["resultsTotalAvailable"]) == (3, 5)
    assert len(second[key]) == 2
    assert api.get(path)["resultsTotalAvailable"] == 5


@pytest.mark.parametrize("newest_first", [False, True])
def test_texts_that_are_scheduled_between_two_pages_move_a_list_that_has_the_newest_first(
    api: Api, newest_first: bool
) -> None:
    api.box.set_scheduled_list(newest_first=newest_first)
    ids = api.ids(*[PHONE] * 6, scheduledTime=wire_minute(hours=1))
    api.box.add_fault("rows-between-pages", operation="/sms/scheduled", rows=2)
    pages = [api.get("/sms/scheduled", offset=offset, limit=3) for offset in (0, 3)]
    assert [page["resultsTotalAvailable"] for page in pages] == [6, 8]
    listed = [[row["apiMessageId"] for row in page["scheduledMessages"]] for page in pages]
    newest = ids[::-1]
    assert listed == ([newest[:3], newest[1:4]] if newest_first else [ids[:3], ids[3:]])


def test_a_fault_strikes_once_unless_told_how_often(api: Api) -> None:
    api.box.add_fault("500-before-acceptance")
    api.box.add_fault("503-before-acceptance", times=2)
    statuses = [api.call("GET", "/subaccounts").status_code for _ in range(4)]
    assert statuses == [500, 503, 503, 200]


def test_a_fault_may_let_requests_pass_first(api: Api) -> None:
    api.box.add_fault("500-before-acceptance", skip=2)
    statuses = [api.call("GET", "/subaccounts").status_code for _ in range(4)]
    assert statuses == [200, 200, 500, 200]


def test_a_fault_strikes_only_its_operation(api: Api) -> None:
    api.box.add_fault("500-before-acceptance", operation="smsStatus")
    assert api.balance() == 100
    assert api.call("POST", "/sms/outgoing/status", [1]).status_code == 500


def test_a_fault_with_a_probability_strikes_the_same_requests_for_the_same_seed() -> None:
    def run(seed: int) -> list[int]:
        with Sandbox(speed=0, now=NOW) as box:
            api = Api(box)
            box.add_fault("503-before-acceptance", probability=0.3, seed=seed)
            statuses = [api.call("GET", "/credits/balance").status_code for _ in range(60)]
            api.session.close()
            return statuses

    first = run(1)
    assert first == run(1)
    assert first != run(2)
    assert 8 <= first.count(503) <= 30


def test_faults_are_listed_with_how_often_they_struck_and_can_be_forgotten(api: Api) -> None:
    key = api.box.add_fault("500-before-acceptance", operation="smsSend", times=3)
    send(api)
    (row,) = api.box.faults()
    assert row == {
        "id": key,
        "fault": "500-before-acceptance",
        "operation": "smsSend",
        "timesLeft": 2,
        "probability": None,
        "struck": 1,
    }
    api.box.clear_faults()
    assert api.box.faults() == []
    assert send(api).status_code == 200


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"fault": "gremlins"}, "lost-after-acceptance"),
        ({"fault": "latency", "operation": "sendSms"}, "smsSendBatch"),
        ({"fault": "latency", "times": 0}, "times must be 1 or more"),
        ({"fault": "latency", "skip": -1}, "skip must be 0 or more"),
        ({"fault": "latency", "probability": 1.5}, "probability must be from 0 to 1"),
        ({"fault": "latency", "seconds": -1}, "seconds must be from 0"),
        ({"fault": "latency", "seconds": float("nan")}, "seconds must be from 0"),
        ({"fault": "429-too-many-requests", "retry_after": -1}, "retry_after must be from 0"),
        ({"fault": "rows-between-pages", "rows": 0}, "rows must be 1 or more"),
        ({"fault": "rows-between-pages", "operation": "smsSend"}, "cannot strike smsSend"),
        ({"fault": "missing-row", "operation": "/credits/balance"}, "cannot strike /credits/balance"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(box: Sandbox, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        box.add_fault(**asked)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_sandbox_is_sound_after_every_fault(api: Api, fault: str) -> None:
    api.box.add_fault(fault, seconds=0)
    for path in ("/sms/incoming", "/sms/incoming"):
        try:
            api.call("GET", path)
        except requests.RequestException:
            continue
    assert [row["struck"] for row in api.box.faults()] == [1]
    assert api.get("/sms/incoming")["statusCode"] == 200
