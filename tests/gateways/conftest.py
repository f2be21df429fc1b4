from __future__ import annotations

from typing import Any

import pytest

from tests.gateways.carriers import LIBRARIES, Carrier


@pytest.fixture(params=LIBRARIES)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    library: Any = request.param
    return Carrier(library)


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
