from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.sandbox import Sandbox
from tests.sandbox.sandbox_api import NOW, Api

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(speed=0, now=NOW, credits=100) as sandbox:
        yield sandbox


@pytest.fixture
def api(box: Sandbox) -> Iterator[Api]:
    client = Api(box)
    yield client
    client.session.close()
