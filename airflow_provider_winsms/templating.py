"""Template fields, above all those that hold personal data: rendered for the task, shown to nobody.

Airflow stores the rendered value of each template field for its web page, and logs the template when
rendering fails. A sealed field is templated as any other, and stands in both places as ``(not shown)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import jinja2
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_winsms.exceptions import InvalidMessage

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

    def __init__(self, field: str, render: Callable[[], Any]) -> None:
        self._field = field
        self._render = render

    def __call__(self, **_: Any) -> Sealed:
        try:
            return Sealed(self._render())
        except jinja2.TemplateError as error:
            # A syntax error's own text quotes the template.
            reason = f"{type(error).__name__}: {error.message}"
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may quote the field
            reason = type(error).__name__
        msg = f"The template of `{self._field}` could not be rendered ({reason})."
        raise InvalidMessage(msg)

    def __repr__(self) -> str:
        return "(not shown)"


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
                setattr(parent, field, _Template(field, template_of(value)))
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)


def _is_plain(value: Any) -> bool:
    """Whether a list holds text without a template: rendering 100,000 numbers one by one takes seconds."""
    return isinstance(value, list) and all(isinstance(item, str) and "{" not in item for item in value)
