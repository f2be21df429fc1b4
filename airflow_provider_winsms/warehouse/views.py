"""Makes the views over the tables that ``SmsToSqlOperator`` loads."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, LoadFailed
from airflow_provider_winsms.options import check_identifier
from airflow_provider_winsms.sql.compiler import dialect_of, quoted
from airflow_provider_winsms.sql.connection import Database
from airflow_provider_winsms.sql.dialects import DIALECTS, STANDARD
from airflow_provider_winsms.sql.errors import NotOpened
from airflow_provider_winsms.warehouse.view_queries import NEEDED_COLUMNS, VIEWS, words_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_winsms.sql.errors import Refusal
    from airflow_provider_winsms.warehouse.view_queries import View

HISTORY_SUFFIX = "_history"
"""The suffix of the history table's name, after the name of the table of opt-outs."""

_DATASETS = {
    "deliveries": "deliveries",
    "incoming": "incoming",
    "opt_outs": "opt_outs",
    "history": "opt_outs",
}


@dataclass(frozen=True, slots=True)
class SourceTables:
    """The checked names of the tables.

    :param deliveries: the table of the dataset ``deliveries``.
    :param incoming: the table of ``incoming``; ``None``: there is none.
    :param opt_outs: the table of ``opt_outs``, whose history is beside it; ``None``: there is none.
    :param schema: their schema; ``None``: the connection's default.
    :raises InvalidMessage: if a name is not a plain identifier.
    """

    deliveries: str
    incoming: str | None = None
    opt_outs: str | None = None
    schema: str | None = None

    def __post_init__(self) -> None:
        check_identifier("deliveries", self.deliveries)
        for parameter in ("incoming", "opt_outs", "schema"):
            if getattr(self, parameter) is not None:
                check_identifier(parameter, getattr(self, parameter))
        for name in self.names.values():
            check_identifier("the history of opt_outs", name)

    @property
    def names(self) -> dict[str, str]:
        """The name of each given table, by the word for it in the SQL of the views."""
        history = None if self.opt_outs is None else self.opt_outs + HISTORY_SUFFIX
        given = {
            "deliveries": self.deliveries,
            "incoming": self.incoming,
            "opt_outs": self.opt_outs,
            "history": history,
        }
        return {word: name for word, name in given.items() if name is not None}


_CANNOT_REPLACE = "42P16"
_DEPENDED_ON = "2BP01"


class ViewSet:
    """The views over some tables, as statements.

    :param conn_type: the type of the connection, which says which database.
    :param prefix: the beginning of the views' names.
    :raises ConfigurationError: if the figures are not tested in the database.
    :raises InvalidMessage: if the prefix cannot begin a name, or a view would have the name of a table.
    """

    def __init__(self, conn_type: str, tables: SourceTables, prefix: str) -> None:
        self._ways = _ways_of(conn_type)
        self._core = dialect_of(conn_type)
        self.tables = tables
        self.prefix = prefix
        self._check_names()

    @property
    def views(self) -> tuple[View, ...]:
        """The views whose tables are given."""
        return tuple(view for view in VIEWS if self.tables.names.keys() >= set(view.tables))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the views."""
        return tuple(self.prefix + view.name for view in self.views)

    @property
    def ways(self) -> range:
        """The ways to make a view; a later one is for views that the first cannot replace."""
        return range(len(self._ways))

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table or a view, with its schema."""
        schema = () if self.tables.schema is None else (self.tables.schema,)
        return quoted(self._core, *schema, name)

    def statements(self, way: int = -1) -> Iterator[tuple[str, str]]:
        """Yield the name of a view and a statement that makes or replaces it, for every view."""
        tables = {word: self.qualified(name) for word, name in self.tables.names.items()}
        for view in self.views:
            query = view.query.format(**tables, **words_for(self._core))
            name = self.prefix + view.name
            for statement in self._ways[way]:
                yield name, statement.format(view=self.qualified(name), query=query)

    def _check_names(self) -> None:
        if not isinstance(self.prefix, str):
            check_identifier("view_prefix", self.prefix)
        for name in self.names:
            check_identifier("view_prefix", name)
            # Some databases ignore upper and lower case.
            if name.lower() in {table.lower() for table in self.tables.names.values()}:
                msg = f"The view {name} would have the name of a table. Give another `view_prefix`."
                raise InvalidMessage(msg)


def create_views(hook: DbApiHook, tables: SourceTables, prefix: str) -> tuple[str, ...]:
    """Make or replace the views whose tables are given, and return their names.

    :raises ConfigurationError: if the figures are untested in the database, or a table or column is missing.
    :raises InvalidMessage: if the prefix cannot begin a name, or a view would have the name of a table.
    :raises LoadFailed: if the database refuses a statement.
    """
    with closing(Database(hook, lambda refusal: _refused(refusal, prefix))) as database:
        views = ViewSet(hook.conn_type, tables, prefix)
        database.open()
        _check_tables(database, views)
        _create(database, views)
    return views.names


def _create(database: Database, views: ViewSet) -> None:
    for way in views.ways:
        try:
            database.transact(partial(_run, database, views, way))
        except LoadFailed as error:
            if error.code != _CANNOT_REPLACE or way == views.ways[-1]:
                raise
        else:
            return


def _run(database: Database, views: ViewSet, way: int) -> None:
    database.lock(f"{views.prefix}views")
    for name, statement in views.statements(way):
        database.execute(f"create the view {name}", statement)


def _check_tables(database: Database, views: ViewSet) -> None:
    """Check that the tables have the columns that the views read.

    :raises ConfigurationError: if a table or a column is missing.
    """
    found = {word: _columns(database, views, name) for word, name in views.tables.names.items()}
    missing = [word for word, columns in found.items() if columns is None]
    if missing:
        schema = f"{views.tables.schema}." if views.tables.schema else ""
        tables = " and ".join(f"{schema}{views.tables.names[word]} ({_DATASETS[word]})" for word in missing)
        msg = (
            f"There is no table {tables}, or the connection may not read it. Load it first: SmsToSqlOperator "
            "with that `dataset` and the same `schema` creates the table."
        )
        raise ConfigurationError(msg)
    for word, columns in found.items():
        lacking = [column for column in NEEDED_COLUMNS[word] if column not in (columns or ())]
        if lacking:
            msg = (
                f"The table {views.tables.names[word]} lacks {', '.join(lacking)}. Load it once more: "
                f"SmsToSqlOperator with dataset={_DATASETS[word]!r} adds what is missing."
            )
            raise ConfigurationError(msg)


def _columns(database: Database, views: ViewSet, name: str) -> set[str] | None:
    step = f"read the columns of {name}"
    try:
        return database.transact(lambda: database.columns(step, views.qualified(name)))
    except _DatabaseLost:
        raise
    except LoadFailed:
        return None


def _ways_of(conn_type: str) -> tuple[tuple[str, ...], ...]:
    """Return the ways to make or replace a view."""
    ways = DIALECTS.get(conn_type, STANDARD).views
    if not ways:
        msg = (
            "The views are made in PostgreSQL, MySQL, MariaDB, SQLite and DuckDB, where their figures are "
            f"tested; the connection has the type {conn_type!r}. Another database may count days and times "
            "differently."
        )
        raise ConfigurationError(msg)
    return ways


_RIGHTS = (
    "The connection's user needs SELECT on the tables, the right to create views in their schema, "
    "and to own those that it replaces."
)


class _DatabaseLost(LoadFailed):
    """The database cannot be connected to."""


def _refused(refusal: Refusal, prefix: str) -> LoadFailed:
    kind = _DatabaseLost if isinstance(refusal, NotOpened) else LoadFailed
    message = refusal.message(f"views {prefix}*", _hint(refusal))
    return kind(message, refusal.kind, refusal.code, is_permanent=refusal.needs_a_person)


def _hint(refusal: Refusal) -> str:
    if refusal.code == _DEPENDED_ON:
        return "Other views are built on it, and its columns changed: drop those first. The old views stand."
    return refusal.hint(_RIGHTS, "A repeat is safe.")
