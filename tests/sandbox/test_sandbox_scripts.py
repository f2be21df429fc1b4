"""Lists that answer with given rows, in place of the account's."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_winsms.sandbox.operations import OPERATIONS
from airflow_provider_winsms.sandbox.scripts import Listing, ListQuery
from airflow_provider_winsms.sandbox.wire import JsonRows, RequestRefused
from tests.sandbox.sandbox_api import AT_ONCE, PHONE, Api, ask

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox

ROWS = [{"incomingApiMessageId": each, "anything": None} for each in range(5)]
HOSTILE: list[Any] = [
    None,
    "27",
    10**40,
    [],
    {},
    {"receiveTime": {"a": [1.5]}, "creditCost": True},
    {"recipients": 7},
]
PAGED = [operation for operation in OPERATIONS if operation.is_paged]
LIST = "/api/rest/v1/sms/incoming"
LISTS = [operation for operation in OPERATIONS if operation.lists]


@pytest.mark.parametrize("operation", PAGED)
def test_a_paged_list_has_the_rows_that_are_given_and_is_cut_as_asked(api: Api, operation: Any) -> None:
    api.box.script_rows(operation.name, ROWS)
    page = api.get(operation.path, offset=1, limit=2)
    assert page[operation.rows] == ROWS[1:3]
    paging = {name: value for name, value in page.items() if name.startswith("results")}
    assert paging == {"resultsOffset": 1, "resultsLimit": 2, "resultsTotalAvailable": 5}
    assert (page["version"], page["statusCode"]) == ("1.0", 200)


def test_rows_go_out_as_they_are_whatever_they_are(api: Api) -> None:
    api.box.script_rows("getIncomingMessages", HOSTILE)
    api.box.script_rows("getOptoutMessages", HOSTILE)
    assert api.get("/sms/incoming")["incomingMessages"] == HOSTILE
    answer = api.get("/sms/incoming/optout")
    assert answer["incomingOptoutMessages"] == HOSTILE
    assert "resultsTotalAvailable" not in answer


def test_rows_may_come_and_go_between_two_pages(api: Api) -> None:
    rows = ROWS[:3]
    api.box.script_rows("/sms/incoming", rows)
    assert api.get("/sms/incoming", limit=2)["incomingMessages"] == ROWS[:2]
    rows += ROWS[3:]
    page = api.get("/sms/incoming", offset=2)
    assert (page["incomingMessages"], page["resultsTotalAvailable"]) == (ROWS[2:], 5)


@pytest.mark.parametrize("total", [None, -1, 3, 10**18, 5.5, "many", [], True])
def test_a_script_states_whatever_total_it_likes(api: Api, total: Any) -> None:
    api.box.script("getScheduledMessages", lambda _: Listing([1], total))
    assert api.get("/sms/scheduled")["resultsTotalAvailable"] == total


def test_a_script_may_list_without_end(api: Api) -> None:
    def endless(asked: ListQuery) -> Listing:
        return Listing(range(asked.offset, asked.offset + asked.limit), asked.offset + asked.limit + 1)

    api.box.script("getIncomingMessages", endless)
    page = api.get("/sms/incoming", offset=10**9, limit=3)
    assert page["incomingMessages"] == [10**9, 10**9 + 1, 10**9 + 2]
    assert page["resultsTotalAvailable"] == 10**9 + 4


def test_a_script_is_told_the_ids_of_a_status_request(api: Api) -> None:
    api.box.script("smsStatus", lambda asked: Listing([{"apiMessageId": each} for each in asked.ids]))
    assert api.status(7, 8, 7) == [{"apiMessageId": 7}, {"apiMessageId": 8}, {"apiMessageId": 7}]


def test_a_script_is_asked_for_valid_requests_alone(api: Api) -> None:
    asked: list[ListQuery] = []

    def script(page: ListQuery) -> Listing:
        asked.append(page)
        return Listing([])

    for operation in LISTS:
        api.box.script(operation.name, script)
    for path, options in (("incoming", {"params": {"limit": 1001}}), ("outgoing/status", {"body": ["x"]})):
        method = "POST" if "body" in options else "GET"
        assert api.call(method, f"/sms/{path}", **options).status_code == 422
    del api.session.headers["AUTHORIZATION"]
    assert api.call("GET", "/sms/incoming").status_code == 401
    assert asked == []


def test_a_script_may_refuse_as_the_gateway_does(api: Api) -> None:
    def script(_: ListQuery) -> Listing:
        raise RequestRefused(400, "Not today.")

    api.box.script("smsStatus", script)
    answer = api.call("POST", "/sms/outgoing/status", [1])
    assert (answer.status_code, answer.json()["errorMessage"]) == (400, "Not today.")


def test_scripts_answer_several_requests_at_a_time_and_may_use_the_sandbox(api: Api) -> None:
    together = threading.Barrier(2)

    def script(_: ListQuery) -> Listing:
        together.wait(5)
        return Listing([api.box.incoming(PHONE, "Hello")], 1)

    api.box.script("getIncomingMessages", script)
    found = []
    others = [threading.Thread(target=lambda: found.append(ask(api.box, "GET", LIST))) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join(5)
    assert sorted(json.loads(body)["incomingMessages"][0] for _, body in found) == [5_000_001, 5_000_002]


def test_faults_strike_scripts(api: Api) -> None:
    api.box.script_rows("getOptoutMessages", [*ROWS, 5])
    path = "/sms/incoming/optout"
    api.box.add_fault("reordered-rows")
    assert api.get(path)["incomingOptoutMessages"] == [5, *ROWS[::-1]]
    api.box.script_rows("getOptoutMessages", HOSTILE)
    api.box.add_fault("missing-row")
    assert api.get(path)["incomingOptoutMessages"] == HOSTILE[:3] + HOSTILE[4:]
    api.box.add_fault("503-before-acceptance")
    assert api.call("GET", path).status_code == 503
    api.box.add_fault("truncated-json")
    with pytest.raises(requests.RequestException):
        api.call("GET", path)


def test_rows_that_are_encoded_already_go_out_byte_by_byte(api: Api) -> None:
    rows = JsonRows(b'{"incomingApiMessageId": 1,"messageText":"M\\u00f4re"},{"x":1}', 2)
    api.box.script("getIncomingMessages", lambda _: Listing(rows, 2))
    answer = api.call("GET", "/sms/incoming")
    assert rows.rows in answer.content
    assert answer.json()["incomingMessages"] == [
        {"incomingApiMessageId": 1, "messageText": "M\u00f4re"},
        {"x": 1},
    ]
    assert answer.json()["resultsTotalAvailable"] == 2
    api.box.script("getIncomingMessages", lambda _: Listing(JsonRows(b"", 0), 0))
    assert api.get("/sms/incoming")["incomingMessages"] == []
    assert [row["rows"] for row in api.box.requests()] == [2, 0]


def test_the_account_answers_again_when_its_scripts_are_forgotten(api: Api) -> None:
    (key,) = api.ids(AT_ONCE)
    api.box.incoming(PHONE, "Hello")
    for forget in (api.box.clear_scripts, api.box.reset):
        api.box.script_rows("getIncomingMessages", [])
        api.box.script("smsStatus", lambda _: Listing([]))
        assert (api.get("/sms/incoming")["incomingMessages"], api.status(key)) == ([], [])
        forget()
        if forget == api.box.clear_scripts:
            assert api.get("/sms/incoming")["incomingMessages"][0]["messageText"] == "Hello"
        assert api.status(key)[0]["apiMessageId"] == key


def test_what_does_more_than_list_cannot_be_scripted(box: Sandbox) -> None:
    for operation in OPERATIONS:
        if operation not in LISTS:
            with pytest.raises(ValueError, match=f"{operation.name} cannot be scripted"):
                box.script_rows(operation.name, [])
    with pytest.raises(ValueError, match="There is no operation 'smsList'"):
        box.script_rows("smsList", [])


def test_rows_are_scripted_over_http(api: Api) -> None:
    given = {"operation": "getIncomingMessages", "rows": HOSTILE}
    assert api.control("POST", "/scripts", given).json() == {}
    assert api.get("/sms/incoming")["incomingMessages"] == HOSTILE
    assert api.control("DELETE", "/scripts").json() == {}
    assert api.get("/sms/incoming")["incomingMessages"] == []
    for wrong in ({"operation": "smsSend", "rows": []}, {"operation": "smsStatus", "rows": "x"}, {}):
        assert api.control("POST", "/scripts", wrong).status_code == 400


def test_nothing_that_is_listed_is_shown(box: Sandbox) -> None:
    del box
    for shown in (Listing([PHONE], 1), Listing(JsonRows(PHONE.encode(), 1), 1), JsonRows(PHONE.encode(), 1)):
        assert PHONE not in repr(shown)
