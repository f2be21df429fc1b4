"""A text with the values of a row: a Jinja template whose variables are the columns of a query.

It is no template of Airflow's. It sees the row and nothing else, in a sandbox. A value is data: a customer
named ``{{ 7 * 7 }}`` is called so in the text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from airflow_provider_winsms.exceptions import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Template


_UNKNOWN_NAME = re.compile(r"No (filter|test) named '[A-Za-z_]\w*'\.", re.ASCII)
"""The errors that quote nothing of the text."""


class _MissingValue(Exception):  # noqa: N818 - it names what the template met
    """The text would show a value that is missing."""


def _shown_value(value: Any) -> Any:
    """Refuse what a text would show as ``None`` or ``nan``."""
    if value is None or value != value:  # noqa: PLR0124 - NaN alone
        raise _MissingValue
    return value


_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined,
    autoescape=False,
    finalize=_shown_value,
)
# Only columns are variables: a missing column `dict` must not be Python's.
_ENVIRONMENT.globals.clear()


class RowTemplate:
    """A template of the texts of rows.

    :ivar columns: the columns that it uses.
    :raises InvalidMessage: if the template is wrong; the error names the line.
    """

    def __init__(self, source: str) -> None:
        try:
            tree = _ENVIRONMENT.parse(source)
            self.columns = frozenset(meta.find_undeclared_variables(tree))
            others = any(True for _ in meta.find_referenced_templates(tree))
            self._template: Template = _ENVIRONMENT.from_string(source)
        except TemplateSyntaxError as error:
            why = error.message if _UNKNOWN_NAME.fullmatch(error.message or "") else "Correct its syntax."
            msg = f"`text` is no valid template, in line {error.lineno}. {why}"
            raise InvalidMessage(msg) from None
        except RecursionError:
            msg = "`text` is no valid template: it is nested too deeply."
            raise InvalidMessage(msg) from None
        if others:
            msg = "`text` refers to another template. It may use the columns of its row only."
            raise InvalidMessage(msg)

    def rendered(self, row: Mapping[str, Any]) -> str:
        """Return the text of a row.

        :param row: the value of each column that the template uses.
        :raises InvalidMessage: if the row lacks a value, or an expression fails.
        """
        template = self._template
        try:
            return "".join(template.root_render_func(template.new_context(row, shared=True)))  # type: ignore[arg-type] # only read
        except MemoryError:
            raise
        except _MissingValue:
            msg = _missing_value([name for name, value in row.items() if value is None or value != value])  # noqa: PLR0124 - as above
        # The text of an error may quote a value.
        except Exception as error:  # noqa: BLE001 - an expression may raise anything
            msg = f"The template `text` fails for it ({type(error).__name__}; the error may quote a value)."
        raise InvalidMessage(msg)


def _missing_value(columns: list[str]) -> str:
    named = " or ".join(f"`{name}`" for name in sorted(columns)) or "an expression"
    return (
        f"The text would show a missing value, of {named}. Give one in the template, such as "
        "{{ name or 'customer' }}, or leave the row out of the query."
    )


@lru_cache(maxsize=256)
def row_template(source: str) -> RowTemplate:
    """Return the compiled template of a source.

    :raises InvalidMessage: if it is wrong.
    """
    return RowTemplate(source)


def check_row_template(name: str, source: object) -> None:
    """Check that a parameter is a template of texts.

    :raises InvalidMessage: it is not.
    """
    if not isinstance(source, str) or not source.strip():
        what = "empty" if isinstance(source, str) else f"of type {type(source).__name__}"
        msg = f"`{name}` is {what}. Give a text, or a template whose variables are the columns of the query."
        raise InvalidMessage(msg)
    row_template(source)
