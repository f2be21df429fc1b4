"""A database that no test can run: its hook and its driver, which keep the statements of loads."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Self

_CREATE = re.compile(r"\s*CREATE TABLE (?:IF NOT EXISTS )?(\S+) \(")
_COLUMN = re.compile(r"^\t[\"\[](\w+)[\"\]] ", re.MULTILINE)
_ADD = re.compile(r"ALTER TABLE (\S+) ADD [\"\[](\w+)[\"\]]")
_LOOK = re.compile(r"SELECT \*\s+FROM (\S+)\s+WHERE 1 = 0")

_ANSWERS: tuple[tuple[str, list[tuple[Any, ...]]], ...] = (
    # A number is staged twice, so that one of its rows is unstaged.
    (r"HAVING count", [(1,)]),
    (r"row_number\(\)", [(7,)]),
    (r"number_key_id.?\)", [(None, None)]),
    (r"submitted_at.?\)", [(None,)]),
    # The newest id is in the table, so that rows are merged.
    (r"max\(.*max\(", [("5000001", 7)]),
    (r"^SELECT max\(", [("5000001",)]),
    (r"count\(", [(0,)]),
    (r"^SELECT ", []),
)
"""The rows of queries, by patterns of which the first counts."""


class NoSuchTableError(Exception):
    """The driver's error for a table that is not there."""


@dataclass
class Driver:
    """The connection and the cursor of a driver.

    :ivar statements: what was executed, with the parameters of one row.
    :ivar tables: the columns of each table, by its quoted name.
    """

    statements: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    tables: dict[str, list[str]] = field(default_factory=dict)
    description: list[tuple[str]] = field(default_factory=list)
    rowcount: int = 1
    _rows: list[tuple[Any, ...]] = field(default_factory=list)

    def cursor(self) -> Self:
        return self

    def execute(self, statement: str, parameters: tuple[Any, ...] = ()) -> None:
        self.statements.append((" ".join(statement.split()), tuple(parameters)))
        if found := _LOOK.match(statement):
            if found[1] not in self.tables:
                raise NoSuchTableError
            self.description = [(name,) for name in self.tables[found[1]]]
        if found := _CREATE.match(statement):
            self.tables[found[1]] = _COLUMN.findall(statement)
        elif found := _ADD.match(statement):
            self.tables[found[1]].append(found[2])
        self._rows = next((rows for pattern, rows in _ANSWERS if re.search(pattern, statement)), [])

    def executemany(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        self.execute(statement, rows[0])

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def commit(self) -> None:
        """Do nothing."""

    def rollback(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@dataclass
class Recorded:
    """The hook of a connection, and the database behind it as loads of tests take it.

    :param conn_type: the type of the connection.
    :param escape_word_format: how the hook quotes a name.
    """

    conn_type: str
    escape_word_format: str = '"{}"'
    schema: str | None = "warehouse"
    driver: Driver = field(default_factory=Driver)
    # Of all four hooks, that of Oracle too, though its driver does not take it.
    placeholder: str = "%s"
    supports_autocommit: bool = True
    conn_name_attr: str = "conn_type"

    def hook(self) -> Self:
        return self

    def get_conn(self) -> Driver:
        return self.driver

    def set_autocommit(self, connection: Driver, autocommit: bool) -> None:
        assert connection is self.driver
        assert not autocommit

    @property
    def statements(self) -> list[str]:
        return [statement for statement, _ in self.driver.statements]
