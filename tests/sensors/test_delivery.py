from __future__ import annotations

import json
import pickle
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_winsms.delivery.packed_ids import unpack
from airflow_provider_winsms.exceptions import ConfigurationError, DeliveryFailed, UnsupportedCapability
from airflow_provider_winsms.gateways.base import StatusSource
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sensors.sms import SmsDeliverySensor
from tests.gateways.stub import Stub, answer
from tests.support.first_poll import after_the_first_poll
from tests.support.hooks import hook_without
from tests.support.variants import variant

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, PokeReturnValue

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

DELIVERED, FAILED, NEVER_SENT, STAYS_SENT = "27000000010", "27000000011", "27000000012", "27000000013"
UNKNOWN_STATE = "27000000015"


@pytest.fixture(params=["poke", "deferrable"])
def mode(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def sent(runner: TaskRunner, *numbers: str) -> list[int]:
    runner.run(SmsSendOperator(task_id="send", text="Hi", to=list(numbers)))
    ids: list[int] = runner.result["message_ids"]
    return ids


def wait(runner: TaskRunner, message_ids: Any, mode: str, **kwargs: Any) -> BaseException | None:
    """Run the sensor to its end in either mode, and return the error that ended it."""
    kwargs = {"poke_interval": 0.02, "timeout": 5, **kwargs}
    sensor = SmsDeliverySensor(
        task_id="wait", message_ids=message_ids, deferrable=mode == "deferrable", **kwargs
    )
    return runner.run_to_its_end(sensor).error


def test_it_ends_when_every_text_is_delivered(mode: str, runner: TaskRunner) -> None:
    ids = sent(runner, DELIVERED, "27825550101")
    runner_error = wait(runner, ids[:1], mode)
    assert runner_error is None
    assert runner.result == {
        "total": 1,
        "delivered": 1,
        "states": {"delivered": 1},
        "cost": "1.0",
        "currency": "credits",
    }


def test_it_waits_while_a_text_is_on_its_way(mode: str, sandbox: Sandbox, runner: TaskRunner) -> None:
    later = pendulum.now("UTC").add(hours=1)
    runner.run(SmsSendOperator(task_id="send", text="Hi", to=DELIVERED, send_at=later))
    ids = runner.result["message_ids"]
    with after_the_first_poll(sandbox, "smsStatus", lambda: sandbox.advance(2 * 3600)):
        assert wait(runner, ids, mode, timeout=30) is None
    polls = [request for request in sandbox.requests() if request["operation"] == "smsStatus"]
    assert len(polls) > 1


def test_too_few_delivered_fails_for_good_with_the_reports(mode: str, runner: TaskRunner) -> None:
    ids = sent(runner, DELIVERED, FAILED, NEVER_SENT)
    error = wait(runner, ids, mode)
    assert isinstance(error, DeliveryFailed)
    assert isinstance(error, AirflowFailException)
    reports = [(report.message_id, report.state, report.code, report.number) for report in error.reports]
    assert reports == [(ids[1], "failed", "FAILED", None), (ids[2], "not_sent", "SENDINGFAILED", None)]
    assert "1 of 3 texts delivered, 3 needed (1 delivered, 1 failed, 1 not_sent)" in str(error)


def test_enough_delivered_is_a_success(mode: str, runner: TaskRunner) -> None:
    ids = sent(runner, DELIVERED, FAILED)
    assert wait(runner, ids, mode, min_delivered=0.5) is None
    assert runner.result["states"] == {"delivered": 1, "failed": 1}


def test_it_ends_as_soon_as_enough_can_no_longer_arrive(mode: str, runner: TaskRunner) -> None:
    ids = sent(runner, STAYS_SENT, FAILED, FAILED.replace("11", "12"))
    error = wait(runner, ids, mode, min_delivered=0.6, timeout=3600)
    assert isinstance(error, DeliveryFailed)
    assert not isinstance(error, AirflowSensorTimeout)


def test_it_times_out_where_the_network_reports_nothing(mode: str, runner: TaskRunner) -> None:
    ids = sent(runner, DELIVERED, STAYS_SENT, UNKNOWN_STATE)
    error = wait(runner, ids, mode, timeout=0.2)
    assert isinstance(error, AirflowSensorTimeout)
    assert isinstance(error, DeliveryFailed)
    assert [report.state for report in error.reports] == ["sent", "unknown"]
    assert error.reports[1].code == "REROUTED"


def test_at_the_timeout_enough_is_a_success(mode: str, runner: TaskRunner) -> None:
    ids = sent(runner, DELIVERED, STAYS_SENT)
    assert wait(runner, ids, mode, min_delivered=0.5, timeout=0.2) is None
    assert runner.result["states"] == {"sent": 1, "delivered": 1}


class SlowToBegin(SmsDeliverySensor):
    """Loads what its first look needs for longer than its timeout."""

    def poke(self, context: Context) -> PokeReturnValue | bool:
        if self._wait is None:
            time.sleep(2 * self.timeout)
        return super().poke(context)


def test_enough_is_a_success_though_the_timeout_is_over_before_the_first_look(runner: TaskRunner) -> None:
    ids = sent(runner, DELIVERED, STAYS_SENT)
    sensor = SlowToBegin(task_id="wait", message_ids=ids, min_delivered=0.5, timeout=0.05)
    assert runner.run(sensor).state == "success"
    assert runner.result["states"] == {"sent": 1, "delivered": 1}


def test_an_unknown_id_is_given_a_grace_period(mode: str, runner: TaskRunner) -> None:
    error = wait(runner, [987_654], mode, timeout=0.2)
    assert isinstance(error, AirflowSensorTimeout)


def test_an_id_that_stays_unknown_has_failed(mode: str, runner: TaskRunner) -> None:
    error = wait(runner, [987_654], mode, not_found_grace=0.1)
    assert isinstance(error, DeliveryFailed)
    assert not isinstance(error, AirflowSensorTimeout)
    assert [report.state for report in error.reports] == ["not_found"]


def test_a_text_that_is_unknown_for_a_moment_long_after_it_was_sent_is_waited_for(runner: TaskRunner) -> None:
    said = (
        [{"statusErrorCode": "SENT"}] * 2 + [{"statusErrorCode": "NOTFOUND"}] + [{"statusErrorCode": "SENT"}]
    )
    rows = [{"apiMessageId": 1, "statusDelivered": False, **each} for each in said]
    rows.append({"apiMessageId": 1, "statusDelivered": True})
    with Stub(*(answer(200, {"messageStatuses": [row]}) for row in rows)) as stub:
        gateway = {"conn_type": "winsms", "host": stub.base_url, "password": "any"}
        runner.connections = {"winsms_default": gateway}
        assert wait(runner, [1], "poke", poke_interval=0.3, not_found_grace=0.2, timeout=60) is None
        assert len(stub.requests) == 5


def test_an_unreachable_gateway_does_not_end_the_wait(
    mode: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    ids = sent(runner, DELIVERED)
    sandbox.add_fault("503-before-acceptance", times=2)
    assert wait(runner, ids, mode, timeout=60) is None


def test_an_unreadable_status_is_named_once_by_a_wait_on_a_worker(
    runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"apiMessageId": 1, "statusDelivered": True}, {"apiMessageId": 2, "statusDelivered": "n/a"}]
    settled = [rows[0], {"apiMessageId": 2, "statusDelivered": True}]
    told = [answer(200, {"messageStatuses": each}) for each in (rows, rows[1:], rows[1:], settled)]
    with Stub(*told) as stub:
        gateway = {"conn_type": "winsms", "host": stub.base_url, "password": "any"}
        runner.connections = {"winsms_default": gateway}
        assert wait(runner, [1, 2], "poke", timeout=60) is None
        assert [request.document for request in stub.requests] == [[1, 2], [2], [2], [2]]
    (named,) = [line for line in capsys.readouterr().out.splitlines() if "cannot be read" in line]
    assert "1 text cannot be read: 2." in named


def test_a_wrong_key_ends_the_wait_at_once(mode: str, runner: TaskRunner) -> None:
    ids = sent(runner, DELIVERED)
    wrong = {**runner.connections["winsms_default"], "password": "a-wrong-key"}
    runner.connections = {"winsms_default": wrong}
    error = wait(runner, ids, mode, timeout=3600)
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, AirflowFailException)


def test_a_key_that_is_withdrawn_during_the_wait_ends_it(runner: TaskRunner) -> None:
    ids = sent(runner, STAYS_SENT)
    sensor = SmsDeliverySensor(task_id="wait", message_ids=ids, deferrable=True, timeout=3600)
    assert runner.run(sensor).state == "deferred"
    wrong = {**runner.connections["winsms_default"], "password": "a-wrong-key"}
    runner.connections = {"winsms_default": wrong}
    error = runner.resume(sensor, _fired_soon(runner)).error
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, AirflowFailException)


def _fired_soon(runner: TaskRunner) -> Any:
    runner.reported["trigger_kwargs"]["wait"]["shortest_pause"] = 0.01
    return runner.fire()


def test_a_connection_that_cannot_be_found_for_a_moment_is_looked_for_again(
    runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sent(runner, STAYS_SENT)
    sensor = SmsDeliverySensor(task_id="wait", message_ids=ids, deferrable=True, timeout=1)
    assert runner.run(sensor).state == "deferred"
    there, runner.connections = runner.connections["winsms_default"], {}
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(there))

    runner.trigger_attributes["pause"] = staticmethod(pause)
    event = runner.fire()
    assert event["ended"] == "timed_out"
    assert event["outcome"]["states"] == {"sent": 1}
    assert pauses[0] == 2


def test_a_poll_asks_for_a_thousand_ids_at_a_time(mode: str, sandbox: Sandbox, runner: TaskRunner) -> None:
    to = [f"2782{place:07d}" for place in range(1000)]
    ids = sent(runner, *to)
    sandbox.advance(3600)
    wait(runner, [*ids, 900_001, 900_002], mode, min_delivered=0, not_found_grace=0)
    polls = [request for request in sandbox.requests() if request["operation"] == "smsStatus"]
    assert [poll["rows"] for poll in polls] == [1000, 2]


def test_a_finished_text_is_not_asked_for_again(sandbox: Sandbox, runner: TaskRunner) -> None:
    ids = sent(runner, DELIVERED, STAYS_SENT)
    wait(runner, ids, "poke", timeout=0.2)
    polls = [request["rows"] for request in sandbox.requests() if request["operation"] == "smsStatus"]
    assert polls[0] == 2
    assert set(polls[1:]) == {1}


def test_the_first_look_is_taken_before_deferring(runner: TaskRunner) -> None:
    ids = sent(runner, DELIVERED)
    sensor = SmsDeliverySensor(task_id="wait", message_ids=ids, deferrable=True)
    assert runner.run(sensor).state == "success"


def test_the_trigger_carries_ids_and_absolute_times_and_no_secret(runner: TaskRunner) -> None:
    ids = sent(runner, STAYS_SENT)
    runner.run(SmsDeliverySensor(task_id="wait", message_ids=ids, deferrable=True, timeout=3600))
    path, kwargs = runner.trigger().serialize()
    assert path == runner.reported["classpath"]
    assert kwargs.keys() == {"wait"}
    assert unpack(kwargs["wait"]["source"]["message_ids"]) == ids
    assert kwargs["wait"]["end_at"] > 1_700_000_000
    assert set(kwargs["wait"]) == {
        *("sms_conn_id", "source", "min_delivered", "begins_at", "shortest_pause", "longest_pause"),
        *("first_at", "end_at", "grace_until", "ledger", "not_found_holds", "currency"),
    }


def test_what_the_sensor_defers_with_passes_to_the_supervisor(runner: TaskRunner) -> None:
    """On a worker it is encoded by type, which this process does not do."""
    ids = sent(runner, STAYS_SENT)
    sensor = SmsDeliverySensor(task_id="wait", message_ids=ids, deferrable=True, timeout=3600)
    deferred: list[timedelta | None] = []

    def defer(**kwargs: Any) -> None:
        deferred.append(kwargs["timeout"])

    sensor.defer = defer  # type: ignore[method-assign, assignment] # to see what is said, not to change it
    runner.run(sensor)
    assert [type(timeout) for timeout in deferred] == [timedelta]


def test_a_gateway_that_tells_no_states_is_refused_before_anything_is_asked(
    mode: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    kind = variant(SmsDeliverySensor, hook_of=hook_without(status=StatusSource.NONE))
    error = runner.run(kind(task_id="wait", message_ids=[1], deferrable=mode == "deferrable")).error
    assert isinstance(error, UnsupportedCapability)
    assert isinstance(error, AirflowFailException)
    assert sandbox.requests() == []


def test_soft_fail_skips_in_either_mode(mode: str, runner: TaskRunner) -> None:
    ids = sent(runner, FAILED)
    sensor = SmsDeliverySensor(
        task_id="wait", message_ids=ids, deferrable=mode == "deferrable", soft_fail=True, timeout=1
    )
    assert runner.run(sensor).state == "skipped"


def test_deferrable_follows_the_configuration() -> None:
    from airflow.providers.common.compat.sdk import conf

    assert SmsDeliverySensor(task_id="wait", message_ids=[1]).deferrable is conf.getboolean(
        "operators", "default_deferrable"
    )


def test_reschedule_mode_frees_the_worker_between_looks(runner: TaskRunner) -> None:
    ids = sent(runner, STAYS_SENT)
    sensor = SmsDeliverySensor(task_id="wait", message_ids=ids, mode="reschedule", timeout=3600)
    runner.run(sensor)
    assert runner.reported["state"] == "up_for_reschedule"


def _seconds_until_the_next_look(runner: TaskRunner, **kwargs: Any) -> float:
    """Return the pause of a sensor that has waited for an hour."""
    ids = sent(runner, STAYS_SENT)
    runner.first_reschedule = pendulum.now("UTC").subtract(hours=1).isoformat()
    sensor = SmsDeliverySensor(task_id="wait", message_ids=ids, mode="reschedule", timeout=7200, **kwargs)
    assert runner.run(sensor).state == "up_for_reschedule"
    next_look = datetime.fromisoformat(runner.reported["reschedule_date"])
    return next_look.timestamp() - pendulum.now().timestamp()


def test_the_pause_on_a_worker_grows_with_age_too(runner: TaskRunner) -> None:
    assert 350 < _seconds_until_the_next_look(runner) <= 361


def test_the_pause_stays_within_its_bounds(runner: TaskRunner) -> None:
    assert 55 < _seconds_until_the_next_look(runner, max_wait=60) <= 60
    assert 590 < _seconds_until_the_next_look(runner, max_wait=60, poke_interval=600) <= 600


def test_exponential_backoff_is_airflows_own(runner: TaskRunner) -> None:
    assert _seconds_until_the_next_look(runner, exponential_backoff=True, poke_interval=1, max_wait=7) <= 7


def test_its_error_pickles_with_its_reports(runner: TaskRunner) -> None:
    error = wait(runner, sent(runner, FAILED), "poke")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own bytes
    assert isinstance(copy, DeliveryFailed)
    assert isinstance(copy, AirflowFailException)
    assert isinstance(error, DeliveryFailed)
    assert (str(copy), copy.reports) == (str(error), error.reports)


@pytest.mark.parametrize("error", [AirflowSkipException, ConnectionError])
def test_a_sensor_that_resumes_does_not_call_for_its_ids_again(
    error: type[Exception], sandbox: Sandbox, runner: TaskRunner
) -> None:
    later = pendulum.now("UTC").add(hours=1)
    runner.run(SmsSendOperator(task_id="send", text="Hi", to=DELIVERED, send_at=later))
    ids: list[int] = runner.result["message_ids"]
    calls = []

    def looked_up(**_: Any) -> list[int]:
        calls.append(1)
        if len(calls) > 1:
            raise error
        return ids

    sensor = SmsDeliverySensor(task_id="wait", message_ids=looked_up, deferrable=True, poke_interval=0.02)
    assert runner.run(sensor).state == "deferred"
    sandbox.advance(2 * 3600)
    assert runner.resume(sensor, runner.fire()).state == "success"
    assert runner.result["delivered"] == 1
    assert calls == [1]
