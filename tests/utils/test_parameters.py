"""A wrong parameter is an import error of the DAG; what is known later is refused before anything is sent."""

from __future__ import annotations

import importlib
import inspect
import math
import re
import subprocess
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.dag_processing.processor import _serialize_dags
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, XComArg
from airflow.sdk import DAG

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.hooks.winsms import WinSMSHook
from airflow_provider_winsms.operators.approval import SmsApprovalOperator
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
from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator
from scripts.public_modules import public_modules

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

NUMBER = "27825550101"

RIGHT: dict[type[BaseOperator], dict[str, Any]] = {
    SmsSendOperator: {"text": "Hi", "to": NUMBER},
    SmsSendBatchOperator: {"messages": [{"text": "Hi", "to": NUMBER}]},
    SmsApprovalOperator: {"to": NUMBER, "subject": "Deploy?"},
    SmsCancelScheduledOperator: {"message_ids": [1]},
    SmsRefreshStatusOperator: {"ledger_conn_id": "warehouse"},
    SmsViewsOperator: {"sql_conn_id": "warehouse", "deliveries": "texts"},
    SmsDeliverySensor: {"message_ids": [1]},
    SmsBalanceSensor: {"least": 500},
    SmsBalanceCheckOperator: {"least": "188.6"},
    SmsToSqlOperator: {"dataset": "incoming", "sql_conn_id": "warehouse", "table": "replies"},
    SqlToSmsOperator: {"sql": "SELECT * FROM customers", "sql_conn_id": "warehouse", "text": "Hi"},
}
"""Every public operator and sensor, with the least that it needs."""

NOT_IDS = ("", 5, "my conn", f"winsms://:{'k' * 20}@host")
NOT_NAMES = ("", "two words", "1st", "x" * 64, "a;b", 5)
NOT_SHARES = (95, 1.01, -0.1, math.nan, "0.95", True, None, timedelta(1))
NOT_DURATIONS: tuple[Any, ...] = (
    *(-1, math.nan, math.inf, "10", [], True, None),
    *(timedelta(seconds=-1), timedelta.max, 10**12),
)
NOT_AMOUNTS: tuple[Any, ...] = (
    *("", " ", "many", "-1", "1,000", "1e3", "1.", ".5", "NaN", "Infinity", "\u0665", "1" * 19),
    *(-1, -0.5, math.inf, 1e18, 10**18, 5e-19, True, None, [], [5], b"5", timedelta(1)),
)
NOT_FLAGS = ("false", "yes", 0, 1, None)

WRONG: dict[str, tuple[Any, ...]] = {
    "sms_conn_id": (*NOT_IDS, None),
    "sql_conn_id": (*NOT_IDS, None),
    "ledger_conn_id": NOT_IDS,
    "ledger_prefix": ("", "no;prefix", "x" * 31, None, 5),
    "check_numbers": ("posible", "", None, True),
    "encoding": ("Strict", "gsm7", "", None, True),
    "on_rejected": ("never", "fail-if-all", None),
    "on_not_cancelled": ("never", None),
    "least": NOT_AMOUNTS,
    "on_low": ("Fail", "ignore", "", None, True),
    "on_empty": ("Skip", None),
    "rules": ("opt_outs", ["opt_outs"], [5], {}, None),
    "on_invalid": ("Reject", "ignore", None),
    "on_changed": ("resend", "send-the-rest"),
    "approved_plan": ("", "None", "plan", f"{'0' * 32}.1.1", 5),
    "plan_only": NOT_FLAGS,
    "show_text": NOT_FLAGS,
    "show_texts": NOT_FLAGS,
    "guarantee": ("exactly-once", "once", None),
    "hold": (
        5,
        "5",
        None,
        timedelta(0),
        timedelta(seconds=90),
        timedelta(days=2),
        timedelta(-1),
        timedelta.max,
    ),
    "on_clear": ("restart", None),
    "cancel_on_kill": NOT_FLAGS,
    "idempotency_key": ("", " ", "None", 5),
    "ledger_privacy": ("hash", "keyed-hash", None),
    "ledger_text": ("drop", None),
    "wait_for_delivery": NOT_FLAGS,
    "deferrable": NOT_FLAGS,
    "min_delivered": NOT_SHARES,
    "poll_interval": NOT_DURATIONS,
    "max_poll_interval": NOT_DURATIONS,
    "delivery_timeout": NOT_DURATIONS,
    "not_found_grace": NOT_DURATIONS,
    "poke_interval": NOT_DURATIONS,
    "max_wait": tuple(value for value in NOT_DURATIONS if value is not None),
    "multiple_outputs": NOT_FLAGS,
    "text": ("", "  ", None, 5, b"Hi", "see you \x07", "half \ud83d"),
    "subject": ("", "  ", None, 5, b"Hi", "see you \x07", "half \ud83d"),
    "options": (("YES",), ("YES", "yes"), ("YES 1", "NO"), ("GO", "Stop"), "YES", [], None, 5),
    "timeout": tuple(value for value in NOT_DURATIONS if value != timedelta(0)),
    "min_approvals": (0, -1, 1.5, "2", True, None),
    "default": ("", "two words", 5, "Stop"),
    "fail_on_reject": NOT_FLAGS,
    "ignore_downstream_trigger_rules": NOT_FLAGS,
    "to": (None, True, b"27825550101", {"number": NUMBER}),
    "send_at": ("tomorrow", "2027-01-31T09:00", datetime(2027, 1, 31), 5),  # noqa: DTZ001 - it is what is refused
    "max_segments": (0, -1, 1.5, "many", True, ""),
    "messages": (None, "Hi", {"text": "Hi", "to": NUMBER}, 5),
    "message_ids": ([], "[1, oops", "None", {"accepted": 0}),
    "batch": (5, {"accepted": 1}, ["b"]),
    "max_age": (89, None, timedelta(0), timedelta(days=90), "P1D"),
    "dataset": ("incomming", "outgoing", None, ["incoming"]),
    "table": (*NOT_NAMES, None),
    "schema": NOT_NAMES,
    "deliveries": NOT_NAMES,
    "incoming": NOT_NAMES,
    "opt_outs": NOT_NAMES,
    "view_prefix": ("1st", "a b", None, 5),
    "time_zone": ("Mars/Olympus", "", None, 2),
    "mode": ("append", "Incremental", None),
    "privacy": ("hash", None),
    "include_raw": NOT_FLAGS,
    "prefetch": (0, 33, 1.5, "4", True),
    "refresh": NOT_FLAGS,
    "sql": ("", " ", None, 5, ["SELECT 1"]),
    "sql_parameters": ("27825550101", 5, b"Ann", {27825550101}),
    "text_column": ("", " ", 5),
    "number_column": ("", None, 5),
    "reference_column": ("", 5),
    "send_at_column": ("", 5),
    "shards": (0, -1, 1025, 1.5, "20", True),
    "shard": (-1, 1024, 1.5, "first", True, ""),
}
"""For each parameter of an operator, values that are wrong."""

WRONG_OF: dict[type[BaseOperator], dict[str, tuple[Any, ...]]] = {
    SmsToSqlOperator: {"text": ("digest", "", None)},
    SmsViewsOperator: {"ledger_prefix": ("", "no;prefix", "x" * 31, 5)},
    SqlToSmsOperator: {
        "text": ("", "  ", 5, b"Hi", "see you \x07", "half \ud83d", "{% if %}", "{{ name | shout }}")
    },
}
"""The same where it is another for an operator."""

SPOKEN_OF = {"text", "subject", "message_ids"}
"""Parameters whose errors speak of them in their own words."""


def own_parameters(kind: type) -> set[str]:
    """Return the names that the constructors of our own classes take."""
    constructors = {
        inspect.unwrap(vars(base)["__init__"]) for base in kind.__mro__ if "__init__" in vars(base)
    }
    ours = [
        each
        for each in constructors
        if getattr(each, "__module__", "").startswith("airflow_provider_winsms.")
    ]
    found = [each for one in ours for each in inspect.signature(one).parameters.values()]
    names = {each.name for each in found if each.kind is each.KEYWORD_ONLY}
    return names - set(getattr(kind, "fixed_parameters", ()))


def wrong_values(kind: type, name: str) -> tuple[Any, ...]:
    return {**WRONG, **WRONG_OF.get(kind, {})}[name]


PARAMETERS = [(kind, name) for kind in RIGHT for name in sorted(own_parameters(kind))]
every_parameter = pytest.mark.parametrize(("kind", "name"), PARAMETERS)


def given(kind: type[BaseOperator], name: str, value: Any) -> dict[str, Any]:
    others: dict[str, dict[str, Any]] = {
        "batch": {"message_ids": None, "ledger_conn_id": "warehouse"},
        "text_column": {"text": None},
        "shard": {"shards": 20},
        "shards": {"shard": 0},
    }
    right = next(RIGHT[base] for base in kind.__mro__ if base in RIGHT)
    return {**right, **others.get(name, {}), name: value}


def test_the_table_has_every_operator_and_every_parameter() -> None:
    """A parameter that is new needs a check, and wrong values here."""
    modules = [importlib.import_module(name) for name in public_modules()]
    public = {
        found
        for module in modules
        for name, found in vars(module).items()
        if inspect.isclass(found) and issubclass(found, BaseOperator) and not name.startswith("_")
        if found.__module__.startswith("airflow_provider_winsms.")
    }
    assert public == RIGHT.keys()
    for kind in public:
        assert own_parameters(kind) <= vars(kind)["parameter_checks"].keys(), kind


@pytest.mark.parametrize("kind", [SmsSendBatchOperator, SqlToSmsOperator])
def test_all_sends_have_the_same_defaults(kind: type[BaseOperator]) -> None:
    one, many = (inspect.signature(each).parameters for each in (SmsSendOperator, kind))
    one = {name: one[name] for name in one if name != "text"}  # type: ignore[assignment] # as much as is used
    assert {name: one[name].default for name in one if name in many} == {
        name: many[name].default for name in many if name in one
    }


@every_parameter
def test_a_wrong_value_is_refused_when_the_dag_is_read(kind: type[BaseOperator], name: str) -> None:
    for value in wrong_values(kind, name):
        with pytest.raises(InvalidMessage) as caught:
            kind(task_id="one", **given(kind, name, value))
        words = str(caught.value)
        assert words.startswith("Task 'one': ")
        assert name in words or name in SPOKEN_OF
        assert not any(secret in words for secret in (NUMBER, "k" * 20))


@every_parameter
def test_a_wrong_value_of_a_mapped_task_is_refused_when_the_dag_is_read(
    kind: type[BaseOperator], name: str
) -> None:
    for value in wrong_values(kind, name):
        with pytest.raises(InvalidMessage, match=r"^Task 'many': "):
            kind.partial(task_id="many", **{name: value})


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)
def test_right_values_are_taken(kind: type[BaseOperator]) -> None:
    assert kind(task_id="one", **RIGHT[kind])


@every_parameter
def test_what_is_known_later_is_left_for_later_if_the_field_is_a_template(
    kind: type[BaseOperator], name: str
) -> None:
    with DAG("dag", schedule=None):
        output = BaseOperator(task_id="upstream").output
        later = ["{{ params.x }}", "{% if a %}b{% endif %}", lambda **_: None, output]
        later = later[2:] if name in getattr(kind, "row_templates", ()) else later
        for place, value in enumerate(later):
            arguments = {"task_id": f"task_{place}", **given(kind, name, value)}
            if name in kind.template_fields:
                assert kind(**arguments)
            else:
                with pytest.raises(InvalidMessage, match=f"{name} is no template field|`{name}` is of type"):
                    kind(**arguments)


def test_fields_of_a_dag_with_delimiters_of_its_own_are_left_for_later() -> None:
    with DAG("dag", schedule=None, jinja_environment_kwargs={"variable_start_string": "[["}):
        assert SmsViewsOperator(task_id="one", sql_conn_id="warehouse", deliveries="[[ params.table ]]")


def test_a_subclass_may_make_more_fields_templates() -> None:
    class Templated(SmsSendOperator):
        template_fields = (*SmsSendOperator.template_fields, "guarantee")

    assert Templated(task_id="one", **given(Templated, "guarantee", "{{ params.guarantee }}"))
    with pytest.raises(InvalidMessage, match="guarantee must be one of"):
        Templated(task_id="one", **given(Templated, "guarantee", "exactly-once"))


def test_a_parameter_that_a_question_does_not_have_is_refused_when_the_dag_is_read() -> None:
    with pytest.raises(InvalidMessage, match="Task 'ask': SmsApprovalOperator has no parameter rules"):
        SmsApprovalOperator(task_id="ask", to=NUMBER, subject="Deploy?", rules=[])


def test_default_arguments_of_a_dag_are_checked_too() -> None:
    with (
        DAG("dag", schedule=None, default_args={"guarantee": "exactly-once"}),
        pytest.raises(InvalidMessage, match="Task 'one': guarantee"),
    ):
        SmsSendOperator(task_id="one", text="Hi", to=NUMBER)


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (SmsSendOperator, {"idempotency_key": "offer"}, "idempotency_key need `ledger_conn_id`"),
        (SmsSendOperator, {"ledger_privacy": "keyed_hash"}, "ledger_privacy need `ledger_conn_id`"),
        (SmsSendOperator, {"ledger_text": "keep"}, "ledger_text need `ledger_conn_id`"),
        (SmsCancelScheduledOperator, {"batch": "b", "ledger_conn_id": "warehouse"}, "Both `message_ids` and"),
        (SmsCancelScheduledOperator, {"message_ids": None, "batch": "b"}, "`batch` needs `ledger_conn_id`"),
        (SmsCancelScheduledOperator, {"message_ids": None}, "There are no message ids"),
        (SmsDeliverySensor, {"message_ids": None}, "There are no message ids"),
        (SmsDeliverySensor, {"batch": "b", "ledger_conn_id": "warehouse"}, "Both `message_ids` and"),
        (SmsViewsOperator, {"opt_outs": "o" * 60}, "the history of opt_outs"),
        (SmsViewsOperator, {"ledger_prefix": "sms_"}, "`ledger_prefix`, the prefix of the ledger that the"),
        (SmsViewsOperator, {"deliveries": None}, "Neither is given."),
        (SmsToSqlOperator, {"dataset": "deliveries"}, "give `ledger_conn_id`"),
        (SmsToSqlOperator, {"ledger_conn_id": "warehouse"}, "'incoming' has no ledger"),
        (SmsToSqlOperator, {"include_raw": True, "privacy": "keyed_hash"}, "Leave one of them out"),
    ],
)
def test_what_does_not_go_together_is_refused_when_the_dag_is_read(
    kind: type[BaseOperator], values: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidMessage) as caught:
        kind(task_id="one", **{**RIGHT[kind], **values})
    assert str(caught.value).startswith("Task 'one': ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "guarantee",
            "exactly-once",
            (
                "guarantee must be one of at_most_once, exactly_once, at_least_once; got 'exactly-once'. "
                "Did you mean 'exactly_once'?"
            ),
        ),
        ("on_rejected", "never", "on_rejected must be one of fail_if_all, fail, ignore; got 'never'."),
        ("min_delivered", 95, "min_delivered must be a share, a number from 0 to 1; got 95."),
        ("hold", 5, "hold must be a timedelta of more than 90 seconds, and at most 1 day; got 5."),
        ("deferrable", "false", "deferrable must be True or False; got 'false'."),
        ("on_empty", NUMBER, "on_empty must be one of fail, skip; got a value of type str."),
        ("poll_interval", int(NUMBER), "those of ten years; got a value of type int."),
        pytest.param("delivery_timeout", 10**5000, "ten years; got a value of type int.", id="endless"),
    ],
)
def test_an_error_says_what_is_wrong_and_what_is_right(name: str, value: Any, says: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        SmsSendOperator(task_id="one", **given(SmsSendOperator, name, value))
    assert str(caught.value).startswith("Task 'one': ")
    assert str(caught.value).endswith(says)


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)
def test_an_unknown_parameter_is_named_and_its_value_is_not(kind: type[BaseOperator]) -> None:
    with pytest.raises(TypeError) as caught:
        kind(task_id="one", **RIGHT[kind], sms_con_id=NUMBER)
    assert f"{kind.__name__} got unexpected keyword arguments: sms_con_id (task_id: one)" in str(caught.value)
    assert NUMBER not in str(caught.value)
    with pytest.raises(TypeError, match="unexpected keyword argument 'sms_con_id'") as caught:
        kind.partial(task_id="many", sms_con_id=NUMBER)
    assert NUMBER not in str(caught.value)


def test_an_unknown_parameter_comes_with_the_one_that_is_like_it() -> None:
    with pytest.raises(TypeError, match="Did you mean 'guarantee'"):
        SmsSendOperator(task_id="one", text="Hi", to=NUMBER, gaurantee="exactly_once")


def test_each_typo_is_an_import_error_of_its_dag_file(tmp_path: Path) -> None:
    """One file for each parameter of each operator, read by Airflow."""
    for kind, name in PARAMETERS:
        value = wrong_values(kind, name)[0]
        keywords = "".join(f"{key}={each!r}, " for key, each in given(kind, name, value).items())
        (tmp_path / f"{kind.__name__}_{name}.py").write_text(
            f"import datetime\nfrom math import inf, nan\nfrom airflow.sdk import DAG\n"
            f"from {kind.__module__} import {kind.__name__}\n"
            f"with DAG('{kind.__name__}_{name}', schedule=None):\n"
            f"    {kind.__name__}(task_id='one', {keywords})\n"
        )
    bag = DagBag(tmp_path, bundle_path=tmp_path, bundle_name="typos")
    assert not bag.dags
    assert len(bag.import_errors) == len(PARAMETERS)
    assert all("InvalidMessage: Task 'one': " in error for error in bag.import_errors.values())


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (SmsSendOperator, {"sms_conn_id": "{{ params.x }}"}, "sms_conn_id must be the id of a connection"),
        (SmsSendOperator, {"idempotency_key": "{{ params.x }}", "ledger_conn_id": "db"}, "idempotency_key"),
        (SmsSendOperator, {"max_segments": "{{ params.x }}"}, "max_segments must be a whole number"),
        (SmsSendOperator, {"text": "{{ params.x }}"}, "The text is empty"),
        (SmsCancelScheduledOperator, {"message_ids": "{{ params.x }}"}, "There are no message ids"),
        (SmsDeliverySensor, {"message_ids": "{{ params.x }}"}, "There are no message ids"),
        (SmsRefreshStatusOperator, {"ledger_conn_id": "{{ params.x }}"}, "ledger_conn_id must be the id"),
        (SmsBalanceSensor, {"least": "{{ params.x }}"}, "least must be an amount, 0 or more"),
        (SmsBalanceCheckOperator, {"least": "{{ params.x }}"}, "least must be an amount, 0 or more"),
        (SmsToSqlOperator, {"mode": "{{ params.x }}"}, "mode must be one of"),
        (SmsToSqlOperator, {"dataset": "{{ params.x }}"}, "dataset must be one of"),
        (SmsToSqlOperator, {"table": "{{ params.x }}"}, "`table` must be a plain name"),
        (SmsViewsOperator, {"deliveries": "{{ params.x }}"}, "`deliveries` must be a plain name"),
    ],
)
def test_what_a_template_gives_is_refused_before_anything_is_asked(
    kind: type[BaseOperator], values: dict[str, Any], says: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    runner.retries = 3
    error = runner.run(kind(task_id="one", params={"x": ""}, **{**RIGHT[kind], **values})).error
    assert isinstance(error, InvalidMessage)
    assert isinstance(error, AirflowFailException)
    assert says in str(error)
    assert sandbox.requests() == []


def test_what_a_mapped_task_gets_is_refused_for_good_before_anything_is_asked() -> None:
    with DAG("dag", schedule=None):
        upstream = BaseOperator(task_id="upstream")
        mapped = SmsSendOperator.partial(task_id="many", text="Hi", to=NUMBER).expand(
            min_delivered=XComArg(upstream)
        )
    with pytest.raises(InvalidMessage, match="Task 'many': min_delivered must be a share") as caught:
        mapped.unmap({"min_delivered": 95})
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize(
    "made", ["SmsIncomingTrigger(", "MessageQueueTrigger(scheme='winsms', "], ids=["itself", "queue"]
)
def test_a_watcher_with_a_wrong_argument_is_an_import_error_of_its_dag_file(
    made: str, tmp_path: Path
) -> None:
    (tmp_path / "watch.py").write_text(
        "from airflow.sdk import DAG, Asset, AssetWatcher\n"
        "from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger\n"
        "from airflow_provider_winsms.triggers.sms import SmsIncomingTrigger\n"
        f"watcher = AssetWatcher(name='w', trigger={made}dataset='incomming'))\n"
        "dag = DAG('watch', schedule=[Asset('replies', watchers=[watcher])])\n"
    )
    bag = DagBag(tmp_path, bundle_path=tmp_path, bundle_name="typos")
    _, errors = _serialize_dags(bag, bag.log)
    (words,) = errors.values()
    assert "dataset must be one of incoming, short_code, opt_outs; got 'incomming'" in words


@pytest.mark.parametrize("conn_id", [*NOT_IDS, None])
def test_a_hook_refuses_what_is_no_id_of_a_connection(conn_id: Any) -> None:
    with pytest.raises(InvalidMessage, match="winsms_conn_id must be the id of a connection") as caught:
        WinSMSHook(conn_id)
    assert "k" * 20 not in str(caught.value)


@pytest.mark.parametrize("count", [Decimal(27825550101), 27825550101.0, (NUMBER for _ in range(1))])
def test_numbers_of_any_usual_type_pass(count: Any) -> None:
    assert SmsSendOperator(task_id="one", text="Hi", to=count)


@pytest.mark.airflow
def test_a_type_checker_finds_typos(tmp_path: Path) -> None:
    lines = [
        "SmsSendOperator(task_id='a', text='', to='', guarantee='exactly-once')",
        "SmsSendOperator(task_id='a', text='', to='', on_rejected='never')",
        "SmsSendOperator(task_id='a', text='', to='', check_numbers='posible')",
        "SmsSendOperator(task_id='a', text='', to='', encoding='utf-8')",
        "SmsSendOperator(task_id='a', text='', to='', on_empty='Skip')",
        "SmsSendOperator(task_id='a', text='', to='', on_clear='restart')",
        "SmsSendOperator(task_id='a', text='', to='', on_invalid='ignore')",
        "SmsSendOperator(task_id='a', text='', to='', on_changed='resend')",
        "SmsSendOperator(task_id='a', text='', to='', ledger_privacy='hash')",
        "SmsSendOperator(task_id='a', text='', to='', ledger_text='drop')",
        "SmsSendOperator(task_id='a', text='', to='', hold=5)",
        "SmsSendOperator(task_id='a', text='', to='', deferrable='false')",
        "SmsCancelScheduledOperator(task_id='a', on_not_cancelled='never')",
        "SmsRefreshStatusOperator(task_id='a', ledger_conn_id='w', max_age=89)",
        "SmsBalanceCheckOperator(task_id='a', least=5, on_low='ignore')",
        "SmsBalanceCheckOperator(task_id='a', least=None)",
        "SmsToSqlOperator(task_id='a', dataset='incoming', sql_conn_id='', table='', mode='append')",
        "SmsToSqlOperator(task_id='a', dataset='incoming', sql_conn_id='', table='', privacy='hash')",
        "SmsToSqlOperator(task_id='a', dataset='incoming', sql_conn_id='', table='', text='digest')",
        "SmsIncomingTrigger(dataset='incomming')",
        "SmsIncomingTrigger(exposed_fields=['texts'])",
    ]
    right = "SmsSendOperator(task_id='a', text='', to='', guarantee='exactly_once', hold=timedelta(hours=1))"
    imports = (
        "from datetime import timedelta\n"
        "from airflow_provider_winsms.operators.sms import *\n"
        "from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator\n"
        "from airflow_provider_winsms.triggers.sms import SmsIncomingTrigger\n"
    )
    (tmp_path / "typos.py").write_text(imports + "\n".join([right, *lines]) + "\n")
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(tmp_path / "typos.py")]
    root = Path(__file__).parents[2]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    wrong = set(map(int, re.findall(r"typos\.py:(\d+): error:.*\[(?:arg-type|list-item)\]", found.stdout)))
    first = imports.count("\n") + 2
    assert wrong == set(range(first, first + len(lines))), found.stdout


def test_a_value_that_a_policy_set_after_the_dag_was_read_is_refused_when_the_task_starts(
    runner: TaskRunner, sandbox: Sandbox
) -> None:
    task = SmsSendOperator(task_id="send", text="Hello", to="27825550101")
    task.guarantee = "exactly-once"  # type: ignore[assignment] # as an Airflow cluster policy may
    error = runner.run(task).error
    assert "guarantee must be one of" in str(error)
    assert not sandbox.outbox()
