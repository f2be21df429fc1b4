from __future__ import annotations

import atexit
import os
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.turns import Turns

# Airflow reads its home when it is first imported, so it is set before any test is.
_HOME = tempfile.TemporaryDirectory(prefix="airflow-home-")
atexit.register(_HOME.cleanup)
os.environ.update(
    AIRFLOW_HOME=_HOME.name,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
)

# How long an example takes depends on what else the machine does.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

API_KEY = "key-1f6c-seeded-for-tests"

LANES = {"database", "crash", "airflow"}
"""The markers of tests that are not quick."""

pytest_plugins = ["tests.prove.crash.table", "tests.support.database_fixtures"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test in two lanes, and keep the tests of a file that starts an Airflow in one process."""
    for item in items:
        lanes = LANES & {marker.name for marker in item.iter_markers()}
        if len(lanes) > 1:
            msg = f"{item.nodeid} is in {len(lanes)} lanes: {', '.join(sorted(lanes))}"
            raise pytest.UsageError(msg)
        if lanes == {"airflow"}:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::")[0]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test that is marked ``alone`` run while pytest-xdist's other processes run none."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    temporary: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined] # no public way
    turns = Turns(temporary.getbasetemp().parent)
    with turns.alone() if item.get_closest_marker("alone") else turns.side_by_side():
        return (yield)


@pytest.fixture(autouse=True)
def _signed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the logins of the tests before: a test's server may have the port of one that has ended."""
    monkeypatch.setattr("airflow_provider_winsms.gateways.auth._tokens", {})


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A gateway whose time stands still until the test moves it."""
    from airflow_provider_winsms.sandbox import Sandbox

    with Sandbox(api_key=API_KEY, speed=0, credits=1000) as box:
        yield box


@pytest.fixture
def runner(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> TaskRunner:
    """Airflow's task runner, with ``winsms_default`` leading to the sandbox, whose time operators go by.

    Requests that an operator repeats are repeated at once.
    """
    from airflow_provider_winsms.operators import sms
    from airflow_provider_winsms.sensors.sms import SmsBalanceSensor, SmsDeliverySensor
    from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator
    from tests.support.clock import clock_of
    from tests.support.hooks import prompt_hook
    from tests.support.task_runner import TaskRunner

    sends = (sms.SmsSendOperator, sms.SmsSendBatchOperator, SqlToSmsOperator)
    for operator in (*sends, sms.SmsRefreshStatusOperator):
        monkeypatch.setattr(operator, "clock", clock_of(sandbox))
    others = (sms.SmsRefreshStatusOperator, sms.SmsCancelScheduledOperator, sms.SmsBalanceCheckOperator)
    for asks in (*sends, *others, SmsBalanceSensor, SmsDeliverySensor):
        monkeypatch.setattr(asks, "hook_of", staticmethod(prompt_hook))
    connection = {"conn_type": "winsms", "host": sandbox.base_url, "password": sandbox.api_key}
    return TaskRunner({"winsms_default": connection})
