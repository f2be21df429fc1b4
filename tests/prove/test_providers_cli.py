"""What ``airflow providers`` tells of the package, and that it has nothing to complain of."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.prove.real_airflow import PATIENCE, clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    Ran = Mapping[str, subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.airflow

COMMANDS: dict[str, tuple[str, ...]] = {
    "list": ("list",),
    "get": ("get", "airflow-provider-winsms", "--full"),
    "hooks": ("hooks",),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run the commands side by side, as each takes seconds."""
    environments = [
        clean_environment() | {"AIRFLOW_HOME": str(tmp_path_factory.mktemp(name))} for name in COMMANDS
    ]
    with ThreadPoolExecutor() as pool:
        return dict(zip(COMMANDS, pool.map(airflow_providers, COMMANDS.values(), environments), strict=True))


def airflow_providers(
    arguments: tuple[str, ...], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "airflow", "providers", *arguments, "--output", "json"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_warned_of(ran: Ran, command: str) -> None:
    assert ran[command].stderr == ""


def test_the_package_is_a_provider(ran: Ran) -> None:
    (row,) = ours(ran, "list", package_name="airflow-provider-winsms")
    assert row["version"]


def test_its_modules_are_told(ran: Ran) -> None:
    (row,) = ours(ran, "get", **{"package-name": "airflow-provider-winsms"})
    assert {"operators", "sensors", "hooks", "triggers", "transfers", "connection-types"} <= row.keys()


def test_its_hook_is_the_one_of_the_connection_type(ran: Ran) -> None:
    (row,) = ours(ran, "hooks", connection_type="winsms")
    assert row["class"] == "airflow_provider_winsms.hooks.winsms.WinSMSHook"
    assert row["hook_name"] == "WinSMS"


def ours(ran: Ran, command: str, **values: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(ran[command].stdout)
    return [row for row in rows if values.items() <= {k: str(v) for k, v in row.items()}.items()]
