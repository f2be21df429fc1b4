"""An error that a gateway was not reached names its connection, its host and the cause, and no secret."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable, OutcomeUnknown, SmsError
from tests.gateways.calls import ANN, BALANCE, SEND, TEXT
from tests.gateways.carriers import KEY, Carrier
from tests.gateways.certificates import Identity, self_signed
from tests.gateways.stub import NO_ANSWER, RESET, Reply, Stub, answer, refusal

if TYPE_CHECKING:
    from pathlib import Path


def test_a_refused_connection(carrier: Carrier) -> None:
    stub = Stub()
    assert_not_reached(errors_at(carrier, f"http://127.0.0.1:{stub.port}"), stub, "Connection refused")
    stub.stop()


def test_a_name_that_is_not_resolved(carrier: Carrier) -> None:
    for error in errors_at(carrier, "http://no-such-host.invalid:8443"):
        assert "'winsms_default' at no-such-host.invalid:8443 " in str(error)
        assert "the host name could not be resolved" in str(error)


def test_a_certificate_that_nobody_vouches_for(carrier: Carrier, identity: Identity) -> None:
    with Stub(tls=identity.server) as stub:
        errors = errors_at(carrier, f"https://127.0.0.1:{stub.port}")
    words = "its certificate is not trusted: self-signed certificate. REQUESTS_CA_BUNDLE"
    assert_not_reached(errors, stub, words)


def test_a_certificate_of_another_host(
    carrier: Carrier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = self_signed(tmp_path, "elsewhere.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(identity.certificate))
    with Stub(tls=identity.server) as stub:
        errors = errors_at(carrier, f"https://127.0.0.1:{stub.port}")
    assert_not_reached(errors, stub, "its certificate is not trusted", "127.0.0.1")


def test_a_file_of_authorities_that_is_not_there(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with Stub() as stub:
        errors = errors_at(carrier, f"https://127.0.0.1:{stub.port}")
    words = "the file of trusted certificates that REQUESTS_CA_BUNDLE names is not there"
    assert_not_reached(errors, stub, words)


def test_a_connection_that_does_not_come_about_in_time(carrier: Carrier) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)  # noqa: FBT003 - its own interface
            each.connect_ex(full.getsockname())
        errors = errors_at(carrier, f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout=0.05)
        for each in waiting:
            each.close()
    assert [type(error) for error in errors] == [GatewayUnavailable] * 2
    assert all("no connection in time" in str(error) for error in errors)


@pytest.mark.parametrize("reply", [answer(403), answer(407, headers={"Proxy-Authenticate": "Basic"})])
def test_a_proxy_that_does_not_let_it_through(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    with Stub(reply) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{KEY}@127.0.0.1:{proxy.port}")
        errors = errors_at(carrier, "https://gateway.example")
    assert all(
        "at gateway.example could not be reached (the proxy: it answered 40" in str(e) for e in errors[:1]
    )
    assert all("the proxy: it answered 40" in str(error) for error in errors)


def test_a_proxy_that_refuses_connections(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Stub()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    errors = errors_at(carrier, "https://gateway.example")
    proxy.stop()
    assert all("the proxy: no connection: Connection refused" in str(error) for error in errors)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (NO_ANSWER, "the connection broke"),
        (RESET, "the connection broke"),
        (Reply(), "no answer in time"),
        (answer(200, body=b"<html>"), "not whole JSON"),
        (answer(500), "HTTP 500"),
        (refusal(429), "HTTP 429"),
    ],
)
def test_an_answer_that_does_not_come_or_says_no(carrier: Carrier, reply: Reply, words: str) -> None:
    with Stub(reply) as stub:
        read_timeout = 5.0 if reply.wire or reply.closes or reply.resets else 0.1
        errors = errors_at(carrier, f"http://127.0.0.1:{stub.port}", read_timeout=read_timeout)
    assert_named(errors, stub, words)


def errors_at(carrier: Carrier, address: str, **options: Any) -> list[SmsError]:
    """Return how a send and a question end where the base URL has secrets in all its parts."""
    scheme, host = address.split("://")
    base_url = f"{scheme}://user:{KEY}@{host}/sub/{KEY}?token={KEY}#{KEY}"
    errors = carrier.outcomes(base_url, SEND, BALANCE, attempts=1, **options)
    for error in errors:
        assert isinstance(error, GatewayUnavailable | OutcomeUnknown)
        assert not any(secret in str(error) for secret in (KEY, "user", ANN, TEXT))
    return errors


def assert_not_reached(errors: list[SmsError], stub: Stub, *words: str) -> None:
    """Such a send is unavailable, and not unknown."""
    assert_named(errors, stub, *words)
    assert [type(error) for error in errors] == [GatewayUnavailable] * 2
    assert stub.requests == []


def assert_named(errors: list[SmsError], stub: Stub, *words: str) -> None:
    for error in errors:
        assert f"gateway of the connection 'winsms_default' at 127.0.0.1:{stub.port}" in str(error)
        assert all(word in str(error) for word in words), str(error)
