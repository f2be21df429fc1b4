"""Proxies, exceptions from them, and trusted certificates count for an event loop as they do for a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable
from tests.gateways.calls import BALANCE
from tests.gateways.stub import Stub, answer

if TYPE_CHECKING:
    from tests.gateways.carriers import Carrier
    from tests.gateways.certificates import Identity

CREDITS = answer(200, {"creditBalance": 5})


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_an_authority_that_only_the_environment_names_is_trusted(
    carrier: Carrier, identity: Identity, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(identity.certificate))
    with Stub(CREDITS, tls=identity.server) as stub:
        (balance,) = carrier.execute(stub.base_url, BALANCE)
    assert balance.credits == 5


@pytest.mark.parametrize("no_proxy", ["127.0.0.0/8", "127.0.0.1", "10.0.0.0/8, 127.0.0.0/24", "*"])
def test_a_network_without_proxy_is_reached_directly(
    carrier: Carrier, identity: Identity, monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(identity.certificate))
    monkeypatch.setenv("NO_PROXY", no_proxy)
    with Stub(CREDITS, tls=identity.server) as stub, Stub(answer(403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        carrier.execute(stub.base_url, BALANCE)
    assert (len(stub.requests), proxy.connections) == (1, 0)


@pytest.mark.parametrize(
    "no_proxy", ["fd00::/8", "[fd00::]/8", "::1", "fd00::/8,10.0.0.0/8", "10.0.0.0/99", "%"]
)
def test_other_networks_without_proxy_are_of_no_concern(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy)
    with Stub(answer(403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{proxy.port}")
        (error,) = carrier.outcomes("https://127.0.0.1:1/api", BALANCE, attempts=1)
    assert type(error) is GatewayUnavailable
    assert "the proxy: it answered 403" in str(error)
    assert "secret" not in str(error)
    assert [request.method for request in proxy.requests] == ["CONNECT"]
