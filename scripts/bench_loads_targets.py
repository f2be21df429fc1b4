"""Databases with tables like ours, and a process for each load into them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from scripts import warehouse
from scripts.bench_loads_ways import DLT, OURS, WAREHOUSE, WARM_UP_ROWS, Figures, Task
from scripts.bulk_gateways import FIRST_ID, BulkGateways, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.warehouse import Warehouse

_FOUND = "SELECT COUNT(*), COUNT(DISTINCT {id}), SUM(CAST({id} AS NUMERIC)), SUM(LENGTH({text})) FROM {table}"
_DLT_FOLDER = Path(__file__).parents[1] / ".cache" / "dlt-venv"
_DLT_PACKAGE = "dlt[postgres]>=1.31,<2"


class Run(NamedTuple):
    """A way to load, and its number of requests in flight; 0 is its default."""

    way: str
    in_flight: int = 0

    def __str__(self) -> str:
        return f"{self.way}, k = {self.in_flight}" if self.in_flight else self.way


@dataclass(frozen=True)
class Target:
    """A database for loads.

    :param home: a folder for its files.
    """

    store: Warehouse
    home: Path
    gateways: BulkGateways
    _numbers: Iterator[int] = field(default_factory=count)

    def prepare(self) -> None:
        """Let ours create a table, the model for the other tables."""
        self._run(self._task(Run(OURS), 1, 0, "model"))

    def measured(self, run: Run, rows: int, milliseconds: int = 0) -> Figures:
        """Load into a new table, and check its rows."""
        task = self._task(run, rows, milliseconds)
        if run.way not in {OURS, DLT}:
            self._execute(*map(self._like_model, (task.table, task.warm_up.table)))
        self._write_back()
        figures = self._run(task)
        self._check(task, rows)
        self._drop(task)
        return figures

    def measured_again(self, rows: int, new_rows: int) -> tuple[Figures, int]:
        """Load with ours, add rows, load again, and return the figures and requests of the second load."""
        task = self._task(Run(OURS), rows, 0)
        self._run(task)
        gateway = self.gateways.of(rows)
        gateway.rows += new_rows
        before = gateway.requests
        figures = self._run(task)
        asked = gateway.requests - before
        self._check(task, rows + new_rows)
        self._drop(task)
        return figures, asked

    @property
    def _is_sqlite(self) -> bool:
        return bool(self.store.connection["conn_type"] == "sqlite")

    def _task(self, run: Run, rows: int, milliseconds: int, table: str | None = None) -> Task:
        name = table or f"load_{next(self._numbers)}"
        database = self._url() if run.way == DLT else self._database()
        gateway, few = self.gateways.of(rows, milliseconds), self.gateways.of(WARM_UP_ROWS)
        return Task(run.way, gateway.box.base_url, few.box.base_url, rows, run.in_flight, database, name)

    def _database(self) -> str:
        if self._is_sqlite:
            return str(self.store.connection["host"])
        with closing(self.store.connect()) as database:
            return str(database.info.dsn)

    def _url(self) -> str:
        """Return the URL of the database for dlt, which always needs a password."""
        with closing(self.store.connect()) as database:
            info = database.info
            user, password, host = (
                quote(part, safe="") for part in (info.user, info.password or "none", info.host)
            )
            return f"postgresql://{user}:{password}@{host}:{info.port}/{info.dbname}"

    def _run(self, task: Task) -> Figures:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "DLT_DATA_DIR": str(self.home / "dlt"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            f"AIRFLOW_CONN_{WAREHOUSE.upper()}": json.dumps(self.store.connection),
        }
        python = str(_dlt_python()) if task.way == DLT else sys.executable
        command = [python, "-m", "scripts.bench_loads_ways", json.dumps(asdict(task))]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return Figures(**json.loads(done.stdout))

    def _check(self, task: Task, rows: int) -> None:
        table, key, texts = task.table, "message_id", "text"
        if task.way == DLT:
            table, key, texts = f"{table}.incoming", "incoming_api_message_id", "message_text"
        (found,) = self.store.rows(_FOUND.format(table=table, id=key, text=texts))
        if tuple(map(int, found)) != _listed(rows):
            msg = f"{task.way} loaded {found}, but the gateway lists {_listed(rows)}."
            raise RuntimeError(msg)

    def _like_model(self, table: str) -> str:
        if not self._is_sqlite:
            return f"CREATE TABLE {table} (LIKE model INCLUDING ALL)"
        ((create,),) = self.store.rows("SELECT sql FROM sqlite_master WHERE name = 'model'")
        return str(create).replace("model", table, 1)

    def _drop(self, task: Task) -> None:
        for table in (task.table, task.warm_up.table):
            if task.way == DLT:
                self._execute(*(f"DROP SCHEMA {table}{suffix} CASCADE" for suffix in ("", "_staging")))
            else:
                self._execute(f"DROP TABLE {table}")

    def _write_back(self) -> None:
        """Let the database write its buffers, so that no load pays for the previous one."""
        with suppress(Exception):  # SQLite has no CHECKPOINT, and some users have no right to it
            self._execute("CHECKPOINT")

    def _execute(self, *statements: str) -> None:
        with closing(self.store.connect()) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()


@contextmanager
def opened(kind: str, rows: int = 500_000) -> Iterator[Target]:
    """Yield a database, ``sqlite`` or ``postgres``, and gateways that have encoded this many rows."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sms-bench-")))
        store = stack.enter_context(warehouse.opened(kind, home))
        target = Target(store, home, stack.enter_context(BulkGateways(rows)))
        target.prepare()
        yield target


@cache
def can_dlt() -> bool:
    """Whether dlt can be used. If it is missing, it is installed into an environment of its own."""
    if _has_dlt():
        return True
    sys.stderr.write("Installing dlt, to measure it beside ours (once; half a minute) ...\n")
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    pip = [str(_dlt_python()), "-m", "pip", "--disable-pip-version-check", "install", "-qq", _DLT_PACKAGE]
    for command in ([sys.executable, "-m", "venv", str(_DLT_FOLDER)], pip):
        if subprocess.run(command, env=environment, check=False).returncode:
            return False
    return _has_dlt()


def _has_dlt() -> bool:
    if not _dlt_python().exists():
        return False
    command = [str(_dlt_python()), "-c", "import dlt.destinations, psycopg2"]
    return not subprocess.run(command, capture_output=True, check=False).returncode


def _dlt_python() -> Path:
    return _DLT_FOLDER / "bin" / "python"


@cache
def _listed(rows: int) -> tuple[int, int, int, int]:
    ids = range(FIRST_ID, FIRST_ID + rows)
    return rows, rows, sum(ids), sum(len(text(place)) for place in range(rows))
