"""What a database refused, why, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

_LACKS_RIGHTS = frozenset({"42501", "1142", "1044"})
_LACKS_SCHEMA = frozenset({"3F000", "3D000", "1049"})
_MAY_ONLY_READ = frozenset({"SQLITE_READONLY", "SQLITE_READONLY_DIRECTORY"})
_IS_READ_ONLY = frozenset({"25006", "1290", "1836"})
"""A standby answers so, which may be a primary in a moment."""

_BROKEN_OFF = frozenset({"40001", "40P01", "1213", "1020", "SQLITE_BUSY_SNAPSHOT"})
"""A deadlock, or a row that changed underneath: the codes of PostgreSQL, MySQL and MariaDB, and SQLite."""

TOO_LARGE = 1153
"""MySQL's number for a packet above ``max_allowed_packet``."""

_UNENCODABLE = frozenset({"22P05", "22021", "1366", "UnicodeEncodeError"})
"""A character that the encoding of the database, or of a column, does not have."""

_HELPED_BY_A_REPEAT = frozenset(
    {"23505", "1062", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "1203", "1226"}
)
"""Rows that another program wrote at the same moment; or too many connections: MySQL says 42000."""

_PERMANENT = (
    # SQLSTATE: not supported, data, constraints, logins, databases, schemas, and syntax or a name.
    *("0A", "22", "23", "28", "3D", "3F", "42"),
    # MySQL: rights, logins, databases, nulls, columns, syntax, tables, packets, ranges, values, references.
    *("1044", "1045", "1048", "1049", "1054", "1064", "1142", "1146", "1153", "1264", "1265", "1292", "1364"),
    *("1366", "1406", "1451", "1452"),
    *("SQLITE_CONSTRAINT", "SQLITE_ERROR", "SQLITE_MISMATCH", "SQLITE_READONLY", "SQLITE_TOOBIG"),
    # Types of errors, where a driver gives no code.
    *("DataError", "ProgrammingError", "NotSupportedError", "UnicodeEncodeError", "PacketTooLarge"),
    *("BinderException", "CatalogException", "ConstraintException", "ConversionException", "ParserException"),
)
"""What codes, or types, of errors begin with that are the same at each repeat."""

_MENDS: tuple[tuple[frozenset[str], str], ...] = (
    (
        _LACKS_SCHEMA,
        (
            "The schema that the connection leads to does not exist. Create it first, with CREATE SCHEMA or, "
            "in MySQL and MariaDB, CREATE DATABASE: only tables and views are created here."
        ),
    ),
    (_MAY_ONLY_READ, "The file may only be read. Let this process write to it and to its folder."),
    (_IS_READ_ONLY, "The server takes no writes, as a standby. Connect to the primary. A repeat is safe."),
    (
        frozenset({str(TOO_LARGE)}),
        (
            "One row is longer than the server's variable `max_allowed_packet`. Raise it there, with "
            "SET GLOBAL max_allowed_packet = <bytes> and in its configuration."
        ),
    ),
)
"""What to do about errors of some codes."""

_HIGHEST_ERROR_NUMBER = 99_999


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the database would not do, without its words.

    :param step: what was tried: "commit", "read the rows".
    :param kind: the type of the driver's error.
    :param codes: its codes: SQLSTATE, or what the driver has instead, and other numbers.
    :param encoding: the database's, where it is one of its properties.
    """

    step: str
    kind: str
    codes: tuple[str, ...]
    encoding: str = ""

    @property
    def code(self) -> str:
        """SQLSTATE, or what the driver has instead, or an empty string."""
        return next(iter(self.codes), "")

    @property
    def lacks_rights(self) -> bool:
        """Whether the connection's user may not do that."""
        return not _LACKS_RIGHTS.isdisjoint(self.codes)

    @property
    def was_broken_off(self) -> bool:
        """Whether the transaction gave way to another, and may pass the next time."""
        return not _BROKEN_OFF.isdisjoint(self.codes)

    @property
    def is_permanent(self) -> bool:
        """Whether a repeat meets the same."""
        if not _HELPED_BY_A_REPEAT.isdisjoint(self.codes):
            return False
        return any(code.startswith(_PERMANENT) for code in self.codes or (self.kind,))

    @property
    def needs_a_person(self) -> bool:
        """Whether nothing helps but that somebody changes the database, its rights or what is stored."""
        certain = _LACKS_RIGHTS | _LACKS_SCHEMA | _MAY_ONLY_READ | {str(TOO_LARGE)}
        return not certain.isdisjoint(self.codes) or self._is_unencodable

    @property
    def _is_unencodable(self) -> bool:
        return not _UNENCODABLE.isdisjoint((*self.codes, self.kind))

    def hint(self, rights: str, passing: str) -> str:
        """Return what to do.

        :param rights: what to say if the connection's user lacks rights.
        :param passing: what to say where a repeat can help.
        """
        if self.lacks_rights:
            return rights
        for codes, words in _MENDS:
            if not codes.isdisjoint(self.codes):
                return words
        if self._is_unencodable:
            named = (
                f"The encoding {self.encoding} of the database" if self.encoding else "The column's encoding"
            )
            return (
                f"{named} lacks a character of a row. Use a database or a column whose encoding is UTF-8 "
                "(PostgreSQL: ENCODING 'UTF8'; MySQL: utf8mb4), or store no texts."
            )
        return "A repeat meets the same: mend the cause first." if self.is_permanent else passing

    def message(self, where: str, hint: str) -> str:
        """Return what to tell a person."""
        cause = f"{self.kind}, {self.code}" if self.code else self.kind
        return f"The database could not {self.step} ({cause}; {where}). {hint}"


@dataclass(frozen=True, slots=True)
class NotOpened(Refusal):
    """A database that could not be connected to; ``step`` is the id of its connection."""

    def message(self, where: str, hint: str) -> str:  # noqa: ARG002 - nothing was tried there yet
        """Return what to tell a person."""
        mend = f" {hint}" if self.needs_a_person else ""
        return f"The database of the connection {self.step!r} could not be opened ({self.kind}).{mend}"


class PacketTooLarge(Exception):  # noqa: N818 - it names what was found
    """One row is longer than the server lets a statement be."""


def codes_of(error: Exception) -> tuple[str, ...]:
    """Return the SQLSTATE, or SQLite's name for the error, and MySQL's number for it.

    No other part is known safe.
    """
    words = (getattr(error, name, None) for name in ("sqlstate", "pgcode", "sqlite_errorname"))
    number = next(iter(error.args), None)
    is_number = isinstance(number, int) and 0 < number <= _HIGHEST_ERROR_NUMBER
    return (*(word for word in words if isinstance(word, str)), *([str(number)] if is_number else []))
