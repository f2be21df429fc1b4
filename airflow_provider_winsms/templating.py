"""Template fields, above all those that hold personal data: rendered for the task, kept out of view and log.

Airflow stores the rendered value of each template field for its web page, and logs the template when
rendering fails. A sealed field is templated as any other, and stands in both places as ``(not shown)``.
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import jinja2
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_provider_winsms.airflow_errors import as_airflow
from airflow_provider_winsms.exceptions import InvalidMessage, TemplateFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow.providers.common.compat.sdk import Context, XComArg

    T = TypeVar("T")

    Templated: TypeAlias = T | XComArg | Callable[..., T]
    """A value, what another task returned, or a function that Airflow calls when it renders the task."""


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
        except jinja2.TemplateError as error:
            # The text of a syntax error quotes the template; its message does not.
            wrong = as_airflow(InvalidMessage(self._wrong_template(error)), AirflowFailException)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may quote the field
            wrong = TemplateFailed(self._failed(error))
        raise wrong

    def __repr__(self) -> str:
        return "(not shown)"

    def _wrong_template(self, error: jinja2.TemplateError) -> str:
        hint = " A run without a logical date has no ds and the like; it has dag_run.run_after."
        missing_date = re.search(r"'(ds|ts|logical_date|data_interval)", error.message or "")
        return (
            f"The template of `{self._field}` could not be rendered "
            f"({type(error).__name__}: {error.message}).{hint if missing_date else ''}"
        )

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
        def template_of(value: Any) -> Callable[[], Any]:
            if callable(value):
                return lambda: value(context=context, jinja_env=jinja_env)
            if _is_plain(value):
                return lambda: value
            return lambda: self.render_template(value, context, jinja_env, seen_oids)

        for field in self.sealed_fields:
            value = getattr(parent, field)
            if value and not isinstance(value, Sealed):
                setattr(parent, field, _Template(field, value, template_of(value)))
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)


def _is_plain(value: Any) -> bool:
    """Whether a list holds text without a template: rendering 100,000 numbers one by one takes seconds."""
    return isinstance(value, list) and all(isinstance(item, str) and "{" not in item for item in value)
