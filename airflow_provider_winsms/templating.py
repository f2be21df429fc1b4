"""Template fields, above all those that hold personal data: rendered for the task, kept out of view and log.

Airflow stores the rendered value of each template field for its web page, and logs the template when
rendering fails. A sealed field is templated as any other, and stands in both places as ``(not shown)``.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import jinja2
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator

from airflow_provider_winsms.airflow_errors import as_airflow
from airflow_provider_winsms.exceptions import InvalidMessage, TemplateFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import Context, XComArg

    T = TypeVar("T")

    Templated: TypeAlias = T | XComArg | Callable[..., T]
    """A value, what another task returned, or a function that Airflow calls when it renders the task."""


_UNDEFINED = re.compile(r"'([A-Za-z_]\w*)' is undefined")
_OF_THE_LOGICAL_DATE = ("ds", "ts", "logical_date", "data_interval")


class Sealed:
    """A value whose text shows nothing of it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "(not shown)"


class _Template:
    """What Airflow's templating calls in place of a field's own template, which it would log on an error."""

    def __init__(self, field: str, given: Any, render: Callable[[], Any]) -> None:
        self._field = field
        self._given = given
        self._render = render

    def __call__(self, **_: Any) -> Sealed:
        try:
            return Sealed(self._render())
        except (AirflowSkipException, AirflowFailException):
            raise
        except jinja2.TemplateError as error:
            wrong = as_airflow(InvalidMessage(self._wrong_template(error)), AirflowFailException)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may quote the field
            wrong = TemplateFailed(self._failed(error))
        raise wrong

    def __repr__(self) -> str:
        return "(not shown)"

    def _wrong_template(self, error: jinja2.TemplateError) -> str:
        """Name the error; its own text may quote the template, or a key that was looked up."""
        undefined = _UNDEFINED.fullmatch(error.message or "")
        where = f": {undefined[0]}" if undefined else ""
        where = f" in line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else where
        hint = ""
        if undefined and undefined[1].startswith(_OF_THE_LOGICAL_DATE):
            hint = " A run without a logical date, as a manual one, has none; use dag_run.run_after."
        kind = type(error).__name__
        return f"The template of `{self._field}` could not be rendered ({kind}{where}).{hint}"

    def _failed(self, error: Exception) -> str:
        """Name the function and its line that failed; unlike the error's text they hold nothing personal."""
        what = f"The function {self._given.__name__!r}" if hasattr(self._given, "__name__") else "The value"
        return (
            f"{what} given for `{self._field}` failed with {type(error).__name__} ({self._place(error)}; its "
            "text is not shown, as it may hold numbers). A function is called with context= and jinja_env=; "
            "the run's values are in context, such as context['dag_run']."
        )

    def _place(self, error: Exception) -> str:
        frames = traceback.extract_tb(error.__traceback__)
        file = getattr(getattr(self._given, "__code__", None), "co_filename", None)
        place = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
        return f"{Path(place.filename).name}, line {place.lineno}"


class SealedFieldsOperator(BaseOperator):
    """An operator of whose ``template_fields`` the ``sealed_fields`` are personal."""

    sealed_fields: ClassVar[tuple[str, ...]] = ()

    def unsealed(self, field: str) -> Any:
        """Return the value of a sealed field: rendered, or as given where Airflow did not render."""
        value = getattr(self, field)
        return value.value if isinstance(value, Sealed) else value

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        # Airflow's own means for an operator that renders in its own way; private, and checked on 3.3.2.
        def template_of(value: Any) -> Callable[[], Any]:
            if callable(value):
                return lambda: value(context=context, jinja_env=jinja_env)
            if _is_plain(value):
                return lambda: value
            return lambda: self.render_template(_listed(value, seen_oids), context, jinja_env, seen_oids)

        for field in self.sealed_fields:
            value = getattr(parent, field)
            if value is not None and not isinstance(value, Sealed):
                setattr(parent, field, _Template(field, value, template_of(value)))
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)


def _is_plain(value: Any) -> bool:
    """Whether a list holds text without a template: rendering 100,000 numbers one by one takes seconds."""
    return isinstance(value, list) and all(isinstance(item, str) and "{" not in item for item in value)


def _listed(value: Any, resolved: set[int]) -> Any:
    """Put lists and dicts for whatever else can be walked through: Airflow renders nothing in a generator.

    :param resolved: the ids of values that came from other tasks, which hold no templates.
    """
    if id(value) in resolved or isinstance(value, (str, bytes)) or hasattr(value, "resolve"):
        return value
    if isinstance(value, Mapping):
        return {key: _listed(item, resolved) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_listed(item, resolved) for item in value)
    return [_listed(item, resolved) for item in value] if isinstance(value, Iterable) else value
