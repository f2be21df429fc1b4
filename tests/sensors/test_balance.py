from __future__ import annotations

import pickle
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSensorTimeout,
)

from airflow_provider_winsms.exceptions import (
    BalanceTooLow,
    ConfigurationError,
    InvalidMessage,
    UnsupportedCapability,
)
from airflow_provider_winsms.sensors.sms import SmsBalanceSensor
from tests.conftest import API_KEY
from tests.gateways.stub import Stub, answer
from tests.support.first_poll import after_the_first_poll
from tests.support.hooks import hook_without
from tests.support.variants import variant

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

UNREACHABLE = 999_999
"""A balance that the account never has in these tests."""


@pytest.fixture(params=["poke", "deferrable"])
def mode(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def sensor(least: Any, mode: str = "poke", **kwargs: Any) -> SmsBalanceSensor:
    kwargs = {"poke_interval": 0.02, "timeout": 30, **kwargs}
    return SmsBalanceSensor(task_id="wait", least=least, deferrable=mode == "deferrable", **kwargs)


def wait(runner: TaskRunner, least: Any, mode: str, **kwargs: Any) -> BaseException | None:
    """Run the sensor to its end in either mode, and return the error that ended it."""
    return runner.run_to_its_end(sensor(least, mode, **kwargs)).error


def polls(sandbox: Sandbox) -> int:
    return sum(request["operation"] == "getCreditBalance" for request in sandbox.requests())


def use_stub(runner: TaskRunner, stub: Stub) -> None:
    gateway = {"conn_type": "winsms", "host": stub.base_url, "password": "any"}
    runner.connections = {"winsms_default": gateway}


def use_wrong_key(runner: TaskRunner) -> None:
    wrong = {**runner.connections["winsms_default"], "password": "a-wrong-key"}
    runner.connections = {"winsms_default": wrong}


def test_a_balance_that_is_enough_ends_the_wait_at_the_first_look(
    mode: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.set_account(credit_balance=188.6)
    assert runner.run(sensor(100, mode)).state == "success"
    assert runner.result == {"balance": "188.6", "currency": "credits"}
    assert polls(sandbox) == 1


@pytest.mark.parametrize("least", [188.6, "188.6", " 188.60 ", Decimal("188.6"), 188, 0, "0"])
def test_a_balance_that_equals_the_least_is_enough(least: Any, sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.set_account(credit_balance=188.6)
    assert runner.run(sensor(least)).state == "success"


@pytest.mark.parametrize("least", [188.7, "188.600000000000000001", Decimal("188.600000000000000001")])
def test_a_balance_below_the_least_by_however_little_is_not_enough(
    least: Any, sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.set_account(credit_balance=188.6)
    assert isinstance(wait(runner, least, "poke", timeout=0), BalanceTooLow)


def test_a_top_up_ends_the_wait(mode: str, sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.set_account(credit_balance=12.5)
    with after_the_first_poll(sandbox, "getCreditBalance", lambda: sandbox.set_account(credit_balance=512.5)):
        assert wait(runner, 500, mode) is None
    assert runner.result == {"balance": "512.5", "currency": "credits"}
    assert polls(sandbox) > 1


def test_a_top_up_while_the_task_is_deferred_resumes_it(sandbox: Sandbox, runner: TaskRunner) -> None:
    waiting = sensor("{{ params.least }}", "deferrable", params={"least": "1500.5"})
    assert runner.run(waiting).state == "deferred"
    sandbox.set_account(credit_balance=1500.5)
    event = runner.fire()
    assert event == {
        "ended": "settled",
        "trouble": "",
        "balance": "1500.5",
        "least": "1500.5",
        "currency": "credits",
        "sms_conn_id": "winsms_default",
    }
    assert runner.resume(waiting, event).state == "success"
    assert runner.result == {"balance": "1500.5", "currency": "credits"}


def test_the_timeout_fails_the_task_with_both_amounts_and_the_way_out(mode: str, runner: TaskRunner) -> None:
    params = {"least": UNREACHABLE, "conn": "winsms_default"}
    error = wait(
        runner,
        "{{ params.least }}",
        mode,
        timeout=0.2,
        params=params,
        sms_conn_id="{{ params.conn }}",
    )
    assert isinstance(error, AirflowSensorTimeout)
    assert isinstance(error, BalanceTooLow)
    assert (error.balance, error.least) == (Decimal(1000), Decimal(UNREACHABLE))
    assert str(error) == (
        "The balance of the connection 'winsms_default' is 1000.0 credits after 0.2 seconds; at least "
        "999999.0 credits are needed (least). Top the account up, then clear the task."
    )


def test_its_error_pickles_with_its_amounts(runner: TaskRunner) -> None:
    error = wait(runner, UNREACHABLE, "poke", timeout=0)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own bytes
    assert isinstance(copy, BalanceTooLow)
    assert isinstance(copy, AirflowSensorTimeout)
    assert (str(copy), copy.balance, copy.least) == (str(error), Decimal(1000), Decimal(UNREACHABLE))


def test_an_unreadable_balance_is_told_once_in_words_and_waited_for(
    runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = ["n/a", "n/a", 5, "n/a", 500]
    with Stub(*(answer(200, {"creditBalance": each}) for each in stated)) as stub:
        use_stub(runner, stub)
        assert wait(runner, 500, "poke") is None
        assert len(stub.requests) == len(stated)
    said = [line for line in capsys.readouterr().out.splitlines() if "no readable balance" in line]
    assert len(said) == 2, "Once for each stretch of unreadable balances."
    assert "does not count as enough. Waiting goes on." in said[0]


def test_an_unreadable_balance_is_not_enough_even_for_a_least_of_0(mode: str, runner: TaskRunner) -> None:
    with Stub(*[answer(200, {"creditBalance": "n/a"})] * 100) as stub:
        use_stub(runner, stub)
        error = wait(runner, 0, mode, timeout=0.1)
    assert isinstance(error, BalanceTooLow)
    assert error.balance is None
    assert "is unknown after 0.1 seconds" in str(error)


def test_an_overdrawn_account_has_less_than_nothing(mode: str, runner: TaskRunner) -> None:
    with Stub(*[answer(200, {"creditBalance": -1.5})] * 100) as stub:
        use_stub(runner, stub)
        error = wait(runner, 0, mode, timeout=0.1)
    assert isinstance(error, BalanceTooLow)
    assert error.balance == Decimal("-1.5")


def test_an_unreachable_gateway_does_not_end_the_wait(
    mode: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.add_fault("503-before-acceptance", times=6)
    assert wait(runner, 500, mode, timeout=60) is None


def test_a_gateway_that_stays_away_is_named_by_the_timeout(sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.add_fault("503-before-acceptance", times=1000)
    error = wait(runner, 500, "poke", timeout=0.1)
    assert isinstance(error, BalanceTooLow)
    assert "is unknown after 0.1 seconds" in str(error)
    assert "Look at the account, then clear the task. The last error: getCreditBalance: no usable" in str(
        error
    )
    assert str(error).endswith("(HTTP 503).")


def test_a_wrong_key_ends_the_wait_at_once(mode: str, runner: TaskRunner) -> None:
    use_wrong_key(runner)
    error = wait(runner, 500, mode, timeout=3600)
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, AirflowFailException)


def test_a_key_that_is_withdrawn_during_the_wait_ends_it(runner: TaskRunner) -> None:
    waiting = sensor(UNREACHABLE, "deferrable", timeout=3600)
    assert runner.run(waiting).state == "deferred"
    use_wrong_key(runner)
    error = runner.resume(waiting, runner.fire()).error
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, AirflowFailException)


def test_a_gateway_that_tells_no_balance_is_refused_before_anything_is_asked(
    mode: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    kind = variant(SmsBalanceSensor, hook_of=hook_without(balance=False))
    error = runner.run(kind(task_id="wait", least=5, deferrable=mode == "deferrable")).error
    assert isinstance(error, UnsupportedCapability)
    assert isinstance(error, AirflowFailException)
    assert "The gateway WinSMS does not offer balance, and `least` needs it" in str(error)
    assert sandbox.requests() == []


@pytest.mark.parametrize("fails", ["wrong key", "too low"])
def test_soft_fail_skips_in_either_mode(fails: str, mode: str, runner: TaskRunner) -> None:
    if fails == "wrong key":
        use_wrong_key(runner)
    result = runner.run_to_its_end(sensor(UNREACHABLE, mode, soft_fail=True, timeout=0.1))
    assert result.state == "skipped"


def test_reschedule_mode_frees_the_worker_between_looks(sandbox: Sandbox, runner: TaskRunner) -> None:
    waiting = sensor(1500, mode="poke")
    waiting.mode = "reschedule"
    runner.run(waiting)
    assert runner.reported["state"] == "up_for_reschedule"
    runner.first_reschedule = pendulum.now("UTC").isoformat()
    sandbox.set_account(credit_balance=1500)
    assert runner.run(waiting).state == "success"
    assert runner.result == {"balance": "1500.0", "currency": "credits"}
    assert polls(sandbox) == 2


def rescheduled(least: Any, **kwargs: Any) -> SmsBalanceSensor:
    return SmsBalanceSensor(task_id="wait", least=least, mode="reschedule", **kwargs)


def test_a_rescheduled_sensor_looks_again_after_its_interval(runner: TaskRunner) -> None:
    runner.run(rescheduled(UNREACHABLE, poke_interval=600, timeout=7200))
    next_look = datetime.fromisoformat(runner.reported["reschedule_date"])
    assert 590 < next_look.timestamp() - pendulum.now().timestamp() <= 600


def test_a_rescheduled_sensor_times_out_by_its_first_look(runner: TaskRunner) -> None:
    runner.first_reschedule = pendulum.now("UTC").subtract(hours=3).isoformat()
    error = runner.run(rescheduled(UNREACHABLE, timeout=7200)).error
    assert isinstance(error, AirflowSensorTimeout)
    assert isinstance(error, BalanceTooLow)


def test_the_trigger_carries_amounts_and_absolute_times_and_no_secret(runner: TaskRunner) -> None:
    runner.run(sensor(UNREACHABLE, "deferrable", poke_interval=60, timeout=3600))
    path, kwargs = runner.trigger().serialize()
    assert path == runner.reported["classpath"] == "airflow_provider_winsms.triggers.sms.SmsBalanceTrigger"
    wait = kwargs["wait"]
    assert kwargs.keys() == {"wait"}
    assert set(wait) == {"sms_conn_id", "least", "currency", "shortest_pause", "first_at", "end_at"}
    assert (wait["sms_conn_id"], wait["least"], wait["currency"]) == ("winsms_default", "999999", "credits")
    assert wait["first_at"] == pytest.approx(pendulum.now().timestamp() + 60, abs=30)
    assert wait["end_at"] == pytest.approx(pendulum.now().timestamp() + 3600, abs=30)
    assert API_KEY not in f"{runner.reported}{runner.requests}"


def test_a_rendered_number_of_any_kind_is_compared(runner: TaskRunner) -> None:
    with DAG("dag", schedule=None, render_template_as_native_obj=True):
        waiting = sensor("{{ params.least }}", params={"least": 188.6})
    assert runner.run(waiting).state == "success"


def test_a_missing_value_is_refused_before_anything_is_asked(sandbox: Sandbox, runner: TaskRunner) -> None:
    error = runner.run(sensor(float("nan"))).error
    assert isinstance(error, InvalidMessage)
    assert isinstance(error, AirflowFailException)
    assert "least must be an amount, 0 or more" in str(error)
    assert sandbox.requests() == []


def test_deferrable_follows_the_configuration() -> None:
    from airflow.providers.common.compat.sdk import conf

    assert SmsBalanceSensor(task_id="wait", least=5).deferrable is conf.getboolean(
        "operators", "default_deferrable"
    )
