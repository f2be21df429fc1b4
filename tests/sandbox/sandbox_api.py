"""A client that sends exactly the given requests over a real socket."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.sandbox import Sandbox

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
"""10:30 in Johannesburg."""

PHONE = "27825550101"
OTHER = "27825550102"
ABROAD = "447700900123"
AT_ONCE = "27000000010"

ODD_METHODS = ("CONNECT", "OPTIONS", "PATCH", "PROPFIND", "TRACE", "get", "post", "BREW", "X-Y", "_")
"""Methods that no operation takes, except HEAD, whose answer has no body."""


LOCAL = (("Host", "localhost"),)


def wire_minute(**later: float) -> str:
    return (NOW + timedelta(hours=2) + timedelta(**later)).strftime("%Y%m%d%H%M")


class Api:
    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.root = box.base_url.removesuffix("/api/rest/v1")
        self.session = requests.Session()
        self.session.headers["AUTHORIZATION"] = box.api_key

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        if body is not None:
            options["data"] = body if isinstance(body, bytes) else json.dumps(body)
            options.setdefault("headers", {"Content-Type": "application/json"})
        return self.session.request(method, f"{self.box.base_url}{path}", **{"timeout": 5, **options})

    def get(self, path: str, **query: Any) -> Any:
        answer = self.call("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        answer = self.call("POST", path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def control(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(method, f"{self.root}/_sandbox{path}", json=body, timeout=5)

    def send(self, *numbers: str, message: str = "Hello", **more: Any) -> list[dict[str, Any]]:
        recipients = [{"mobileNumber": number} for number in numbers]
        rows: list[dict[str, Any]] = self.post(
            "/sms/outgoing/send", {"message": message, "recipients": recipients, **more}
        )["recipients"]
        return rows

    def ids(self, *numbers: str, **more: Any) -> list[int]:
        return [row["apiMessageId"] for row in self.send(*numbers, **more)]

    def status(self, *ids: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.post("/sms/outgoing/status", list(ids))["messageStatuses"]
        return rows

    def cancel(self, *ids: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.post("/sms/scheduled/delete", list(ids))["deletedMessageStatuses"]
        return rows

    def balance(self) -> float:
        balance: float = self.get("/credits/balance")["creditBalance"]
        return balance


def ask(
    box: Sandbox, method: str, target: str, headers: Iterable[tuple[str, str]] = LOCAL, body: bytes = b""
) -> tuple[int, str]:
    """Send a request unchanged, with the gateway's key, and return status and body of the answer."""
    with closing(HTTPConnection("127.0.0.1", box.port, timeout=5)) as connection:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in (("AUTHORIZATION", box.api_key), ("Content-Length", str(len(body))), *headers):
            connection.putheader(name, value.format(port=box.port).encode())
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
