"""Where a gateway is reached, in each form in which a connection may say so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.hooks.winsms import WinSMSHook

DEFAULT = "https://www.winsms.co.za/api/rest/v1"
KEY = "key-3c4d-of-this-test"


def base_url(monkeypatch: pytest.MonkeyPatch, connection: str) -> str:
    """Return the base URL of a connection, given as an environment variable has it."""
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", connection)
    return WinSMSHook().endpoint.base_url


def as_json(fields: dict[str, Any]) -> str:
    return json.dumps({"conn_type": "winsms", "password": KEY, **fields})


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("winsms://:KEY@", DEFAULT),
        ("winsms://:KEY@/", DEFAULT),
        ("winsms://:KEY@host", "https://host/api/rest/v1"),
        ("winsms://:KEY@host:8443", "https://host:8443/api/rest/v1"),
        ("winsms://:KEY@host/other/v2", "https://host/other/v2"),
        ("winsms://:KEY@host:8443/other/v2", "https://host:8443/other/v2"),
        ("winsms://:KEY@host:8443/other/v2/", "https://host:8443/other/v2"),
        ("winsms://:KEY@/other/v2", "https://www.winsms.co.za/other/v2"),
        ("winsms://https://:KEY@host", "https://host/api/rest/v1"),
        ("winsms://https://:KEY@host:8443/other/v2", "https://host:8443/other/v2"),
        ("winsms://https://:KEY@host:8443/other/v2?page_size=7", "https://host:8443/other/v2"),
        ("winsms://https://:KEY@HOST.example/V2", "https://host.example/V2"),
        ("winsms://https://:KEY@10.0.0.7:8443/v2", "https://10.0.0.7:8443/v2"),
        ("winsms://https://:KEY@[2001:db8::7]:8443/v2", "https://[2001:db8::7]:8443/v2"),
        ("winsms://https://:KEY@[2001:db8::7]", "https://[2001:db8::7]/api/rest/v1"),
        ("winsms://:KEY@[2001:db8::7]/v2", "https://[2001:db8::7]/v2"),
        ("winsms://http://:KEY@[::1]:8025", "http://[::1]:8025/api/rest/v1"),
        ("winsms://http://:KEY@127.0.0.1:8025/v2", "http://127.0.0.1:8025/v2"),
        ("winsms://http://:KEY@localhost:8025/v2", "http://localhost:8025/v2"),
        ("winsms://:KEY@https%3A%2F%2Fhost%3A8443%2Fother%2Fv2", "https://host:8443/other/v2"),
        ("winsms://https://:KEY@host%3A8443%2Fother%2Fv2", "https://host:8443/other/v2"),
        ("winsms://https://:KEY@host/other%2Fv2", "https://host/other/v2"),
    ],
)
def test_a_uri_leads_to_its_host_port_and_path(
    monkeypatch: pytest.MonkeyPatch, uri: str, expected: str
) -> None:
    assert base_url(monkeypatch, uri.replace("KEY", KEY)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, DEFAULT),
        ({"host": ""}, DEFAULT),
        ({"host": None, "port": 0, "schema": ""}, DEFAULT),
        ({"host": "https://host/other/v2/"}, "https://host/other/v2"),
        ({"host": "https://host:8443/other/v2", "port": 8443}, "https://host:8443/other/v2"),
        ({"host": "https://host", "port": 8443, "schema": "other/v2"}, "https://host:8443/other/v2"),
        ({"host": "https://host", "schema": "/other/v2/"}, "https://host/other/v2"),
        ({"host": "https://host/other/v2", "schema": "other/v2"}, "https://host/other/v2"),
        ({"host": "host/other/v2"}, "https://host/other/v2"),
        ({"host": " https://host "}, "https://host/api/rest/v1"),
        ({"host": "host", "port": 8443}, "https://host:8443/api/rest/v1"),
        ({"host": "http://localhost:8025"}, "http://localhost:8025/api/rest/v1"),
        ({"host": "host:8443/other/v2"}, "https://host:8443/other/v2"),
        ({"host": "HTTPS://Host/V2"}, "https://host/V2"),
        ({"host": "2001:db8::7", "port": 8443}, "https://[2001:db8::7]:8443/api/rest/v1"),
        ({"host": "[2001:db8::7]:8443"}, "https://[2001:db8::7]:8443/api/rest/v1"),
        ({"host": "https://[2001:db8::7]:8443/v2"}, "https://[2001:db8::7]:8443/v2"),
        ({"schema": "other/v2"}, "https://www.winsms.co.za/other/v2"),
    ],
)
def test_fields_lead_to_their_host_port_and_path(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], expected: str
) -> None:
    assert base_url(monkeypatch, as_json(fields)) == expected


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"host": f"https://user:{KEY}@host"}, "malformed host"),
        ({"host": f"https://:{KEY}@host"}, "malformed host"),
        ({"host": f"https://{KEY}@host"}, "malformed host"),
        ({"host": f"{KEY}@127.0.0.1"}, "malformed host"),
        ({"host": f"https://host/?apikey={KEY}"}, "malformed host"),
        ({"host": f"https://host/#{KEY}"}, "malformed host"),
        ({"host": "https://host/?"}, "malformed host"),
        ({"host": "https://host/#"}, "malformed host"),
        ({"host": "https://ho st"}, "a blank in its host"),
        ({"host": "https://ho\nst"}, "a blank in its host"),
        ({"host": "https://host/api rest/v1"}, "a blank in its host"),
        ({"host": f"https://host {KEY}"}, "a blank in its host"),
        ({"host": "https://ho\u200bst"}, "malformed host"),
        ({"host": "https://host\\other"}, "malformed host"),
        ({"host": "https:/host"}, "malformed host"),
        ({"host": "https:host"}, "malformed host"),
        ({"host": "https://host:"}, "malformed host"),
        ({"host": "https://host:0"}, "malformed host"),
        ({"host": "https://host:99999"}, "malformed host"),
        ({"host": "https://host:notaport"}, "malformed host"),
        ({"host": "https://"}, "malformed host"),
        ({"host": "https://[::1"}, "malformed host"),
        ({"host": "https://a..b"}, "malformed host"),
        ({"host": "https:///other/v2"}, "malformed host"),
        ({"host": "://host"}, "malformed host"),
        ({"host": "://"}, "malformed host"),
        ({"host": "[::1]:8025"}, "write http://"),
        ({"host": "::1"}, "write http://"),
        ({"host": "127.0.0.1:8025"}, "write http://127.0.0.1:8025"),
        ({"host": "http://www.winsms.co.za/api/rest/v1"}, "not https"),
        ({"host": "http://127.0.0.1.example.com"}, "not https"),
        ({"host": "ftp://127.0.0.1"}, "not https"),
        ({"host": "http://2001:db8::7"}, "not https"),
        ({"host": "https://host", "port": 99_999}, "a port that is none"),
        ({"host": "https://host", "port": -1}, "a port that is none"),
        ({"host": "https://host:8443", "port": 9443}, "one port in the host and another"),
        ({"host": "https://host/v1", "schema": "v2"}, "a path in the host and another"),
        ({"host": "host", "schema": "https"}, "a schema that is no path"),
        ({"host": "host", "schema": "http"}, "a schema that is no path"),
        ({"host": "host", "schema": "https://host/v2"}, "a schema that is no path"),
        ({"host": "host", "schema": f"v2?apikey={KEY}"}, "a schema that is no path"),
        ({"host": "host", "schema": f"v2#{KEY}"}, "a schema that is no path"),
        ({"host": "host", "schema": f"{KEY}@v2"}, "a schema that is no path"),
    ],
)
def test_what_is_no_base_url_is_refused_without_showing_a_key(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        base_url(monkeypatch, as_json(fields))
    assert "'winsms_default'" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "connection", ["{bad", "winsms://a://b://c", "winsms://:k@host:notaport", '{"port": "x"}']
)
def test_a_connection_that_airflow_cannot_read_is_told_from_one_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, connection: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"If it is there, Airflow cannot read it"):
        base_url(monkeypatch, connection)
