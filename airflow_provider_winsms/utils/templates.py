"""Template fields, and fields with personal data that stay out of the rendered view and the log.

Airflow stores the rendered value of each template field for its web page. It logs the template when rendering
fails. A sensitive field is templated like any other, but both places show ``(not shown)``. It renders when
``execute`` first asks for it. After that, the web page may show counts: ``5,000 recipients, not shown``.

Templates come from the DAG file. The result of another task is data and is never rendered: a customer named
``{{ conn.winsms_default.password }}`` must not be sent the password.
"""

from __future__ import annotations

import copy
import inspect
import re
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import jinja2
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseOperator,
    MappedOperator,
    TaskDeferred,
)
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from jinja2.nativetypes import native_concat

from airflow_provider_winsms.exceptions import InvalidMessage, TemplateFailed
from airflow_provider_winsms.messages import is_missing, is_table
from airflow_provider_winsms.utils.errors import as_airflow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from airflow.providers.common.compat.sdk import DAG, Context, XComArg

    from airflow_provider_winsms.exceptions import SmsError

    T = TypeVar("T")

    Templated: TypeAlias = T | XComArg | Callable[..., T]
    """A value, the output of another task, or a function that Airflow calls when it renders the task."""

    _Operator = BaseOperator
else:
    # A base between an operator and Airflow's sensor must leave the sensor's constructor in its place.
    _Operator = object

_UNDEFINED = re.compile(r"'([A-Za-z_]\w*)' is undefined")
_LOGICAL_DATE_NAMES = ("ds", "ts", "logical_date", "data_interval")

_LIBRARIES = (sysconfig.get_path("stdlib"), str(Path(__file__).parent))

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}")
_MAX_DIGITS_OF_A_NAME = 4
_NOT_FOUND = re.compile(r"Variable (.+) not found")
_NOT_DEFINED = re.compile(r"The conn_id `(.+)` isn't defined")

_TASK_INTERRUPTS = (AirflowTaskTimeout, TaskDeferred, KeyboardInterrupt, GeneratorExit)
"""Exceptions that end a task from outside. The given value did not cause them."""

_END: Any = object()


class SensitiveValue:
    """A template field whose ``repr`` hides its value. It renders when its value is first read.

    Airflow also renders the fields of a task that resumes, and such a task reads none of its values.

    :param is_of_all: whether the DAG file gives it as a text or a template, the same for all instances of a
        mapped task. Anything else is data.
    :ivar shown: what the ``repr`` is: nothing personal.
    """

    def __init__(self, field: str, given: Any, render: Callable[[], Any], *, is_of_all: bool = False) -> None:
        self.shown = "(not shown)"
        self.is_of_all = is_of_all
        self._field = field
        self._given = given
        self._render = render

    @cached_property
    def value(self) -> Any:
        """The rendered value. If it is an iterator, its later errors are redacted too.

        :raises InvalidMessage: if the template is wrong.
        :raises TemplateFailed: if the function fails, or a function that the template calls.
        """
        rendered = self._redacted(self._render)
        return self._each(rendered) if isinstance(rendered, Iterator) else rendered

    def _each(self, items: Iterator[T]) -> Iterator[T]:
        while (item := self._redacted(lambda: next(items, _END))) is not _END:
            yield item

    def _redacted(self, act: Callable[[], Any]) -> Any:
        return redacting_errors(act, f"`{self._field}`", self._given)

    def __repr__(self) -> str:
        return self.shown


def redacting_errors(
    act: Callable[[], T], field: str, given: object = None, passing: tuple[type[SmsError], ...] = ()
) -> T:
    """Return the result of a call that runs code of a DAG file.

    An error names only the place where it was raised. Its own text, causes and notes are dropped, since they
    may quote numbers or a text. It still skips the task, or fails it for good, as the original does.

    :param field: the name of the field in the error.
    :param given: the value that the DAG file gave for the field.
    :param passing: errors that are raised unchanged.
    :raises InvalidMessage: if a template is wrong.
    :raises TemplateFailed: if the code of the DAG file raised an error.
    """
    try:
        return act()
    except passing:
        raise
    except BaseException as error:  # noqa: BLE001 - any BaseException may quote data
        hidden = _without_text(error, field, given)
    raise hidden


def _without_text(error: BaseException, field: str, given: object) -> BaseException:
    """Return the error to raise in place of another. The caller raises it later, so it has no context."""
    if isinstance(error, _TASK_INTERRUPTS):
        error.__cause__ = error.__context__ = None
        return error
    # A template that is nested too deeply is wrong too.
    is_nested = isinstance(error, RecursionError) and not inspect.isroutine(given)
    if isinstance(error, jinja2.TemplateError) or is_nested:
        return as_airflow(InvalidMessage(_wrong_template(error, field)), AirflowFailException)
    what = f"The function {given.__name__!r}" if inspect.isroutine(given) else "The value"
    subject, place = f"{what} given for {field}", _place(error, given)
    if isinstance(error, AirflowSkipException):
        return AirflowSkipException(f"{subject} skips the task ({place}).")
    failed = TemplateFailed(
        f"{subject} failed{_reason(error)} ({place}; its text is not shown, as it may hold numbers). A "
        "function is called with context= and jinja_env=; the run's values are in context, such as "
        "context['dag_run']."
    )
    return as_airflow(failed, AirflowFailException) if isinstance(error, AirflowFailException) else failed


def _wrong_template(error: BaseException, field: str) -> str:
    """Describe the error. Its own text may quote the template, or a key that was looked up."""
    undefined = _UNDEFINED.fullmatch(str(error)) if isinstance(error, jinja2.UndefinedError) else None
    where = f": {undefined[0]}" if undefined else ""
    where = f" in line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else where
    hint = ""
    if undefined and undefined[1].startswith(_LOGICAL_DATE_NAMES):
        hint = " A run without a logical date has none, such as a manual run. Use dag_run.run_after."
    kind = type(error).__name__
    return f"The template of {field} could not be rendered ({kind}{where}).{hint}"


def _reason(error: BaseException) -> str:
    """Return the type of an error, and the name that was not found if it may be shown."""
    if isinstance(error, AirflowRuntimeError) and error.error.error == ErrorType.VARIABLE_NOT_FOUND:
        detail = error.error.detail or {}
        found = _NOT_FOUND.fullmatch(str(detail.get("message", "")))
        return f": there is no Variable{_shown(found[1] if found else detail.get('key'))}"
    if isinstance(error, AirflowNotFoundException) and (found := _NOT_DEFINED.fullmatch(str(error))):
        return f": there is no connection{_shown(found[1])}"
    key = error.args[0] if type(error) is KeyError and len(error.args) == 1 else None
    return f" with {type(error).__name__}{_shown(key) if _stands_in_code(key, error) else ''}"


def _shown(name: object) -> str:
    """Return a name to append, unless it may be a phone number or a text."""
    is_plain = type(name) is str and _PLAIN_NAME.fullmatch(name)
    is_shown = is_plain and sum(map(str.isdigit, str(name))) <= _MAX_DIGITS_OF_A_NAME
    return f" {name!r}" if is_shown else ""


def _stands_in_code(key: object, error: BaseException) -> bool:
    """Return whether a key is a constant of the functions that ran. If not, it comes from data."""
    consts = (
        const for frame, _ in traceback.walk_tb(error.__traceback__) for const in frame.f_code.co_consts
    )
    return type(key) is str and any(
        key == const or (type(const) is tuple and key in const) for const in consts
    )


def _place(error: BaseException, given: object) -> str:
    """Return the file and line of the DAG's code that failed. They hold nothing personal."""
    frames = traceback.extract_tb(error.__traceback__)
    file = given.__code__.co_filename if inspect.isfunction(given) else None
    own = (
        frame
        for frame in reversed(frames)
        if frame.filename == file
        or not ("site-packages" in frame.filename or frame.filename.startswith(_LIBRARIES))
    )
    place = next(own, frames[-1])
    return f"{Path(place.filename).name}, line {place.lineno}"


class _Template:
    """Stands in for the template of a field. Airflow would log the template itself on an error."""

    def __init__(self, hidden: SensitiveValue) -> None:
        self._hidden = hidden

    def __call__(self, **_: Any) -> SensitiveValue:
        return self._hidden

    def __repr__(self) -> str:
        return repr(self._hidden)


class TemplatedFields(_Operator):
    """Template fields that render once, and whose texts stay texts.

    Airflow renders the fields again when a deferred task resumes. By then their functions may return other
    values, or fail, and the task no longer needs them. So a task that resumes keeps the earlier values.
    """

    text_fields: ClassVar[tuple[str, ...]] = ("batch", "idempotency_key", "ledger_conn_id", "sms_conn_id")
    """Template fields, and keys of dicts in them, that stay text even if Airflow renders native objects."""

    # Airflow calls these two methods to render an operator. They are private, and checked on 3.3.2.
    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        if _is_resumed(context):
            # Airflow then keeps the stored view of the rendered fields.
            parent.template_fields = ()
            return
        if parent is self:
            seen_oids.update(id(getattr(self, name)) for name in _mapped_data_fields(self, context))
            self._hide_sensitive_fields(context, jinja_env, seen_oids)
        _put_none_for_missing(parent, template_fields)
        for field in set(template_fields).intersection(self.text_fields):
            value = getattr(parent, field)
            if isinstance(value, str) and id(value) not in seen_oids:
                setattr(parent, field, _TextTemplate(value, jinja_env))
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        _put_none_for_missing(parent, template_fields)

    def _hide_sensitive_fields(
        self, context: Context, jinja_env: jinja2.Environment, seen_oids: set[int]
    ) -> None:
        """Replace personal fields by objects that hide them."""

    def _render(self, template: jinja2.Template, context: Context, dag: DAG | None = None) -> Any:
        rendered = _rendered(template, context)
        if not self._is_native(dag):
            return str(rendered)
        # Airflow's native rendering evaluates any text as Python: it would change 012 and 'Quoted'.
        return _collection_or_text(rendered) if isinstance(rendered, str) else rendered

    def _is_native(self, dag: DAG | None) -> bool:
        of_dag = getattr(dag or self.get_dag(), "render_template_as_native_obj", False)
        own: bool | None = getattr(self, "render_template_as_native_obj", None)
        return of_dag if own is None else own


class SensitiveFields(TemplatedFields):
    """Template fields of an operator whose ``sensitive_fields`` are personal.

    This class is no operator. Airflow would wrap the constructor of one with ``BaseOperator``'s defaults. A
    mapped task has other defaults, and no mapped send could run.
    """

    sensitive_fields: ClassVar[tuple[str, ...]] = ()
    number_fields: ClassVar[tuple[str, ...]] = ()
    """The sensitive fields with numbers. The log warns if they come through an XCom."""

    # Airflow 3.3.2 reads the defaults of a mapped task from the constructors of its classes (apache/airflow
    # #72589). From an inherited one it reads None for `inlets`, which fails the task before it begins.
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def sensitive_value(self, field: str) -> Any:
        """Return the value of a sensitive field: rendered, or as given if Airflow did not render it."""
        value = getattr(self, field)
        return value.value if isinstance(value, SensitiveValue) else value

    def show(self, field: str, words: str) -> None:
        """Let the rendered template view show words in place of a sensitive field.

        Airflow writes the view before it executes a task. It writes it again only because this asks for it:
        fields that were never hidden, because rendering failed, must not be written.

        :param words: nothing personal.
        """
        value = getattr(self, field)
        if isinstance(value, SensitiveValue):
            value.shown = words
            self.overwrite_rtif_after_execution = True

    def is_of_all_instances(self, field: str) -> bool:
        """Return whether the DAG file gives a field as a text or a template, and maps the task over none."""
        value = getattr(self, field)
        return isinstance(value, SensitiveValue) and value.is_of_all

    def render_sensitive_fields(self) -> dict[str, Any]:
        """Return the values of all sensitive fields. One that fails or skips the task does so first."""
        return {field: self.sensitive_value(field) for field in self.sensitive_fields}

    def _hide_sensitive_fields(
        self, context: Context, jinja_env: jinja2.Environment, seen_oids: set[int]
    ) -> None:
        from airflow_provider_winsms.utils.xcom_values import warn_of_xcoms

        def rendered(field: str, value: Any) -> Any:
            if callable(value):
                return value(context=context, jinja_env=jinja_env)
            if _is_plain(value):
                return value
            templates = _Templates(seen_oids, self.text_fields, jinja_env)
            return self.render_template(templates.of(value, field), context, jinja_env, seen_oids)

        warn_of_xcoms(self, self.number_fields, context)
        for field in self.sensitive_fields:
            value = getattr(self, field)
            if value is not None and not isinstance(value, SensitiveValue):
                is_of_all = isinstance(value, str) and not _may_be_mapped_over(self, field, context)
                render = partial(rendered, field, value)
                setattr(self, field, _Template(SensitiveValue(field, value, render, is_of_all=is_of_all)))


class _TextTemplate:
    """A template of text. Airflow resolves it like the output of another task."""

    def __init__(self, template: str, jinja_env: jinja2.Environment) -> None:
        self._template = template
        self._jinja_env = jinja_env

    def __repr__(self) -> str:
        return repr(self._template)

    def resolve(self, context: Context) -> Any:
        """Return the text. ``None`` and collections pass unchanged and are refused later."""
        value = _rendered(self._jinja_env.from_string(self._template), context)
        return value if value is None or isinstance(value, (list, tuple, dict, set)) else str(value)


def _put_none_for_missing(parent: Any, fields: Iterable[str]) -> None:
    """Replace missing values of data frames by ``None``: NA has no truth value, and NaN is no JSON."""
    for field in fields:
        if is_missing(getattr(parent, field)):
            setattr(parent, field, None)


def mapped_task_of(operator: BaseOperator) -> MappedOperator | None:
    """Return the mapped task that an operator is an instance of; ``None`` if it is not mapped."""
    task = operator.dag.task_dict.get(operator.task_id) if operator.has_dag() else None
    return task if isinstance(task, MappedOperator) else None


def _mapped_data_fields(operator: BaseOperator, context: Context) -> Collection[str]:
    """Return the template fields whose values come from another task through ``expand_kwargs``.

    Airflow would render them. It does not render values that come through ``expand``.
    """
    mapped = mapped_task_of(operator)
    rows: Any = getattr(getattr(mapped, "expand_input", None), "value", None)
    if mapped is None or isinstance(rows, Mapping):
        return ()
    index: Any = context["ti"].map_index
    row = rows[index] if isinstance(rows, Sequence) else rows
    if isinstance(row, Mapping):
        return ()
    return set(operator.template_fields).difference(mapped.partial_kwargs)


def _may_be_mapped_over(operator: BaseOperator, field: str, context: Context) -> bool:
    """Return whether the field of an instance of a mapped task may be its own."""
    mapped = mapped_task_of(operator)
    is_instance = getattr(context["ti"], "map_index", 0) not in {-1, None}
    return is_instance and (mapped is None or field not in mapped.partial_kwargs)


def is_mapped_over(operator: BaseOperator, field: str) -> bool:
    """Return whether a task is mapped over one field alone, with ``expand``."""
    values: Any = getattr(getattr(mapped_task_of(operator), "expand_input", None), "value", None)
    return isinstance(values, Mapping) and set(values) == {field}


def _is_resumed(context: Context) -> bool:
    """Return whether the task resumes after it deferred. Airflow has no public attribute for it."""
    from_server = getattr(context["ti"], "_ti_context_from_server", None)
    return bool(getattr(from_server, "next_method", None))


def _rendered(template: jinja2.Template, context: Context) -> Any:
    """Render a template to text, or to the single value that a native environment returns.

    As in Airflow, the context is not converted to a dict.
    """
    environment = template.environment
    values: Any = copy.copy(context)
    values.update((name, value) for name, value in template.globals.items() if name not in values)
    root = environment.context_class(environment, values, template.name, template.blocks)
    try:
        nodes = list(template.root_render_func(root))
    except Exception:  # noqa: BLE001 - `handle_exception` raises it with a traceback into the template
        environment.handle_exception()
    if len(nodes) == 1 and not isinstance(nodes[0], jinja2.Undefined):
        return nodes[0]
    return "".join(map(str, nodes))


def _collection_or_text(text: str) -> Any:
    """Return the list, tuple, dict or set that a text denotes, and any other text unchanged."""
    if not text.lstrip().startswith(("[", "{", "(")):
        return text
    value = native_concat([text])
    return value if isinstance(value, (list, tuple, dict, set)) else text


def is_computed(given: object) -> bool:
    """Return whether a function, a task or a template computes a parameter when the task runs."""
    if isinstance(given, str):
        return "{{" in given or "{%" in given
    if isinstance(given, Mapping):
        return any(map(is_computed, given.values()))
    if isinstance(given, (list, tuple)):
        return any(map(is_computed, given))
    return callable(given) or hasattr(given, "resolve") or hasattr(given, "__next__")


def _is_plain(value: Any) -> bool:
    """Return whether a list holds only texts without templates. Rendering 100,000 numbers takes seconds."""
    return isinstance(value, list) and all(isinstance(item, str) and "{" not in item for item in value)


class _Templates(NamedTuple):
    """Converts iterables to lists and dicts: Airflow renders nothing in a generator.

    :param resolved: the ``id()`` of each value that came from another task. It holds no templates.
    :param text_fields: fields, and keys of dicts, whose templates are text.
    """

    resolved: set[int]
    text_fields: tuple[str, ...]
    jinja_env: jinja2.Environment

    def of(self, value: Any, field: object = None) -> Any:
        """Return a value of a field or a key in a form that Airflow can render."""
        if (
            id(value) in self.resolved
            or isinstance(value, bytes)
            or hasattr(value, "resolve")
            or is_table(value)
        ):
            return value
        if isinstance(value, str):
            return _TextTemplate(value, self.jinja_env) if field in self.text_fields else value
        if isinstance(value, Mapping):
            return {key: self.of(item, key) for key, item in value.items()}
        if isinstance(value, tuple):
            return tuple(self.of(item) for item in value)
        return [self.of(item) for item in value] if isinstance(value, Iterable) else value
