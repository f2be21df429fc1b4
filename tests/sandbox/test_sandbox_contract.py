"""Every operation against every error that the vendor documents for it, and the shape of every answer."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

import pytest

from airflow_provider_winsms.sandbox import Sandbox
from tests.sandbox.sandbox_api import NOW, ODD_METHODS, OTHER, PHONE, Api, ask, wire_minute

SEND = {"message": "Hello", "recipients": [{"mobileNumber": PHONE}]}
BAD_RECIPIENTS = "There is an error in the 'recipients' array."
BAD_BATCH = "There is an error in the 'recipients' array of one or more messageDetails objects."
BAD_IDS = "At least one non-numeric api Id was supplied in the apiIds array."
BAD_OFFSET = "The offset parameter must be a number greater than or equal to 0."
NO_PATH = "The resource requested does not exist. Please verify the path, spelling, and capitalisation"
NO_KEY = (
    "The 'AUTHORIZATION' header was not found. Set the 'AUTHORIZATION' request header to your WinSMS API Key"
)

GETS = [
    "/credits/balance",
    "/subaccounts",
    "/shortcode/incoming",
    "/sms/incoming",
    "/sms/incoming/optout",
    "/sms/scheduled",
]
POSTS: dict[str, Any] = {
    "/credits/transfer": {
        "sendingAccountNumber": 10001,
        "receivingAccountNumber": 10002,
        "transferQuantity": 1,
    },
    "/sms/outgoing/send": SEND,
    "/sms/outgoing/sendmulti": {"messages": [SEND]},
    "/sms/outgoing/status": [1],
    "/sms/scheduled/delete": [1],
}
OPERATIONS = [("GET", path) for path in GETS] + [("POST", path) for path in POSTS]
PAGED = ["/shortcode/incoming", "/sms/incoming", "/sms/scheduled"]

JSON = {"Content-Type": "application/json"}


def recipients(count: int) -> list[dict[str, str]]:
    return [{"mobileNumber": PHONE}] * count


UNPROCESSABLE: list[tuple[str, Any, str | None]] = [
    ("/sms/outgoing/send", [], BAD_RECIPIENTS),
    ("/sms/outgoing/send", {"message": "Hello"}, BAD_RECIPIENTS),
    ("/sms/outgoing/send", SEND | {"recipients": []}, BAD_RECIPIENTS),
    ("/sms/outgoing/send", SEND | {"recipients": PHONE}, BAD_RECIPIENTS),
    ("/sms/outgoing/send", SEND | {"recipients": [PHONE]}, BAD_RECIPIENTS),
    ("/sms/outgoing/send", SEND | {"recipients": [{"mobileNumber": 27825550101}]}, BAD_RECIPIENTS),
    ("/sms/outgoing/send", SEND | {"recipients": [{"mobileNumber": "27\ud800"}]}, BAD_RECIPIENTS),
    (
        "/sms/outgoing/send",
        SEND | {"recipients": [{"mobileNumber": PHONE, "clientMessageId": 7}]},
        BAD_RECIPIENTS,
    ),
    ("/sms/outgoing/send", SEND | {"recipients": recipients(1001)}, BAD_RECIPIENTS),
    ("/sms/outgoing/send", SEND | {"message": ""}, None),
    ("/sms/outgoing/send", SEND | {"message": None}, None),
    ("/sms/outgoing/send", SEND | {"maxSegments": 0}, None),
    ("/sms/outgoing/send", SEND | {"maxSegments": 7}, None),
    ("/sms/outgoing/send", SEND | {"maxSegments": "1"}, None),
    ("/sms/outgoing/send", SEND | {"maxSegments": True}, None),
    ("/sms/outgoing/send", SEND | {"scheduledTime": "2026-03-02 10:30"}, None),
    ("/sms/outgoing/send", SEND | {"scheduledTime": "202613021030"}, None),
    ("/sms/outgoing/send", SEND | {"scheduledTime": 20260302}, None),
    ("/sms/outgoing/send", SEND | {"scheduledTime": None}, None),
    ("/sms/outgoing/sendmulti", {}, None),
    ("/sms/outgoing/sendmulti", {"messages": []}, None),
    ("/sms/outgoing/sendmulti", {"messages": [SEND, {"message": "Hello"}]}, BAD_BATCH),
    ("/sms/outgoing/sendmulti", {"messages": [SEND | {"recipients": recipients(501)}] * 2}, BAD_BATCH),
    ("/sms/outgoing/status", [], BAD_IDS),
    ("/sms/outgoing/status", ["2316"], BAD_IDS),
    ("/sms/outgoing/status", [1.5], BAD_IDS),
    ("/sms/outgoing/status", [True], BAD_IDS),
    ("/sms/outgoing/status", {"apiMessageIds": [1]}, BAD_IDS),
    ("/sms/outgoing/status", [1] * 1001, BAD_IDS),
    ("/sms/scheduled/delete", [1, "x"], BAD_IDS),
    ("/sms/scheduled/delete", [1] * 1001, BAD_IDS),
    ("/credits/transfer", {}, BAD_RECIPIENTS),
    ("/credits/transfer", POSTS["/credits/transfer"] | {"transferQuantity": 1.5}, BAD_RECIPIENTS),
    ("/credits/transfer", POSTS["/credits/transfer"] | {"transferQuantity": 0}, BAD_RECIPIENTS),
]


def assert_error(answer: Any, status: int, text: str | None = None) -> None:
    body = answer.json()
    assert answer.status_code == status
    assert set(body) == {"timeStamp", "version", "statusCode", "errorMessage"}
    assert (body["version"], body["statusCode"]) == ("1.0", status)
    assert body["errorMessage"]
    assert text in {None, body["errorMessage"]}


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_success_carries_the_envelope(api: Api, method: str, path: str) -> None:
    body = api.call(method, path, POSTS.get(path)).json()
    assert re.fullmatch(r"20260302103000\d{3}", body["timeStamp"])
    assert (body["version"], body["statusCode"]) == ("1.0", 200)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_request_without_a_key_is_401(api: Api, method: str, path: str) -> None:
    del api.session.headers["AUTHORIZATION"]
    assert_error(api.call(method, path, POSTS.get(path)), 401, NO_KEY)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize("key", ["another", "Bearer sandbox-key", "SANDBOX-KEY", ""])
def test_a_wrong_key_is_401(api: Api, method: str, path: str, key: str) -> None:
    api.session.headers["AUTHORIZATION"] = key
    assert_error(api.call(method, path, POSTS.get(path)), 401)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_path_is_404_unless_spelt_and_capitalised_exactly(api: Api, method: str, path: str) -> None:
    for wrong in (path.title(), f"{path}/", f"{path}s"):
        assert_error(api.call(method, wrong, POSTS.get(path)), 404, NO_PATH)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_another_method_is_405_and_told_which_one_is_meant(api: Api, method: str, path: str) -> None:
    for wrong in {"GET", "POST", "PUT", "DELETE", "PATCH"} - {method}:
        text = f"Request method should be set to '{method}', not '{wrong}'."
        assert_error(api.call(wrong, path, {}), 405, text)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_method_that_nobody_knows_is_refused_as_any_other(box: Sandbox, method: str, path: str) -> None:
    for wrong in ODD_METHODS:
        text = f"Request method should be set to '{method}', not '{wrong}'."
        for target, status, said in ((path, 405, text), (f"{path}s", 404, NO_PATH)):
            answered, body = ask(box, wrong, f"/api/rest/v1{target}")
            assert (answered, json.loads(body)["statusCode"]) == (status, status)
            assert json.loads(body)["errorMessage"] == said


def test_the_answer_to_head_has_a_head_only(api: Api) -> None:
    for path, status in (("/credits/balance", 405), ("/nowhere", 404)):
        answer = api.call("HEAD", path)
        assert (answer.status_code, answer.content) == (status, b"")
        assert int(answer.headers["Content-Length"]) > 0


def test_a_method_without_a_path_of_ours_is_404(api: Api) -> None:
    for line in ("OPTIONS *", "CONNECT localhost:443", "TRACE /", "BREW /"):
        with socket.create_connection(("127.0.0.1", api.box.port), timeout=5) as connection:
            connection.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert answer.startswith(b"HTTP/1.1 404")
        assert NO_PATH.encode() in answer


@pytest.mark.parametrize("path", POSTS)
def test_a_body_over_200_kB_is_413(api: Api, path: str) -> None:  # noqa: N802 - the unit
    text = "Request POST data is: 205kb. The maximum POST size allowed is 200kb."
    assert_error(api.call("POST", path, b" " * 204_500, headers=JSON), 413, text)
    assert api.call("POST", path, b" " * 200_001, headers=JSON).status_code == 413
    assert api.call("POST", path, b" " * 200_000, headers=JSON).status_code == 400


@pytest.mark.parametrize("path", POSTS)
def test_another_content_type_is_415(api: Api, path: str) -> None:
    text = "Request content-type should be set to 'application/json', not 'text/plain'."
    assert_error(api.call("POST", path, b"{}", headers={"Content-Type": "text/plain"}), 415, text)


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe{}", b"{'a': 1}", b"[" * 100_000])
def test_a_body_that_is_no_json_is_400(api: Api, path: str, body: bytes) -> None:
    assert_error(api.call("POST", path, body, headers=JSON), 400, "Invalid JSON payload received")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_operation_can_answer_500(api: Api, method: str, path: str) -> None:
    api.box.add_fault("500-before-acceptance", operation=path)
    text = "An unknown error has occurred - authorising API Key"
    assert_error(api.call(method, path, POSTS.get(path)), 500, text)
    assert api.call(method, path, POSTS.get(path)).status_code == 200


@pytest.mark.parametrize(("path", "body", "text"), UNPROCESSABLE)
def test_what_the_document_does_not_allow_is_422(api: Api, path: str, body: Any, text: str | None) -> None:
    assert_error(api.call("POST", path, body), 422, text)
    assert api.box.outbox() == []
    assert api.balance() == 100


@pytest.mark.parametrize("path", PAGED)
@pytest.mark.parametrize("offset", ["-1", "x", "1.0", ""])
def test_an_offset_that_is_no_number_from_0_is_422(api: Api, path: str, offset: str) -> None:
    assert_error(api.call("GET", path, params={"offset": offset}), 422, BAD_OFFSET)


@pytest.mark.parametrize("path", PAGED)
@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x"])
def test_a_limit_that_is_no_number_from_1_to_1000_is_422(api: Api, path: str, limit: str) -> None:
    assert_error(api.call("GET", path, params={"limit": limit}), 422)


@pytest.mark.parametrize("path", PAGED)
def test_a_page_is_the_first_100_rows_unless_asked_otherwise(api: Api, path: str) -> None:
    page = api.get(path)
    paging = {name: value for name, value in page.items() if name.startswith("results")}
    assert paging == {"resultsOffset": 0, "resultsLimit": 100, "resultsTotalAvailable": 0}
    assert api.get(path, offset=10**12 - 1, limit=1000)["resultsTotalAvailable"] == 0


def test_1000_recipients_and_1000_ids_are_taken(api: Api) -> None:
    api.box.set_account(credit_balance=2000)
    rows = api.post("/sms/outgoing/send", SEND | {"recipients": recipients(1000)})["recipients"]
    ids = [row["apiMessageId"] for row in rows]
    assert ids == sorted(set(ids))
    assert [row["apiMessageId"] for row in api.status(*ids)] == ids
    messages = api.post("/sms/outgoing/sendmulti", {"messages": [SEND] * 1000})["messages"]
    assert len(messages) == 1000


def test_header_names_are_case_insensitive_and_media_types_may_have_parameters(api: Api) -> None:
    api.session.headers.clear()
    headers = {"authorization": "sandbox-key", "content-type": "Application/JSON; charset=utf-8"}
    answer = api.call("POST", "/sms/outgoing/send", json.dumps(SEND).encode(), headers=headers)
    assert answer.status_code == 200


def test_an_accepted_and_a_declined_row_have_the_documented_fields(api: Api) -> None:
    body = SEND | {
        "recipients": [{"mobileNumber": PHONE, "clientMessageId": "clientId-3023"}, {"mobileNumber": "27"}]
    }
    accepted, declined = api.post("/sms/outgoing/send", body)["recipients"]
    assert isinstance(accepted.pop("apiMessageId"), int)
    assert accepted == {
        "mobileNumber": PHONE,
        "clientMessageId": "clientId-3023",
        "accepted": True,
        "acceptError": "",
        "scheduledTime": None,
        "creditCost": 1,
        "newCreditBalance": 99,
    }
    assert declined == {
        "mobileNumber": "27",
        "clientMessageId": None,
        "accepted": False,
        "acceptError": "BADDEST",
        "apiMessageId": None,
        "scheduledTime": None,
        "creditCost": None,
        "newCreditBalance": 99,
    }


def test_a_send_of_many_answers_message_by_message(api: Api) -> None:
    later = wire_minute(hours=1)
    messages = [
        {"message": "One", "recipients": [{"mobileNumber": PHONE}, {"mobileNumber": "27"}]},
        {"message": "Two", "recipients": [{"mobileNumber": OTHER}], "scheduledTime": later},
        {"message": "x" * 161, "recipients": [{"mobileNumber": OTHER}], "maxSegments": 2},
    ]
    answered = api.post("/sms/outgoing/sendmulti", {"messages": messages})["messages"]
    assert [message["message"] for message in answered] == ["One", "Two", "x" * 161]
    rows = [row for message in answered for row in message["recipients"]]
    assert [row["acceptError"] for row in rows] == ["", "BADDEST", "", ""]
    assert [row["scheduledTime"] for row in rows] == [None, None, later, None]
    assert [row["newCreditBalance"] for row in rows] == [99, 99, 98, 96]


def test_sub_accounts_have_the_documented_fields(api: Api) -> None:
    rows = api.get("/subaccounts")["subAccounts"]
    assert [(row["accountNumber"], row["creditBalance"]) for row in rows] == [(10002, 100), (10003, 201.4)]
    assert set(rows[0]) == {"accountNumber", "loginName", "firstName", "surname", "creditBalance"}


@pytest.mark.parametrize(
    ("change", "successful", "left"),
    [
        ({}, True, 90),
        ({"sendingAccountNumber": 10003, "receivingAccountNumber": 10002}, True, 100),
        ({"transferQuantity": 101}, False, 100),
        ({"sendingAccountNumber": 999}, False, 100),
        ({"receivingAccountNumber": 999}, False, 100),
        ({"receivingAccountNumber": 10001}, False, 100),
        ({"transferQuantity": 10**40}, False, 100),
    ],
)
def test_a_transfer_succeeds_where_both_accounts_exist_and_have_enough(
    api: Api, change: dict[str, int], *, successful: bool, left: float
) -> None:
    body = POSTS["/credits/transfer"] | {"transferQuantity": 10} | change
    assert api.post("/credits/transfer", body)["transferSuccessful"] is successful
    assert api.balance() == left


def test_the_v3_generation_has_integers_for_times_and_leaves_nulls_out() -> None:
    with Sandbox(speed=0, now=NOW, wire="v3") as box:
        api = Api(box)
        later = int(wire_minute(hours=1))
        delivered, declined = api.send("27000000010", "27")
        (waiting,) = api.send(PHONE, scheduledTime=later)
        assert "clientMessageId" not in delivered
        assert {"apiMessageId", "scheduledTime"}.isdisjoint(declined)
        assert declined["creditCost"] == 0
        assert waiting["scheduledTime"] == later
        known, unknown = api.status(delivered["apiMessageId"], 1)
        assert (known["statusErrorCode"], known["statusTime"]) == (0, int(wire_minute()))
        assert {"mobileNumber", "statusTime"}.isdisjoint(unknown)
        (row,) = api.get("/sms/scheduled")["scheduledMessages"]
        assert (row["submitTime"], row["scheduledSendTime"]) == (int(wire_minute()), later)
        box.opt_out(PHONE)
        (opt_out,) = api.get("/sms/incoming/optout")["incomingOptoutMessages"]
        assert "incomingApiMessageId" not in opt_out
        assert opt_out["receiveTime"] == int(wire_minute())
        assert isinstance(api.get("/credits/balance")["timeStamp"], str)
        api.session.close()


def test_a_refusal_of_an_unknown_generation_names_the_two() -> None:
    with pytest.raises(ValueError, match="'v2' or 'v3'"):
        Sandbox(wire="v1")  # type: ignore[arg-type]
