"""Whatever is given to a send: nobody gets a text twice, a text stays what it is, what is given counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.messages import is_missing
from airflow_provider_winsms.operators.sms import SmsSendOperator
from tests.operators.test_data_frames import Many
from tests.operators.test_native_rendering import native
from tests.operators.test_send_changed import EVERYBODY, refuse_after, send_batch, texts

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner


@settings(max_examples=200, deadline=None)
@given(text=st.text("0123456789 .,_'\"()[]{}+-eNTruFalsox#:", min_size=1, max_size=12))
def test_any_text_is_the_same_under_both_ways_of_rendering(text: str) -> None:
    rendered = []
    for is_native in (False, True):
        task = SmsSendOperator(
            task_id="send",
            text="{{ params.text }}",
            to="{{ params.text }}",
            params={"text": text},
            **native(is_native),
        )
        context: Any = {"ti": None, "params": {"text": text}}
        task.render_template_fields(context)
        rendered.append(task.sensitive_value("text"))
    assert rendered == [text, text]


@given(st.one_of(st.integers(), st.text(), st.booleans(), st.floats(allow_nan=False), st.lists(st.none())))
def test_nothing_else_is_missing(value: object) -> None:
    assert not is_missing(value)
    assert not is_missing(Many())


ROWS = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(EVERYBODY[:4])), max_size=6)


@settings(
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    lists=st.lists(ROWS, min_size=2, max_size=4), breaks=st.lists(st.integers(0, 2), min_size=4, max_size=4)
)
def test_whatever_the_lists_are_nobody_gets_a_text_twice(
    lists: list[list[tuple[str, str]]], breaks: list[int], sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.reset()
    one = runner.another()
    for rows, requests in zip(lists, breaks, strict=False):
        refuse_after(sandbox, requests, "smsSendBatch")
        one.run(send_batch(*rows))
        sandbox.clear_faults()
    one.run(send_batch(*lists[-1]))
    sent = texts(sandbox)
    assert max(sent.values(), default=0) <= 1
    for text, number in set(lists[-1]) - set(sent):
        # It may have changed: there was another text to the number that the last list has no more.
        assert any(to == number and (said, to) not in lists[-1] for said, to in sent), (text, number)
