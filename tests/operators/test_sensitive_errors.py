"""Whatever a DAG file gives for a personal field, and however that fails: its content is not shown."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from airflow_provider_winsms.exceptions import InvalidMessage, TemplateFailed
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ANN = "27825559871"
WORDS = f"Quetzalcoatl of {ANN} is not known"
SECRETS = (ANN, "Quetzalcoatl")


def fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError(WORDS)


class Iterates:
    __iter__ = fail


class IteratesLate:
    def __iter__(self) -> Iterator[str]:
        yield ANN
        fail()


class HasItems:
    """Is iterated in the old way, by index."""

    def __len__(self) -> int:
        return 2

    __getitem__ = fail


class HasNoLength:
    __len__ = fail
    __bool__ = fail

    def __iter__(self) -> Iterator[str]:
        return iter([ANN, fail()])


class HasNoText:
    __str__ = fail
    __repr__ = fail
    __format__ = fail


class HasNoAttributes:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(WORDS)

    def __iter__(self) -> Iterator[str]:
        return iter([fail()])


class List(list[str]):
    __iter__ = fail


class Row(dict[str, Any]):
    __getitem__ = fail
    items = fail
    keys = fail


class Fields(Mapping[str, Any]):
    __getitem__ = fail

    def __iter__(self) -> Iterator[str]:
        return iter(["text", "to"])

    def __len__(self) -> int:
        return 2


def generator(error: BaseException, *before: Any) -> Iterator[Any]:
    yield from before
    raise error


def fails(make: Callable[[], BaseException], *before: Any) -> Iterator[Any]:
    return generator(make(), *before)


def caused() -> BaseException:
    error = RuntimeError("no words")
    error.__cause__ = KeyError(WORDS)
    return error


def in_context() -> BaseException:
    try:
        fail()
    except RuntimeError as error:
        return ValueError(str(error), error)
    raise AssertionError


def noted() -> BaseException:
    error = ValueError("no words")
    error.add_note(WORDS)
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "a value error": lambda: ValueError(WORDS),
    "a key error": lambda: KeyError(ANN),
    "a lookup of a text": lambda: KeyError("Quetzalcoatl" + ""),
    "a stop": lambda: StopAsyncIteration(WORDS),
    "an error with a cause": caused,
    "an error in the context of another": in_context,
    "an error with a note": noted,
    "a group": lambda: ExceptionGroup(WORDS, [ValueError(WORDS), KeyError(ANN)]),
    "a group of all kinds": lambda: BaseExceptionGroup(WORDS, [SystemExit(WORDS)]),
    "an exit": lambda: SystemExit(WORDS),
    "something that is no Exception": lambda: type("Odd", (BaseException,), {})(WORDS),
    "a failure": lambda: AirflowFailException(WORDS),
    "an error of this package": lambda: InvalidMessage(WORDS),
    "a system error": lambda: OSError(2, WORDS, WORDS),
    "an encoding error": lambda: UnicodeEncodeError("ascii", WORDS, 0, 1, WORDS),
}

GIVEN: dict[str, Callable[[], Any]] = {
    **{name: partial(fails, error) for name, error in ERRORS.items()},
    **{f"{name} midway": partial(fails, error, ANN) for name, error in ERRORS.items()},
    "a map": lambda: map(fail, [1]),
    "a filter": lambda: filter(fail, [1]),
    "a zip": lambda: zip(generator(ValueError(WORDS)), strict=True),
    "what cannot be iterated": Iterates,
    "what stops being iterated": IteratesLate,
    "what has items": HasItems,
    "what has no length": HasNoLength,
    "what has no text": HasNoText,
    "what has no attributes": HasNoAttributes,
    # Airflow walks through a list of the DAG file itself, when it reads that.
    "a list of another kind": lambda: lambda **_: List([ANN]),
    "a row of another kind": lambda: Row(text="Hi", to=ANN),
    "fields": Fields,
    "a list with a generator": lambda: [generator(ValueError(WORDS))],
    "a row with a generator": lambda: [{"text": "Hi", "to": generator(ValueError(WORDS))}],
    "a list of rows of another kind": lambda: [Row(text="Hi", to=ANN), Fields()],
    "a list of what has no text": lambda: [HasNoText()],
}

WAYS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda given: given,
    "from a function": lambda given: lambda **_: given,
}


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[Any], str]:
    """Give a function that returns all that a run showed, its error and what that came from included."""
    caplog.set_level(logging.DEBUG)

    def everything(error: Any) -> str:
        """Return it, and forget what was logged."""
        raised, logged = [], caplog.text
        caplog.clear()
        while error is not None:
            raised += [*traceback.format_exception(error), repr(error), *getattr(error, "__notes__", [])]
            error = error.__cause__ or error.__context__
        return "\n".join([*capfd.readouterr(), logged, *raised])

    return everything


def build(field: str, given: Any) -> SmsSendOperator | SmsSendBatchOperator:
    if field == "messages":
        return SmsSendBatchOperator(task_id="send", messages=given)
    return SmsSendOperator(task_id="send", text="Hi", to=given)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("field", ["to", "messages"])
def test_what_fails_shows_nothing_of_its_words(
    field: str, way: str, sandbox: Sandbox, runner: TaskRunner, written: Callable[[Any], str]
) -> None:
    for name, make in GIVEN.items():
        given: Any = WAYS[way](make())
        instance = runner.another()
        error = instance.refusal(partial(build, field, given))
        assert isinstance(error, (TemplateFailed, InvalidMessage)), name
        shown = f"{written(error)}{instance.requests}{instance.xcoms}"
        assert [secret for secret in SECRETS if secret in shown] == [], name
    assert sandbox.outbox() == []


def test_a_generator_that_fails_is_named_by_its_line(runner: TaskRunner) -> None:
    error = runner.run(SmsSendOperator(task_id="send", text="Hi", to=generator(ValueError(WORDS), ANN))).error
    line = generator.__code__.co_firstlineno + 2
    assert f"The value given for `to` failed with ValueError (test_sensitive_errors.py, line {line};" in str(
        error
    )


@pytest.mark.parametrize("way", WAYS)
def test_what_skips_or_fails_the_task_does_so_without_its_words(
    way: str, sandbox: Sandbox, runner: TaskRunner, written: Callable[[Any], str]
) -> None:
    def run(error: BaseException) -> Any:
        error.__cause__ = KeyError(WORDS)
        return runner.run(SmsSendOperator(task_id="send", text="Hi", to=WAYS[way](generator(error))))

    runner.retries = 3
    skipped = run(AirflowSkipException(WORDS))
    assert skipped.state == "skipped"
    assert not any(secret in written(skipped.error) for secret in SECRETS)
    failed = run(AirflowFailException(WORDS))
    assert failed.state == "failed"
    assert not any(secret in written(failed.error) for secret in SECRETS)
    timed_out = run(AirflowTaskTimeout("Timeout"))
    assert isinstance(timed_out.error, AirflowTaskTimeout)
    assert not any(secret in written(timed_out.error) for secret in SECRETS)
    assert sandbox.requests() == []


ROW: dict[str, Any] = {}


def _row(**_: Any) -> Any:
    return ROW["msisdn"]


def _columns(**_: Any) -> Any:
    return [{"name": 1}[column] for column in ("name", "cell_number")]


def _of_data(**_: Any) -> Any:
    return ROW[f"Thandi{len(_)}"]


def _number_in_code(**_: Any) -> Any:
    return ROW["x27825559871"]


def _text_in_code(**_: Any) -> Any:
    return ROW["Your word is Quetzalcoatl"]


@pytest.mark.parametrize(
    ("to", "says"),
    [
        (_row, "failed with KeyError 'msisdn' (test_sensitive_errors.py"),
        (_columns, "failed with KeyError 'cell_number' (test_sensitive_errors.py"),
        (_of_data, "failed with KeyError (test_sensitive_errors.py"),
        (_number_in_code, "failed with KeyError (test_sensitive_errors.py"),
        (_text_in_code, "failed with KeyError (test_sensitive_errors.py"),
        ("{{ var.value.on_call_2 }}", "failed: there is no Variable 'on_call_2' (<template>, line 1"),
        ("{{ var.json.get('on-call') }}{{ var.json.team }}", "there is no Variable 'team' ("),
        (f"{{{{ var.value.x{ANN} }}}}", "failed: there is no Variable (<template>, line 1"),
        ("{{ conn.nowhere.login }}", "failed: there is no connection 'nowhere' (<template>, line 1"),
        (["{{ var.value.on_call }}"], "failed: there is no Variable 'on_call' (<template>, line 1"),
    ],
)
def test_a_name_that_was_looked_up_in_vain_is_shown_if_it_is_no_data(
    to: Any, says: str, runner: TaskRunner
) -> None:
    error = runner.run(SmsSendOperator(task_id="send", text="Hi", to=to)).error
    assert isinstance(error, TemplateFailed)
    assert says in str(error)
    assert "Quetzalcoatl" not in str(error)
    assert ANN not in str(error)


class DataFrame:
    """Like that of pandas: iteration gives the names of its columns."""

    columns = ("text", "to")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __bool__(self) -> bool:
        fail()
        return True

    def to_dict(self, _orient: str) -> list[dict[str, str]]:
        return [{"text": "Hi", "to": ANN}]


@pytest.mark.parametrize("way", WAYS)
def test_a_data_frame_is_refused_with_the_way_to_give_its_rows(
    way: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    error = runner.refusal(lambda: SmsSendBatchOperator(task_id="send", messages=WAYS[way](DataFrame())))
    assert isinstance(error, InvalidMessage)
    assert '`messages` is a DataFrame. Give its rows: frame.to_dict("records")' in str(error)
    frame: Any = WAYS[way](DataFrame())
    error = runner.another().run(SmsSendOperator(task_id="send", text="Hi", to=frame)).error
    assert isinstance(error, InvalidMessage)
    assert "`to` is a DataFrame. Give one column as a list: frame['number'].tolist()" in str(error)
    assert sandbox.requests() == []


@pytest.mark.parametrize("is_native", [False, True])
@pytest.mark.parametrize(
    "to",
    [
        "[" * 100_000,
        "{" * 100_000,
        "[" * 90 + "]" * 90,
        "[" * 5000 + "]" * 5000,
        "{'a':" * 100_000,
        "[" + "-" * 100_000,
    ],
)
def test_brackets_without_end_are_no_list(
    to: str, is_native: bool, sandbox: Sandbox, runner: TaskRunner
) -> None:
    for given in (to, "{{ params.to }}", lambda **_: to):
        task = SmsSendOperator(
            task_id="send", text="Hi", to=given, params={"to": to}, render_template_as_native_obj=is_native
        )
        assert isinstance(runner.another().run(task).error, InvalidMessage)
    assert sandbox.requests() == []
