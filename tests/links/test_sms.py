"""The links on the page of a task, as Airflow's task runner stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.get_provider_info import get_provider_info
from airflow_provider_winsms.links.sms import SmsBatchesLink, SmsClientZoneLink
from airflow_provider_winsms.operators.send_base import SendOperator
from airflow_provider_winsms.operators.sms import (
    SmsBalanceCheckOperator,
    SmsCancelScheduledOperator,
    SmsSendBatchOperator,
    SmsSendOperator,
)
from airflow_provider_winsms.plugins.sms import SmsPlugin
from airflow_provider_winsms.sensors.sms import SmsBalanceSensor, SmsDeliverySensor
from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator
from tests.support.databases import CONN_ID
from tests.support.variants import variant

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ANN = "27825550101"
KEY = SmsClientZoneLink().xcom_key
BATCHES = SmsBatchesLink().xcom_key
ZONE = "https://www.winsms.co.za/cz"
LINKED = [
    SmsSendOperator,
    SmsSendBatchOperator,
    SqlToSmsOperator,
    SmsDeliverySensor,
    SmsCancelScheduledOperator,
    SmsBalanceCheckOperator,
    SmsBalanceSensor,
]


def send(**kwargs: Any) -> SmsSendOperator:
    return SmsSendOperator(task_id="send", **{"text": "Hi", "to": ANN, **kwargs})


@pytest.mark.parametrize("kind", LINKED)
def test_a_task_that_works_with_a_gateway_links_to_its_client_zone(kind: Any) -> None:
    link = kind.operator_extra_links[0]
    assert link == SmsClientZoneLink()
    assert link.name == "Client zone"


@pytest.mark.parametrize("kind", LINKED)
def test_sends_link_to_their_batches_and_other_tasks_do_not(kind: Any) -> None:
    more = kind.operator_extra_links[1:]
    assert more == ((SmsBatchesLink(),) if issubclass(kind, SendOperator) else ())


def test_airflow_accepts_the_links() -> None:
    kinds = (SmsClientZoneLink, SmsBatchesLink)
    assert get_provider_info()["extra-links"] == [f"{kind.__module__}.{kind.__name__}" for kind in kinds]


@pytest.mark.usefixtures("ledger")
def test_a_send_with_a_ledger_in_tables_stores_the_address_of_its_batches(
    runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/data/")
    assert runner.run(send(ledger_conn_id=CONN_ID)).error is None
    tab = get_tab_of_runs()["url_route"]
    assert runner.xcoms[BATCHES] == f"https://airflow.example/data/dags/dag/runs/run/plugin/{tab}"


def get_tab_of_runs() -> dict[str, Any]:
    """Return the tab that the plugin adds to DAG runs."""
    tab: dict[str, Any]
    (tab,) = [view for view in SmsPlugin.external_views if view.get("destination") == "dag_run"]
    return tab


def test_a_send_without_a_ledger_in_tables_has_no_link_to_batches(runner: TaskRunner) -> None:
    assert runner.run(send()).error is None
    assert runner.xcoms[BATCHES] == ""


def test_a_send_stores_the_address_that_the_gateway_declares(runner: TaskRunner) -> None:
    assert runner.run(send()).error is None
    assert runner.xcoms[KEY] == ZONE == WinSMSGateway.client_zone_url


def test_a_send_that_failed_has_the_link(sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.set_account(credit_balance=0)
    assert runner.run(send()).error is not None
    assert runner.xcoms[KEY] == ZONE


def test_a_wait_has_the_link_when_it_defers_and_keeps_it(runner: TaskRunner) -> None:
    task = send(wait_for_delivery=True, deferrable=True, poll_interval=1, delivery_timeout=0.1)
    assert runner.run(task).state == "deferred"
    assert runner.xcoms[KEY] == ZONE
    runner.resume(task, runner.fire())
    assert runner.xcoms[KEY] == ZONE


def test_each_instance_of_a_mapped_send_has_the_link(runner: TaskRunner) -> None:
    own = runner.another()
    own.map_index = 1
    task = SmsSendOperator.partial(task_id="send", text="Hi").expand(to=["27825550102", ANN])
    assert own.run(task).error is None
    assert own.xcoms[KEY] == ZONE
    assert task.operator_extra_links == (SmsClientZoneLink(), SmsBatchesLink())


def test_a_task_without_a_usable_connection_has_no_link_and_logs_no_second_error(
    runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    for conn_id in ("missing", "{{ 1 / 0 }}", "mis{{ 'sing' }}"):
        assert runner.run(send(sms_conn_id=conn_id)).error is not None
        assert runner.xcoms.get(KEY, "") == ""
    assert "Failed to push an xcom" not in capsys.readouterr().out


def test_a_gateway_without_a_client_zone_has_no_link(runner: TaskRunner) -> None:
    class Zoneless(WinSMSGateway):
        client_zone_url = ""

    def zoneless(conn_id: str) -> SmsHook:
        hook = SmsSendOperator.hook_of(conn_id)
        gateway: Gateway = Zoneless(time_zone="UTC", country_code="27")
        hook.__dict__["gateway"] = gateway
        return hook

    task = variant(SmsSendOperator, hook_of=staticmethod(zoneless))(task_id="send", text="Hi", to=ANN)
    assert runner.run(task).error is None
    assert runner.xcoms[KEY] == ""
