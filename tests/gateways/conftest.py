from __future__ import annotations

import pytest

from tests.gateways.carriers import CALLERS, Carrier
from tests.gateways.certificates import Identity, self_signed


@pytest.fixture(params=CALLERS)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    return Carrier(request.param)


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """The identity of a server on this machine."""
    return self_signed(tmp_path_factory.mktemp("certificates"), "127.0.0.1")


@pytest.fixture(autouse=True)
def environment_of_no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "requests_ca_bundle",
        "curl_ca_bundle",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
