from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.hooks.winsms import WinSMSHook
from airflow_provider_winsms.messages import Message, Recipient

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox

KEY = "key-3c4d-of-this-test"
ANN, BEN = Recipient("27825550101"), Recipient("27825550102")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a connection and reads it with the hook."""

    def connect(**fields: Any) -> WinSMSHook:
        connection = {"conn_type": "winsms", "password": KEY, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))
        return WinSMSHook()

    return connect


@pytest.fixture
def hook(connect: Any, sandbox: Sandbox) -> WinSMSHook:
    made: WinSMSHook = connect(host=sandbox.base_url, password=sandbox.api_key)
    return made


def test_a_key_is_all_that_a_connection_needs(connect: Any) -> None:
    endpoint = connect().endpoint
    assert endpoint.base_url == "https://www.winsms.co.za/api/rest/v1"
    assert endpoint.api_key == KEY
    assert endpoint.gateway.time_zone == "Africa/Johannesburg"
    assert (endpoint.connect_timeout, endpoint.read_timeout, endpoint.page_size) == (10, 60, 1000)
    assert endpoint.requests_per_second is None


def test_extras_are_read_by_name_and_type(connect: Any) -> None:
    extra = {
        "time_zone": "Europe/London",
        "country_code": "44",
        "connect_timeout": "2.5",
        "read_timeout": 30,
        "page_size": "500",
        "requests_per_second": 5,
    }
    endpoint = connect(extra=extra).endpoint
    assert (endpoint.gateway.time_zone, endpoint.gateway.country_code) == ("Europe/London", "44")
    assert (endpoint.connect_timeout, endpoint.read_timeout) == (2.5, 30)
    assert (endpoint.page_size, endpoint.requests_per_second) == (500, 5)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"password": None}, "no API key"),
        ({"password": "   "}, "no API key"),
        ({"password": "two words"}, "no header can carry"),
        ({"password": "line\nbreak"}, "no header can carry"),
        ({"password": "clé"}, "no header can carry"),
        ({"extra": {"timezone": "UTC"}}, "unknown extras: timezone"),
        ({"extra": {"verify": False}}, "unknown extras: verify"),
        ({"extra": {"time_zone": "Mars/Base"}}, "unknown time_zone"),
        ({"extra": {"read_timeout": 0}}, "wrong extra 'read_timeout'"),
        ({"extra": {"read_timeout": "soon"}}, "wrong extra 'read_timeout'"),
        ({"extra": {"read_timeout": "nan"}}, "wrong extra 'read_timeout'"),
        ({"extra": {"page_size": 1001}}, "wrong extra 'page_size'"),
        ({"extra": {"page_size": 2.5}}, "wrong extra 'page_size'"),
        ({"extra": {"country_code": "+27"}}, "wrong extra 'country_code'"),
        ({"extra": {"requests_per_second": 0}}, "wrong extra 'requests_per_second'"),
    ],
)
def test_a_malformed_connection_is_refused_without_showing_the_key(
    connect: Any, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        _ = connect(**fields).endpoint
    assert "winsms_default" in str(caught.value)
    for secret in (KEY, "two words", "clé"):
        assert secret not in str(caught.value)


def test_a_missing_connection_says_what_to_do_and_names_the_types_of_all_installed_gateways() -> None:
    types = r"for an SMS gateway \(its type is one of 'pigeon', 'winsms'\)"
    with pytest.raises(ConfigurationError, match=rf"There is no connection 'nowhere'\. Create it, {types}"):
        _ = WinSMSHook("nowhere").endpoint


def test_a_connection_of_another_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "sqlite", "host": ":memory:"}))
    with pytest.raises(ConfigurationError, match="type 'sqlite'; expected an SMS gateway"):
        SmsHook.of("db")
    monkeypatch.setenv("AIRFLOW_CONN_ODD", json.dumps({"conn_type": "odd"}))
    with pytest.raises(ConfigurationError, match="type 'odd'; expected an SMS gateway"):
        SmsHook.of("odd")


def test_the_connection_type_leads_to_the_hook(connect: Any) -> None:
    connect()
    assert isinstance(SmsHook.of("winsms_default"), WinSMSHook)


def test_testing_the_connection_asks_for_the_balance(hook: WinSMSHook, sandbox: Sandbox) -> None:
    assert hook.test_connection() == (True, "Connected; 1000.0 credits left.")
    assert [request["operation"] for request in sandbox.requests()] == ["getCreditBalance"]


def test_testing_a_wrong_key_says_so_without_the_key(connect: Any, sandbox: Sandbox) -> None:
    works, message = connect(host=sandbox.base_url).test_connection()
    assert not works
    assert "Check the API key" in message
    assert KEY not in message


def test_testing_a_dead_host_tries_once(connect: Any) -> None:
    works, message = connect(host="http://127.0.0.1:1").test_connection()
    assert (works, "could not be reached" in message) == (False, True)


def test_there_is_a_method_for_each_operation(hook: WinSMSHook, sandbox: Sandbox) -> None:
    later = pendulum.now("UTC").add(hours=2).start_of("minute")
    receipts = hook.send(Message("Hi", (ANN,), send_at=later))
    hook.send_batch([Message("Hi", (ANN,)), Message("Ho", (BEN,))])
    sandbox.incoming(ANN.number, "Hello")
    sandbox.shortcode(BEN.number, "WIN")
    sandbox.opt_out("27825550109")
    sent = receipts[0].message_id
    assert sent is not None
    assert hook.get_scheduled().rows[0].send_at == later
    assert hook.get_delivery_reports([sent])[0].state == "queued"
    assert hook.get_incoming().rows[0].text == "Hello"
    assert hook.get_short_code_incoming().total == 1
    assert [opt_out.message_id for opt_out in hook.get_opt_outs()] == [None]
    assert hook.cancel_scheduled([sent])[0].cancelled
    assert hook.get_balance().credits == Decimal(998)
    hook.get_sub_accounts()
    hook.transfer_credits(7564, 10345, 100)
    assert len({request["operation"] for request in sandbox.requests()}) == 11


@pytest.mark.parametrize(
    ("method", "arguments", "says"),
    [
        ("send", (Message("Hi", ()),), "no recipients"),
        ("send", (Message("", (ANN,)),), "text is empty"),
        ("send", (Message("x" * 161, (ANN,)),), "max_segments allows 1"),
        ("send", (Message("Hi", (Recipient("12"),)),), "Recipient 1 .* is not a phone number"),
        ("send", (Message("Hi", (ANN,), send_at=pendulum.datetime(2020, 1, 1)),), "send_at is past"),
        ("send", (Message("Hi", (ANN,), send_at=pendulum.naive(2030, 1, 1)),), "no time zone"),
        ("send", (Message("Hi", (ANN, ANN)),), "names 1 recipients twice"),
        ("send", (Message("Hi", tuple(Recipient(f"2782{n:07d}") for n in range(1001))),), "would take 2"),
        ("send_batch", ([],), "does not make one request"),
        ("get_delivery_reports", ("123",), "Give a list of message ids; got one str"),
        ("get_delivery_reports", ([],), "1 to 1000 message ids; got 0"),
        ("get_delivery_reports", (list(range(1001)),), "got 1001"),
        ("cancel_scheduled", ([],), "got 0"),
        ("get_incoming", (-1,), "offset must be 0 or more"),
        ("get_scheduled", (0, 1001), "limit from 1 to 1000"),
        ("transfer_credits", (1, 2, 0), "above 0"),
    ],
)
def test_what_one_request_cannot_hold_is_refused_before_it(
    hook: WinSMSHook, sandbox: Sandbox, method: str, arguments: tuple[Any, ...], says: str
) -> None:
    with pytest.raises(InvalidMessage, match=says):
        getattr(hook, method)(*arguments)
    assert sandbox.requests() == []


def test_no_repr_shows_a_key_a_number_or_a_text(hook: WinSMSHook, sandbox: Sandbox) -> None:
    sandbox.incoming(ANN.number, "Top secret")
    shown = f"{hook!r} {hook.endpoint!r} {hook.get_incoming()!r} {ANN!r} {Message('Top secret', (ANN,))!r}"
    shown += repr(hook.gateway.send(Message("Top secret", (ANN,))))
    for secret in (sandbox.api_key, ANN.number, "Top secret"):
        assert secret not in shown


@pytest.mark.parametrize("method", ["send", "send_batch"])
@pytest.mark.parametrize(("check", "says"), [("valid", "in no range in use"), ("maybe", "must be one of")])
def test_the_hook_asks_of_numbers_what_it_is_told_to(
    hook: WinSMSHook, sandbox: Sandbox, method: str, check: str, says: str
) -> None:
    message = Message("Hi", (Recipient("27000000010"),))
    given = message if method == "send" else [message]
    with pytest.raises(InvalidMessage, match=says):
        getattr(hook, method)(given, check_numbers=check)
    assert sandbox.requests() == []
    assert [receipt.accepted for receipt in getattr(hook, method)(given, check_numbers="off")] == [True]


@pytest.mark.parametrize("method", ["send", "send_batch"])
@pytest.mark.parametrize(
    ("encoding", "says"),
    [("strict", "RIGHT SINGLE QUOTATION MARK at 3"), ("gsm7", "encoding must be one of")],
)
def test_the_hook_spells_texts_only_if_it_may(
    hook: WinSMSHook, sandbox: Sandbox, method: str, encoding: str, says: str
) -> None:
    message = Message("It’s done", (ANN,))
    given = message if method == "send" else [message]
    with pytest.raises(InvalidMessage, match=says):
        getattr(hook, method)(given, encoding=encoding)
    assert sandbox.requests() == []
    assert [receipt.accepted for receipt in getattr(hook, method)(given)] == [True]
    assert [text["message"] for text in sandbox.outbox()] == ["It's done"]
