"""Statements as named text with named parameters, compiled once for the database at hand."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, text
from sqlalchemy.types import UserDefinedType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import BindParameter, Dialect
    from sqlalchemy.sql.compiler import SQLCompiler

_PARAMETER = re.compile(r":(\w+)")

_AT_ONCE = 128
"""The number of statements that a compiler remembers. A statement for many rows takes milliseconds."""


class NamedStatement(NamedTuple):
    """One statement.

    :param step: names its purpose, for an error.
    :param sql: its text. ``:name`` is a parameter; ``{name}`` is a word that the compiler knows.
    """

    step: str
    sql: str

    def with_word(self, name: str, sql: str) -> NamedStatement:
        """Return the statement with a word filled in."""
        return self._replace(sql=self.sql.replace(f"{{{name}}}", sql))


class _Integers(UserDefinedType[Any]):
    """Whole numbers as text of the statement."""

    cache_ok = True

    def literal_processor(self, dialect: Dialect) -> Callable[[Iterable[int]], str]:  # noqa: ARG002 - all alike
        return lambda values: ", ".join([str(int(value)) for value in values])


def value_list(name: str) -> BindParameter[Any]:
    """Return a parameter that is a list of values, for ``IN :name``."""
    return bindparam(name, expanding=True)


def integer_list(name: str) -> BindParameter[Any]:
    """Return a parameter that is whole numbers in the text, for ``IN (:name)`` and ``LIMIT :name``.

    Drivers handle them faster than other parameters, and a planner knows them.
    """
    return bindparam(name, type_=_Integers(), literal_execute=True)


class StatementCompiler:
    """Compiles statements for one database, each of them once.

    :param words: the words in the statements, such as the quoted names of tables.
    :param lists: the parameters that are lists.
    """

    def __init__(
        self, dialect: Dialect, words: Mapping[str, str], lists: Iterable[BindParameter[Any]]
    ) -> None:
        self._dialect = dialect
        self._words = words
        self._lists = {parameter.key: parameter for parameter in lists}
        self._compiled = lru_cache(maxsize=_AT_ONCE)(self._compile)

    def ready(self, statement: NamedStatement, values: dict[str, Any]) -> tuple[str, Sequence[Any]]:
        """Return the text of a statement for the driver, and its parameters in their order.

        :param values: by the names of the parameters, as the driver takes them.
        """
        state = self._compiled(statement).construct_expanded_state(values)
        return state.statement, state.positional_parameters

    def _compile(self, statement: NamedStatement) -> SQLCompiler:
        sql = statement.sql.format_map(self._words)
        lists = [self._lists[name] for name in {*_PARAMETER.findall(sql)} & self._lists.keys()]
        return text(sql).bindparams(*lists).compile(dialect=self._dialect)
