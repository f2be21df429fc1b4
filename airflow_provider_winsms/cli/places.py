"""The places that may hold something on a person: ledgers, and tables that loads fill."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.ledger.database import LedgerDatabase
from airflow_provider_winsms.ledger.person import PersonalMessages
from airflow_provider_winsms.ledger.schema import RESERVATIONS
from airflow_provider_winsms.warehouse.person import open_personal_rows
from airflow_provider_winsms.warehouse.relations import TableName

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_winsms.ledger.person import Person
    from airflow_provider_winsms.warehouse.person import PersonalRows


class Finding(NamedTuple):
    """What a place holds on one person.

    :param rows: by the name of the place; a table of opt-outs has its history beside it.
    :param other_keys: the ids of keys under which numbers are hashed that could not be searched.
    """

    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    other_keys: Sequence[str]

    def __repr__(self) -> str:
        """Show no row."""
        return "Finding()"


class Place(Protocol):
    """One ledger, or one table. Each method opens a connection of its own."""

    def find(self, person: Person) -> Finding:
        """Return what it holds on a person."""

    def forget(self, person: Person) -> Mapping[str, int]:
        """Take number and texts of a person out, in one transaction; return the number of rows."""


@dataclass(frozen=True, slots=True)
class LedgerPlace:
    """A ledger in tables."""

    conn_id: str
    prefix: str

    @property
    def name(self) -> str:
        """Its name in the output."""
        return f"ledger {self.conn_id}:{self.prefix}"

    def find(self, person: Person) -> Finding:
        """Return the texts to a person."""
        with self._open() as messages:
            reserved = messages.reservations(person)
            rows = {self.name: messages.rows(person), **({self._reservations: reserved} if reserved else {})}
            return Finding(rows, messages.other_keys(person))

    def forget(self, person: Person) -> Mapping[str, int]:
        """Take number and texts out of its rows."""
        with self._open() as messages:
            rows = messages.forget(person)
        reserved = {self._reservations: rows.reserved} if rows.reserved else {}
        return {self.name: rows.sent, **reserved}

    @property
    def _reservations(self) -> str:
        """The name of its reservations in the output."""
        return f"{self.name}{RESERVATIONS.name}"

    @contextmanager
    def _open(self) -> Iterator[PersonalMessages]:
        with LedgerDatabase(sql_hook(self.conn_id), self.prefix, must_exist=True) as database:
            yield PersonalMessages(database)


@dataclass(frozen=True, slots=True)
class TablePlace:
    """A table that loads fill, with its history if it has one."""

    conn_id: str
    table: TableName

    def find(self, person: Person) -> Finding:
        """Return the rows on a person."""
        with self._open() as table:
            return Finding(self._named(table.rows(person)), table.other_keys(person))

    def forget(self, person: Person) -> Mapping[str, int]:
        """Take number and texts out of its rows."""
        with self._open() as table:
            return self._named(table.forget(person))

    @contextmanager
    def _open(self) -> Iterator[PersonalRows]:
        with open_personal_rows(sql_hook(self.conn_id), self.table) as table:
            yield table

    def _named(self, of_table: Mapping[str, Any]) -> dict[str, Any]:
        return {f"table {self.conn_id}:{name}": value for name, value in of_table.items()}


def places_of(args: Namespace) -> list[Place]:
    """Return the places that the arguments name, each once: ledgers first, as loads copy from them.

    :raises InvalidMessage: if they name none, or a table by no name of one.
    """
    ledgers = (LedgerPlace(*ledger) for ledger in args.ledgers or ())
    tables = map(_table_place, args.tables or ())
    places: list[Place] = list(dict.fromkeys((*ledgers, *tables)))
    if not places:
        msg = "No place is named. Give --ledger-conn-id, --table, or both."
        raise InvalidMessage(msg)
    return places


def _table_place(given: str) -> TablePlace:
    conn_id, _, name = given.rpartition(":")
    schema, _, table = name.rpartition(".")
    if not conn_id:
        msg = f"--table must be CONN_ID:TABLE or CONN_ID:SCHEMA.TABLE; got {given!r}."
        raise InvalidMessage(msg)
    return TablePlace(conn_id, TableName(table, schema or None))
