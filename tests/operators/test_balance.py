from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_winsms.exceptions import BalanceTooLow, ConfigurationError, GatewayUnavailable
from airflow_provider_winsms.operators.sms import SmsBalanceCheckOperator
from tests.gateways.stub import Stub, answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner


def check(least: Any, **kwargs: Any) -> SmsBalanceCheckOperator:
    return SmsBalanceCheckOperator(task_id="check", least=least, **kwargs)


@pytest.fixture
def unreadable(runner: TaskRunner) -> Iterator[None]:
    """Let the gateway state a balance that cannot be read."""
    with Stub(answer(200, {"creditBalance": "n/a"})) as stub:
        gateway = {"conn_type": "winsms", "host": stub.base_url, "password": "any"}
        runner.connections = {"winsms_default": gateway}
        yield


@pytest.mark.parametrize("on_low", ["fail", "warn"])
@pytest.mark.parametrize("least", [188.6, "188.6", Decimal("188.60"), "{{ params.least }}"])
def test_enough_is_a_success(least: Any, on_low: Any, sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.set_account(credit_balance=188.6)
    assert runner.run(check(least, on_low=on_low, params={"least": "188.6"})).state == "success"
    assert runner.result == {"balance": "188.6", "least": "188.6", "is_low": False, "currency": "credits"}
    assert [request["operation"] for request in sandbox.requests()] == ["getCreditBalance"]


def test_too_little_fails_for_good_with_both_amounts_and_the_way_out(
    sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.set_account(credit_balance=188.6)
    runner.retries = 3
    error = runner.run(check("188.61")).error
    assert isinstance(error, BalanceTooLow)
    assert isinstance(error, AirflowFailException)
    assert (error.balance, error.least) == (Decimal("188.6"), Decimal("188.61"))
    assert str(error) == (
        "The balance of the connection 'winsms_default' is 188.6 credits; at least 188.61 credits are needed "
        "(least). Top the account up, then clear the task."
    )


def test_too_little_is_a_warning_if_the_dag_says_so(
    sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.set_account(credit_balance=12.5)
    assert runner.run(check(500, on_low="warn")).state == "success"
    assert runner.result == {"balance": "12.5", "least": "500.0", "is_low": True, "currency": "credits"}
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "Top the account up" in line]
    assert "warning" in said.lower()
    assert "is 12.5 credits; at least 500.0 credits are needed" in said


@pytest.mark.usefixtures("unreadable")
def test_an_unreadable_balance_is_tried_again(runner: TaskRunner) -> None:
    runner.retries = 1
    result = runner.run(check(0))
    assert isinstance(result.error, GatewayUnavailable)
    assert result.state == "up_for_retry"
    assert "The gateway states no readable balance" in str(result.error)


@pytest.mark.usefixtures("unreadable")
def test_an_unreadable_balance_counts_as_low_where_low_is_a_warning(
    runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.run(check(0, on_low="warn")).state == "success"
    assert runner.result == {"balance": None, "least": "0.0", "is_low": True, "currency": "credits"}
    assert "no readable balance, which does not count as enough" in capsys.readouterr().out


def test_a_gateway_that_is_away_is_tried_again(sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.add_fault("503-before-acceptance", times=100)
    runner.retries = 1
    assert runner.run(check(500)).state == "up_for_retry"


def test_a_wrong_key_fails_for_good(runner: TaskRunner) -> None:
    wrong = {**runner.connections["winsms_default"], "password": "a-wrong-key"}
    runner.connections = {"winsms_default": wrong}
    error = runner.run(check(500)).error
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, AirflowFailException)
