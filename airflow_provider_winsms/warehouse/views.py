"""Makes the views, over the tables that ``SmsToSqlOperator`` loads, or over a ledger."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import column, func, select

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, LoadFailed
from airflow_provider_winsms.ledger.schema import BATCHES, MESSAGES
from airflow_provider_winsms.options import check_identifier, check_prefix, zone_of
from airflow_provider_winsms.sql.compiler import dialect_of, quoted
from airflow_provider_winsms.sql.connection import Database
from airflow_provider_winsms.sql.dialects import DIALECTS, STANDARD
from airflow_provider_winsms.sql.errors import NotOpened
from airflow_provider_winsms.sql.tables import table_of
from airflow_provider_winsms.warehouse.datasets import KEY_ID, MASKED
from airflow_provider_winsms.warehouse.view_queries import (
    DELIVERIES_OF_LEDGER,
    NEEDED_COLUMNS,
    VIEWS,
    words_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlalchemy import ColumnElement, Table

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
"""The datasets of loaded tables, by the words for the tables. A table of a ledger has none."""


@dataclass(frozen=True, slots=True)
class SourceTables:
    """The checked names of the tables. Either ``deliveries`` or ``ledger_prefix`` is given.

    :param deliveries: the table of the dataset ``deliveries``.
    :param incoming: the table of ``incoming``; ``None``: there is none.
    :param opt_outs: the table of ``opt_outs``, whose history is beside it; ``None``: there is none.
    :param schema: their schema; ``None``: the connection's default.
    :param ledger_prefix: the prefix of a ledger, whose tables take the place of ``deliveries``.
    :raises InvalidMessage: if a name is not a plain identifier, or both or neither of the two are given.
    """

    deliveries: str | None = None
    incoming: str | None = None
    opt_outs: str | None = None
    schema: str | None = None
    ledger_prefix: str | None = None

    def __post_init__(self) -> None:
        if (self.deliveries is None) is (self.ledger_prefix is None):
            found = "Both are given." if self.deliveries is not None else "Neither is given."
            msg = (
                "Give either `deliveries`, the table that a load of that dataset fills, or `ledger_prefix`, "
                f"the prefix of the ledger that the sends write. {found}"
            )
            raise InvalidMessage(msg)
        for parameter in ("deliveries", "incoming", "opt_outs", "schema"):
            if getattr(self, parameter) is not None:
                check_identifier(parameter, getattr(self, parameter))
        if self.ledger_prefix is not None:
            check_prefix("ledger_prefix", self.ledger_prefix)
        for name in self.names.values():
            check_identifier("the history of opt_outs", name)

    @property
    def names(self) -> dict[str, str]:
        """The name of each given table, by the word for it in the SQL of the views."""
        prefix = self.ledger_prefix
        given = {
            "deliveries": self.deliveries,
            "messages": None if prefix is None else prefix + MESSAGES.name,
            "batches": None if prefix is None else prefix + BATCHES.name,
            "incoming": self.incoming,
            "opt_outs": self.opt_outs,
            "history": None if self.opt_outs is None else self.opt_outs + HISTORY_SUFFIX,
        }
        return {word: name for word, name in given.items() if name is not None}


_CANNOT_REPLACE = "42P16"
_DEPENDED_ON = "2BP01"


class ViewSet:
    """The views over some tables, as statements.

    :param conn_type: the type of the connection, which says which database.
    :param prefix: the beginning of the views' names.
    :param zone: the time zone of days.
    :raises ConfigurationError: if the figures are not tested in the database.
    :raises InvalidMessage: if the prefix cannot begin a name, or a view would have the name of a table.
    """

    def __init__(self, conn_type: str, tables: SourceTables, prefix: str, zone: tzinfo = UTC) -> None:
        self._ways = _ways_of(conn_type)
        self._core = dialect_of(conn_type)
        self.tables = tables
        self.prefix = prefix
        self._zone = zone
        self._check_names()

    @property
    def views(self) -> tuple[View, ...]:
        """The views whose tables are given."""
        return tuple(view for view in VIEWS if {"deliveries", *self.tables.names} >= set(view.tables))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the views."""
        return tuple(self.prefix + view.name for view in self.views)

    @property
    def ways(self) -> range:
        """The ways to make a view; a later one is for views that the first cannot replace."""
        return range(len(self._ways))

    def table(self, name: str) -> Table:
        """Return a table or a view, without its columns."""
        schema = () if self.tables.schema is None else (self.tables.schema,)
        return table_of((*schema, name), ())

    def _qualified(self, name: str) -> str:
        """Return the quoted name of a table or a view, with its schema."""
        return quoted(self.table(name), self._core)

    def statements(self, way: int = -1) -> Iterator[tuple[str, str]]:
        """Yield the name of a view and a statement that makes or replaces it, for every view."""
        words = {**words_for(self._core, self._zone), **self._sources}
        for view in self.views:
            query = view.query.format(**words)
            name = self.prefix + view.name
            for statement in self._ways[way]:
                yield name, statement.format(view=self._qualified(name), query=query)

    @property
    def _sources(self) -> dict[str, str]:
        """What the words for tables stand for."""
        names = {word: self._qualified(name) for word, name in self.tables.names.items()}
        if self.tables.deliveries is None:
            names["deliveries"] = DELIVERIES_OF_LEDGER.format(**names, and_if="")
        return names

    def _check_names(self) -> None:
        if not isinstance(self.prefix, str):
            check_identifier("view_prefix", self.prefix)
        for name in self.names:
            check_identifier("view_prefix", name)
            # Some databases ignore upper and lower case.
            if name.lower() in {table.lower() for table in self.tables.names.values()}:
                msg = f"The view {name} would have the name of a table. Give another `view_prefix`."
                raise InvalidMessage(msg)


def create_views(
    hook: DbApiHook, tables: SourceTables, prefix: str, time_zone: str = "UTC"
) -> tuple[str, ...]:
    """Make or replace the views whose tables are given, and return their names.

    :param time_zone: the IANA name of the time zone of days.
    :raises ConfigurationError: if the figures are untested in the database, or a table or column is missing.
    :raises InvalidMessage: if the prefix cannot begin a name, or a view would have the name of a table.
    :raises LoadFailed: if the database refuses a statement.
    """
    zone = zone_of(time_zone)
    with closing(Database(hook, lambda refusal: _refused(refusal, prefix))) as database:
        views = ViewSet(hook.conn_type, tables, prefix, zone)
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
    names = views.tables.names
    found = {word: _columns(database, views, name) for word, name in names.items()}
    if missing := [word for word, columns in found.items() if columns is None]:
        schema = f"{views.tables.schema}." if views.tables.schema else ""
        tables = " and ".join(f"{schema}{names[word]} ({_DATASETS.get(word, 'ledger')})" for word in missing)
        way_out = _LOAD_FIRST if missing[0] in _DATASETS else _SEND_FIRST
        msg = f"There is no table {tables}, or the connection may not read it. {way_out}"
        raise ConfigurationError(msg)
    for word, columns in found.items():
        lacking = [column for column in NEEDED_COLUMNS[word] if column not in (columns or ())]
        if lacking:
            way_out = _LOAD_AGAIN.format(_DATASETS[word]) if word in _DATASETS else _SEND_AGAIN
            msg = f"The table {names[word]} lacks {', '.join(lacking)}. {way_out}"
            raise ConfigurationError(msg)
        if KEY_ID in NEEDED_COLUMNS[word]:
            _refuse_masks(database, views, names[word])


def _refuse_masks(database: Database, views: ViewSet, name: str) -> None:
    """Refuse a table with masked numbers: the views would take the people with one mask for one person.

    :raises ConfigurationError: if the table has masked numbers.
    """
    key_id: ColumnElement[str] = column(KEY_ID)
    query = select(func.count()).select_from(views.table(name)).where(key_id == MASKED)
    ((masked,),) = database.transact(lambda: database.rows(f"look for masks in {name}", query))
    if masked:
        msg = (
            f"The table {name} has masked numbers, which the views cannot compare. Load it with "
            'privacy="none" or privacy="keyed_hash" into another table, and make the views over that one.'
        )
        raise ConfigurationError(msg)


_LOAD_FIRST = "Load it first: SmsToSqlOperator with that `dataset` and the same `schema` creates the table."
_SEND_FIRST = (
    "The first send with that `ledger_prefix` creates the tables of a ledger, in the default schema."
)
_LOAD_AGAIN = "Load it once more: SmsToSqlOperator with dataset={!r} adds what is missing."
_SEND_AGAIN = "The next send with that ledger fails, and its error says how to add what is missing."


def _columns(database: Database, views: ViewSet, name: str) -> set[str] | None:
    step = f"read the columns of {name}"
    try:
        return database.transact(lambda: database.columns(step, views.table(name)))
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
