"""The result of another task is sent as it is: never rendered as a template, never read as a file name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task, task_group

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.operators.sms import (
    SmsBalanceCheckOperator,
    SmsCancelScheduledOperator,
    SmsRefreshStatusOperator,
    SmsSendBatchOperator,
    SmsSendOperator,
)
from airflow_provider_winsms.operators.views import SmsViewsOperator
from airflow_provider_winsms.sensors.sms import SmsBalanceSensor, SmsDeliverySensor
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from tests.conftest import API_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ANN = "27825550101"
MARKED = [
    "{{ conn.winsms_default.password }}",
    "Dear {{ conn.winsms_default.password }}, hi",
    "{% if true %}{{ conn.winsms_default.password }}{% endif %}",
    "{% for c in [conn.winsms_default] %}{{ c.password }}{% endfor %}",
    "{# nothing #}{{ conn.get('winsms_default').password }}",
    "{{ ['a', conn.winsms_default.password] }}",
    "secret.txt",
    "{{ nobody }}",
    "{% broken",
]


class SmsSendFileOperator(SmsSendOperator):
    """Reads the text from a file, as a DAG author may do."""

    template_ext = (".txt",)


@pytest.fixture(params=[False, True], ids=["text", "native"])
def dag(request: pytest.FixtureRequest, tmp_path: Any) -> DAG:
    (tmp_path / "secret.txt").write_text("The file's words")
    return DAG(
        "dag", schedule=None, template_searchpath=str(tmp_path), render_template_as_native_obj=request.param
    )


def partial_send(**kwargs: Any) -> Any:
    return SmsSendFileOperator.partial(task_id="send", **kwargs)


def partial_batch(**kwargs: Any) -> Any:
    return SmsSendBatchOperator.partial(task_id="send", **kwargs)


@task_group
def group(text: Any) -> None:
    SmsSendFileOperator(task_id="send", text=text, to=ANN)


def in_group(mapped: Any) -> Any:
    return mapped.dag.task_dict["group.send"]


WAYS: dict[str, tuple[Callable[[str], Any], Callable[[Any], Any]]] = {
    "expand_kwargs": (
        lambda text: [{"text": text, "to": ANN}],
        lambda result: partial_send().expand_kwargs(result),
    ),
    "expand_kwargs of one field": (
        lambda text: [{"text": text}],
        lambda result: partial_send(to="{{ '" + ANN + "' }}").expand_kwargs(result),
    ),
    "expand_kwargs of what map made": (
        lambda text: [text],
        lambda result: partial_send(to=ANN).expand_kwargs(result.map(lambda text: {"text": text})),
    ),
    "expand_kwargs of a list with a result": (
        lambda text: {"text": text, "to": ANN},
        lambda result: partial_send().expand_kwargs([result]),
    ),
    "expand_kwargs of rows": (
        lambda text: [{"messages": [{"text": text, "to": [ANN]}]}],
        lambda result: partial_batch().expand_kwargs(result),
    ),
    "expand": (lambda text: [text], lambda result: partial_send(to=ANN).expand(text=result)),
    "expand of rows": (
        lambda text: [[{"text": text, "to": ANN}]],
        lambda result: partial_batch().expand(messages=result),
    ),
    "expand of what map made": (
        lambda text: [text],
        lambda result: partial_batch().expand(messages=result.map(lambda text: [{"text": text, "to": ANN}])),
    ),
    "expand of what zip made": (
        lambda text: [text],
        lambda result: partial_batch().expand(
            messages=result.zip(result).map(lambda pair: [{"text": pair[0], "to": ANN}])
        ),
    ),
    "expand of a task group": (lambda text: [text], lambda result: in_group(group.expand(text=result))),
    "expand_kwargs of a task group": (
        lambda text: [{"text": text}],
        lambda result: in_group(group.expand_kwargs(result)),
    ),
    "a partial result": (lambda text: text, lambda result: partial_send(text=result).expand(to=[ANN])),
    "a partial row": (
        lambda text: text,
        lambda result: partial_batch(messages=[{"text": result, "to": ANN}]).expand(
            max_active_tis_per_dag=[1]
        ),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_text_that_is_data_goes_out_as_it_is(
    way: str, dag: DAG, sandbox: Sandbox, runner: TaskRunner
) -> None:
    returned, operator = WAYS[way]
    with dag:
        mapped = operator(EmptyOperator(task_id="read").output)
    for text in MARKED:
        instance = runner.another()
        instance.results, instance.map_index = {"read": returned(text)}, 0
        assert instance.run(mapped).error is None
    assert [sent["message"] for sent in sandbox.outbox()] == MARKED


@pytest.mark.parametrize(
    "field", ["to", "send_at", "max_segments", "sms_conn_id", "idempotency_key", "ledger_conn_id"]
)
def test_no_other_field_renders_data_either(
    field: str, dag: DAG, sandbox: Sandbox, runner: TaskRunner, capfd: pytest.CaptureFixture[str]
) -> None:
    with dag:
        read = EmptyOperator(task_id="read")
        mapped = SmsSendOperator.partial(task_id="send").expand_kwargs(read.output)
    for marked in MARKED[:5]:
        instance = runner.another()
        instance.results = {"read": [{"text": "Hi", "to": ANN, field: marked}]}
        instance.map_index = 0
        error = instance.run(mapped).error
        assert error is not None
        assert API_KEY not in f"{error}{capfd.readouterr()}{instance.requests}"
    assert sandbox.outbox() == []


def test_a_reference_that_is_data_is_kept_as_it_is(
    dag: DAG, sandbox: Sandbox, runner: TaskRunner, tmp_path: Any
) -> None:
    row = {"text": "Hi", "to": ANN, "reference": MARKED[0]}
    runner.add_database("warehouse", tmp_path / "ledger.db")
    with dag:
        read = EmptyOperator(task_id="read")
        mapped = partial_batch(ledger_conn_id="warehouse").expand_kwargs(read.output)
    runner.results, runner.map_index = {"read": [{"messages": [row]}]}, 0
    assert runner.run(mapped).error is None
    assert MARKED[0].encode() in (tmp_path / "ledger.db").read_bytes()
    assert len(sandbox.outbox()) == 1


OPERATORS = [
    SmsBalanceCheckOperator,
    SmsBalanceSensor,
    SmsCancelScheduledOperator,
    SmsDeliverySensor,
    SmsRefreshStatusOperator,
    SmsSendBatchOperator,
    SmsSendOperator,
    SmsToSqlOperator,
    SmsViewsOperator,
]


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_operator_renders_data(
    operator: Any, dag: DAG, sandbox: Sandbox, runner: TaskRunner, capfd: pytest.CaptureFixture[str]
) -> None:
    given = dict.fromkeys(operator.template_fields, MARKED[0])
    if operator is SmsToSqlOperator:
        given["dataset"] = "incoming"
    with dag:
        read = EmptyOperator(task_id="read")
        mapped = operator.partial(task_id="task").expand_kwargs(read.output)
    runner.results, runner.map_index = {"read": [given]}, 0
    error = runner.run(mapped).error
    assert error is not None
    assert API_KEY not in f"{error}{capfd.readouterr()}{runner.requests}"
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    "operator",
    [
        lambda: partial_send().expand_kwargs([{"text": "{{ 1 + 1 }}", "to": ANN}]),
        lambda: partial_send(text="{{ 1 + 1 }}").expand_kwargs([{"to": ANN}]),
        lambda: partial_send(to=ANN).expand(text=["{{ 1 + 1 }}"]),
        lambda: partial_batch().expand(messages=[[{"text": "{{ 1 + 1 }}", "to": ANN}]]),
        lambda: partial_send(text="{{ 1 + 1 }}").expand_kwargs(EmptyOperator(task_id="read").output),
    ],
)
def test_a_template_in_the_dag_file_is_rendered(
    operator: Callable[[], Any], dag: DAG, sandbox: Sandbox, runner: TaskRunner
) -> None:
    with dag:
        mapped = operator()
    runner.results, runner.map_index = {"read": [{"to": ANN}]}, 0
    assert runner.run(mapped).error is None
    assert [sent["message"] for sent in sandbox.outbox()] == ["2"]


def test_a_task_is_refused_in_place_of_its_result(sandbox: Sandbox) -> None:
    @task
    def on_call() -> list[str]:
        return [ANN]

    for given, way_out in (
        (on_call, "`my_task()`, not `my_task`"),
        (on_call.partial(), "`my_task()`, not `my_task`"),
        (EmptyOperator(task_id="read"), "read.output"),
    ):
        for field in ("to", "text", "send_at", "sms_conn_id"):
            arguments: Any = {"text": "Hi", "to": ANN, field: given}
            with pytest.raises(InvalidMessage, match=f"`{field}` is a task itself") as refused:
                SmsSendOperator(task_id="send", **arguments)
            assert way_out in str(refused.value)
    assert sandbox.requests() == []
