"""The errors of databases: their codes, whether a repeat can help, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass

_LACKS_RIGHTS = frozenset({"42501", "1142", "1044"})
_LACKS_SCHEMA = frozenset({"3F000", "3D000", "1049"})
_MAY_ONLY_READ = frozenset({"SQLITE_READONLY", "SQLITE_READONLY_DIRECTORY"})
_IS_READ_ONLY = frozenset({"25006", "1290", "1836"})
"""The codes of a standby, which may become the primary in a moment."""

_ABORTED = frozenset({"40001", "40P01", "1213", "1020", "SQLITE_BUSY_SNAPSHOT"})
"""Deadlocks and serialization conflicts, in PostgreSQL, MySQL and MariaDB, and SQLite."""

TOO_LARGE = 1153
"""MySQL's number for a packet above ``max_allowed_packet``."""

_UNENCODABLE = frozenset({"22P05", "22021", "1366", "UnicodeEncodeError"})
"""The encoding of the database or of a column lacks a character."""

_TRANSIENT = frozenset(
    {"23505", "1062", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "1203", "1226"}
)
"""Another program wrote the same rows at the same time; or too many connections, MySQL's SQLSTATE 42000."""

_PERMANENT = (
    # SQLSTATE: not supported, data, constraints, logins, databases, schemas, and syntax or a name.
    *("0A", "22", "23", "28", "3D", "3F", "42"),
    # MySQL: rights, logins, databases, nulls, columns, syntax, tables, packets, ranges, values, references.
    *("1044", "1045", "1048", "1049", "1054", "1064", "1142", "1146", "1153", "1264", "1265", "1292", "1364"),
    *("1366", "1406", "1451", "1452"),
    *("SQLITE_CONSTRAINT", "SQLITE_ERROR", "SQLITE_MISMATCH", "SQLITE_READONLY", "SQLITE_TOOBIG"),
    # Types of errors, for drivers that give no code.
    *("DataError", "ProgrammingError", "NotSupportedError", "UnicodeEncodeError", "PacketTooLarge"),
    *("BinderException", "CatalogException", "ConstraintException", "ConversionException", "ParserException"),
)
"""Beginnings of the codes, or types, of errors that recur at each repeat."""

_REMEDIES: tuple[tuple[frozenset[str], str], ...] = (
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
"""The remedies of errors, by their codes."""

_HIGHEST_ERROR_NUMBER = 99_999


@dataclass(frozen=True, slots=True)
class Refusal:
    """A step that the database refused, without the text of the driver's error.

    :param step: the step in words: "commit", "read the rows".
    :param kind: the type of the driver's error.
    :param codes: its codes: SQLSTATE or the driver's substitute, and other numbers.
    :param encoding: the encoding of the database, if it has one for all columns.
    """

    step: str
    kind: str
    codes: tuple[str, ...]
    encoding: str = ""

    @property
    def code(self) -> str:
        """SQLSTATE or the driver's substitute; an empty string if there is none."""
        return next(iter(self.codes), "")

    @property
    def lacks_rights(self) -> bool:
        """Whether the connection's user lacks the right to do that."""
        return not _LACKS_RIGHTS.isdisjoint(self.codes)

    @property
    def was_aborted(self) -> bool:
        """Whether the database aborted the transaction in favour of another. A repeat may succeed."""
        return not _ABORTED.isdisjoint(self.codes)

    @property
    def is_permanent(self) -> bool:
        """Whether a repeat fails the same way."""
        if not _TRANSIENT.isdisjoint(self.codes):
            return False
        return any(code.startswith(_PERMANENT) for code in self.codes or (self.kind,))

    @property
    def needs_a_person(self) -> bool:
        """Whether only a person can help: by changing the database, its rights or the stored values."""
        certain = _LACKS_RIGHTS | _LACKS_SCHEMA | _MAY_ONLY_READ | {str(TOO_LARGE)}
        return not certain.isdisjoint(self.codes) or self._is_unencodable

    @property
    def _is_unencodable(self) -> bool:
        return not _UNENCODABLE.isdisjoint((*self.codes, self.kind))

    def hint(self, rights: str, passing: str) -> str:
        """Return the remedy.

        :param rights: the remedy if the connection's user lacks rights.
        :param passing: the remedy if a repeat can help.
        """
        if self.lacks_rights:
            return rights
        for codes, remedy in _REMEDIES:
            if not codes.isdisjoint(self.codes):
                return remedy
        if self._is_unencodable:
            encoding = (
                f"The encoding {self.encoding} of the database" if self.encoding else "The column's encoding"
            )
            return (
                f"{encoding} lacks a character of a row. Use a database or a column whose encoding is UTF-8 "
                "(PostgreSQL: ENCODING 'UTF8'; MySQL: utf8mb4), or store no texts."
            )
        return "A repeat fails the same way. Fix the cause first." if self.is_permanent else passing

    def message(self, where: str, hint: str) -> str:
        """Return the text of the error."""
        cause = f"{self.kind}, {self.code}" if self.code else self.kind
        return f"The database could not {self.step} ({cause}; {where}). {hint}"


@dataclass(frozen=True, slots=True)
class NotOpened(Refusal):
    """A connection that could not be opened; ``step`` is its id in Airflow."""

    def message(self, where: str, hint: str) -> str:  # noqa: ARG002 - no table is involved yet
        """Return the text of the error."""
        remedy = f" {hint}" if self.needs_a_person else ""
        return f"The database of the connection {self.step!r} could not be opened ({self.kind}).{remedy}"


class PacketTooLarge(Exception):  # noqa: N818 - it names the fault
    """One row is longer than the server lets a statement be."""


def codes_of(error: Exception) -> tuple[str, ...]:
    """Return the SQLSTATE, or SQLite's name for the error, and MySQL's number for it.

    Any other part of an error may quote a row.
    """
    words = (getattr(error, name, None) for name in ("sqlstate", "pgcode", "sqlite_errorname"))
    number = next(iter(error.args), None)
    is_number = isinstance(number, int) and 0 < number <= _HIGHEST_ERROR_NUMBER
    return (*(word for word in words if isinstance(word, str)), *([str(number)] if is_number else []))
