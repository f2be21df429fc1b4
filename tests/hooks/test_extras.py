"""Extras that are not one JSON object: each way of a connection to a task ends in the same clear error."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import Connection, redact
from sms_pigeon_for_tests.hook import PigeonHook

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.hooks.async_hooks import async_hook
from airflow_provider_winsms.hooks.endpoints import endpoint_of
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.operators.sms import SmsSendOperator
from tests.support.variants import variant

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

KEY = "key-3c4d-of-this-test"
SECRET = "Quetzalcoatl-hashes-with-this"  # noqa: S105 - a test's own
NAMED = {"hash_secret": SECRET}

MALFORMED = {
    "a list": json.dumps([NAMED]),
    "an empty list": "[]",
    "null": "null",
    "true": "true",
    "a number": "17",
    "a fraction": "1.5",
    "a text": json.dumps(SECRET),
    "an empty text": '""',
    "encoded twice": json.dumps(json.dumps(NAMED)),
    "cut short": json.dumps(NAMED)[:-1],
    "no JSON": "{bad",
    "single quotes": str(NAMED),
    "the secret alone": SECRET,
    "not a number": "NaN",
    "infinity": f'{{"hash_secret": "{SECRET}", "page_size": Infinity}}',
    "a name twice": f'{{"hash_secret": "{SECRET}", "hash_secret": "{SECRET}2"}}',
    "very deep": "[" * 100_000,
    "very long": f'{{"page_size": {"1" * 10_000}}}',
}


def by_json(monkeypatch: pytest.MonkeyPatch, extra: str) -> object:
    connection = {"conn_type": "winsms", "password": KEY, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))
    return SmsHook.of("winsms_default")


def by_uri(monkeypatch: pytest.MonkeyPatch, extra: str) -> object:
    uri = f"winsms://:{KEY}@host/?__extra__={quote(extra)}"
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", uri)
    return SmsHook.of("winsms_default")


def on_an_event_loop(monkeypatch: pytest.MonkeyPatch, extra: str) -> object:
    connection = {"conn_type": "winsms", "password": KEY, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))
    return asyncio.run(async_hook("winsms_default"))


@pytest.mark.parametrize("extra", [pytest.param(text, id=name) for name, text in MALFORMED.items()])
@pytest.mark.parametrize("read", [by_json, by_uri, on_an_event_loop])
def test_malformed_extras_are_refused_and_nothing_of_them_is_shown(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[pytest.MonkeyPatch, str], object], extra: str
) -> None:
    if extra in (MALFORMED["very deep"], MALFORMED["very long"]):
        # Airflow itself cannot read such a connection, and takes it for missing.
        expected = "There is no connection 'winsms_default'.*Airflow cannot read it"
    else:
        expected = "'winsms_default' has malformed extras: .*Give one JSON object"
    with pytest.raises(ConfigurationError, match=expected) as caught:
        read(monkeypatch, extra)
    assert "Quetz" not in str(caught.value)
    assert caught.value.__context__ is None or "Quetz" not in str(caught.value.__context__)


@pytest.mark.parametrize("extra", [pytest.param(text, id=name) for name, text in MALFORMED.items()])
def test_the_test_button_says_so_too(extra: str) -> None:
    connection = Connection(conn_id="tried", conn_type="winsms", password=KEY, extra=extra)
    works, message = connection.test_connection()
    assert not works
    assert message.startswith("The connection 'tried' has malformed extras")
    assert "Quetz" not in message


@pytest.mark.parametrize("name", ["encoded twice", "cut short", "a name twice", "a list"])
def test_a_task_whose_connection_has_malformed_extras_sends_nothing(
    runner: TaskRunner, sandbox: Sandbox, name: str
) -> None:
    gateway = {**runner.connections["winsms_default"], "extra": MALFORMED[name]}
    runner.connections = {"winsms_default": gateway}
    error = runner.run(SmsSendOperator(task_id="send", text="Hi", to=["27825550101"])).error
    assert isinstance(error, ConfigurationError)
    assert "malformed extras" in str(error)
    assert sandbox.requests() == []


@pytest.mark.parametrize("extra", [None, "", "  ", "{}"])
def test_empty_extras_are_none(extra: str | None) -> None:
    connection = Connection(conn_id="tried", conn_type="winsms", password=KEY, extra=extra)
    assert SmsHook.of_connection(connection).endpoint.hash_secret is None


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({SECRET: "", "verify": 1}, r"unknown extras: \(not shown\), verify\. Known are: time_zone"),
        ({"hash_secret": [SECRET]}, "wrong extra 'hash_secret'"),
        ({"hash_secret": {"is": SECRET}}, "wrong extra 'hash_secret'"),
        ({"hash_secret": 17}, "wrong extra 'hash_secret'"),
        ({"hash_secret": "too short"}, "wrong extra 'hash_secret'"),
        ({"hash_secret": f"{SECRET}\n"}, "wrong extra 'hash_secret'"),
        ({"hash_secret": f"{SECRET}\ud800"}, "wrong extra 'hash_secret'"),
        ({"hash_secret": f"\x1b[2J{SECRET}"}, "wrong extra 'hash_secret'"),
        ({"country_code": "27\n"}, "wrong extra 'country_code'"),
        ({"time_zone": f"{SECRET}/x"}, "unknown time_zone"),
        ({"page_size": True}, "wrong extra 'page_size'"),
    ],
)
def test_a_wrong_extra_is_named_and_not_shown(extra: dict[str, Any], says: str) -> None:
    connection = Connection(conn_id="tried", conn_type="winsms", password=KEY, extra=json.dumps(extra))
    with pytest.raises(ConfigurationError, match=says) as caught:
        SmsHook.of_connection(connection)
    assert "Quetz" not in str(caught.value)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_secret_is_masked_in_logs_once_the_connection_was_read(
    monkeypatch: pytest.MonkeyPatch, *, is_async: bool
) -> None:
    secret = f"masked-when-it-is-read-{is_async}"
    assert redact(secret) == secret
    read = on_an_event_loop if is_async else by_json
    read(monkeypatch, json.dumps({"hash_secret": secret}))
    assert redact(f"The secret is {secret}.") == "The secret is ***."


def test_an_api_key_with_blanks_around_it_is_masked_without_them() -> None:
    connection = Connection(conn_id="tried", conn_type="winsms", password="  key-between-blanks  ")  # noqa: S106 - a test's own
    SmsHook.of_connection(connection)
    assert redact("key-between-blanks") == "***"


def test_a_form_without_a_page_size_asks_for_the_largest_page_of_its_gateway() -> None:
    fields = {name: field for name, field in PigeonHook.connection_fields.items() if name != "page_size"}
    connection = Connection(conn_id="pigeon", conn_type="pigeon", login="reader", password=KEY)
    endpoint = endpoint_of(connection, variant(PigeonHook, connection_fields=fields)())
    assert endpoint.page_size == endpoint.gateway.limits.page_rows
