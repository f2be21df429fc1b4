"""The estimate of a send is never below what the gateway charges."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.operators.sms import SmsSendBatchOperator
from airflow_provider_winsms.rules import CreditBudget

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

TEXTS = st.lists(
    st.sampled_from(["a", "\N{EURO SIGN}", "[", "\xe9", "\xe0", "\xea", " "]), min_size=1, max_size=8
).flatmap(lambda some: st.integers(1, 100).map(lambda times: "x" + "".join(some) * times))


@settings(
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_a_budget_of_the_charge_is_enough_and_one_below_it_is_not(
    texts: list[str], sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.reset()
    rows = [{"text": text, "to": f"2782555010{at}"} for at, text in enumerate(texts)]
    runner.another().run(SmsSendBatchOperator(task_id="send", messages=rows))
    charge = sum((Decimal(str(row["creditCost"])) for row in sandbox.outbox()), Decimal(0))
    for most in (charge, charge - Decimal("0.1")):
        one = runner.another()
        run = one.run(SmsSendBatchOperator(task_id="send", messages=rows, rules=[CreditBudget(most)]))
        assert (run.error is None) == (most == charge)
