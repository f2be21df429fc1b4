"""The state of the sandbox: SQLite tables, in memory or in a file that survives a restart.

Times are seconds since the epoch, credits are tenths of a credit.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Row: TypeAlias = dict[str, Any]

MAIN_ACCOUNT = 10001
"""The number of the account to which the API key belongs."""

_SUB_ACCOUNTS = (
    (10002, "sandbox.north", "Nomsa", "North", 1000),
    (10003, "sandbox.south", "Sipho", "South", 2014),
)

_VERSION = 1
_PRIVATE = 0o600

_TABLES = {
    "settings": "name TEXT PRIMARY KEY, value",
    "accounts": "number INTEGER PRIMARY KEY, login TEXT, first_name TEXT, surname TEXT, balance INTEGER",
    "messages": """id INTEGER PRIMARY KEY, number TEXT, message TEXT, client_id TEXT, submitted REAL,
        send_at REAL, sent_at REAL, final_at REAL, outcome TEXT, cost INTEGER,
        scheduled INTEGER, waiting INTEGER, cancelled INTEGER DEFAULT 0""",
    "replies": "due REAL, message_id INTEGER, number TEXT, text TEXT",
    "incoming": """position INTEGER PRIMARY KEY, id INTEGER, number TEXT, text TEXT, received REAL,
        outgoing INTEGER""",
    "shortcode": "position INTEGER PRIMARY KEY, id INTEGER, number TEXT, text TEXT, received REAL",
    "optouts": "position INTEGER PRIMARY KEY, id INTEGER, number TEXT UNIQUE, text TEXT, received REAL",
    "do_not_contact": "number TEXT PRIMARY KEY",
}

_INDEXES = (
    "CREATE INDEX messages_of_a_number ON messages (number, send_at)",
    "CREATE INDEX messages_waiting ON messages (id) WHERE waiting",
    "CREATE INDEX messages_due ON messages (send_at) WHERE waiting",
    "CREATE INDEX replies_due ON replies (due)",
)


_CLEAR = (
    "DELETE FROM settings",
    "DELETE FROM accounts",
    "DELETE FROM messages",
    "DELETE FROM replies",
    "DELETE FROM incoming",
    "DELETE FROM shortcode",
    "DELETE FROM optouts",
    "DELETE FROM do_not_contact",
)


class State:
    """The tables and their transactions.

    :param path: the file; ``None`` keeps the state in memory.
    :param tenths: the credits with which the main account starts, in tenths.
    """

    def __init__(self, path: str | Path | None, tenths: int) -> None:
        self._tenths = tenths
        file = Path(path).absolute() if path else None
        try:
            if file:
                _create_private(file)
            self.db = sqlite3.connect(file or ":memory:", timeout=0.1, check_same_thread=False)
            self._prepare(file)
        except (OSError, sqlite3.Error) as error:
            msg = f"The state file {path} cannot be used: {error}."
            raise ValueError(msg) from error

    def _prepare(self, file: Path | None) -> None:
        try:
            self._open(file)
        except (OSError, sqlite3.Error, ValueError):
            self.db.close()
            raise

    def _open(self, file: Path | None) -> None:
        self.db.execute("PRAGMA locking_mode = EXCLUSIVE")
        version = self.db.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _VERSION}:
            msg = f"The state file {file} was written by another version of the sandbox. Use another file."
            raise ValueError(msg)
        if file:
            _make_private(file)
        # A killed process loses nothing that was committed; a power cut may.
        for pragma in ("journal_mode = WAL", "synchronous = OFF"):
            self.db.execute(f"PRAGMA {pragma}")
        if version == 0:
            self._create()

    def _create(self) -> None:
        for name, columns in _TABLES.items():
            self.db.execute(f"CREATE TABLE {name} ({columns})")
        for index in _INDEXES:
            self.db.execute(index)
        self.db.execute(f"PRAGMA user_version = {_VERSION}")
        self._fill()
        self.db.commit()

    def _fill(self) -> None:
        self.db.executemany(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?)",
            [(MAIN_ACCOUNT, "sandbox", "Main", "Account", self._tenths), *_SUB_ACCOUNTS],
        )

    def clear(self) -> None:
        """Delete everything; the surrounding transaction keeps the clock."""
        for statement in _CLEAR:
            self.db.execute(statement)
        self._fill()

    @contextmanager
    def transaction(self, now: float) -> Iterator[None]:
        """Commit all changes made inside, and the clock; or none of them."""
        with self.db:
            yield
            self.set("clock", now)
            self.set("wall", time.time())

    def clock(self) -> tuple[float, float] | None:
        """Return the sandbox's time and the wall time of the last transaction, if there was one."""
        sandbox_time = self.setting("clock", None)
        return None if sandbox_time is None else (sandbox_time, self.setting("wall", 0.0))

    def setting(self, name: str, default: Any) -> Any:
        """Return a setting, or the default."""
        row = self.db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return default if row is None else row[0]

    def set(self, name: str, value: object) -> None:
        """Store a setting."""
        self.db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def take_ids(self, name: str, first: int, count: int) -> range:
        """Return new ids, in ascending order."""
        start = self.setting(name, first)
        self.set(name, start + count)
        return range(start, start + count)

    def close(self) -> None:
        """Write everything to the file and close it."""
        self.db.close()


def _create_private(file: Path) -> None:
    # An existing file is not opened: closing it would end the locks of another sandbox in this process.
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PRIVATE))


def _make_private(file: Path) -> None:
    """Make a state file and its journals, which SQLite creates with its mode, readable by the owner only."""
    for suffix in ("", "-journal", "-shm", "-wal"):
        with suppress(FileNotFoundError):
            Path(f"{file}{suffix}").chmod(_PRIVATE)
