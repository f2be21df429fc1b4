"""A real Airflow for the length of a test: its database, and the four processes that make it up."""

from __future__ import annotations

import atexit
import contextlib
import functools
import getpass
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg
import requests
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from sqlalchemy import URL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

T = TypeVar("T")

ENDS = ("success", "failed", "skipped", "upstream_failed", "removed")
"""The states that a task stays in."""

COMPONENTS = ("scheduler", "triggerer", "dag-processor", "api-server")
PATIENCE = 240.0
"""Seconds that anything may take: a bound for a busy machine, not an expectation."""

_STOP_WITHIN = 30.0
_TAIL = 25


class RealAirflow:
    """Airflow with a home of its own, to be used once as a context manager.

    :param home: an empty folder.
    :param dags: the folder of the DAG files, which are copied.
    :param variables: what the components find in their environment besides.
    :param postgres: the connection string of an empty PostgreSQL database for Airflow's metadata, which else
        stand in an SQLite file.
    :param of_component: what single components find in their environment, whatever the others do.
    :param preload: modules that every component imports as it starts, so that a task finds them imported.
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        variables: Mapping[str, str],
        *,
        postgres: str | None = None,
        of_component: Mapping[str, Mapping[str, str]] | None = None,
        preload: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.database = PostgresMetadata(postgres) if postgres else SqliteMetadata(home / "airflow.db")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs = home / "components"
        self._logs.mkdir()
        shutil.copytree(dags, home / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        if preload:
            _write_settings(home / "config", preload)
        port, worker_logs, trigger_logs = free_ports(3)
        self._url = f"http://127.0.0.1:{port}"
        own = environment_of(home, port, worker_logs, trigger_logs)
        self._environment = own | self.database.environment | dict(variables)
        self._of_component = of_component or {}
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> Self:
        """Start everything, and return once every component is well and every DAG is known."""
        # Taken as Ctrl-C, SIGTERM ends the tests by way of stop(); by default it leaves an Airflow behind.
        self._on_sigterm = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self.database.migrate(self._command)
            for component in COMPONENTS:
                self.start(component)
            self.until(self._is_well, "all components to be well")
            self._session.headers["Authorization"] = f"Bearer {self._token()}"
            self.until(self._knows_its_dags, "the DAG files to be read")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything."""
        self.stop()

    def start(self, component: str) -> None:
        """Start a component, in a session of its own."""
        with (self._logs / f"{component}.log").open("ab") as log:
            self._processes[component] = subprocess.Popen(
                [sys.executable, "-m", "airflow", component],
                env=self._environment | dict(self._of_component.get(component, {})),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, component: str) -> None:
        """Kill a component, with all that it started, as a power cut would."""
        process = self._processes.pop(component)
        kill_session(process.pid)
        process.wait()

    def stop(self) -> None:
        """End every process, politely at first. Whatever is left is killed."""
        for process in self._processes.values():
            _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_WITHIN
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            kill_session(process.pid)
            process.wait()
        self._processes.clear()
        self._session.close()
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def get(self, path: str) -> Any:
        """Return the JSON that the API server answers."""
        return self._request("GET", path)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON that the API server answers."""
        return self._request("POST", path, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON that the API server answers."""
        return self._request("PATCH", path, body)

    def run(self, dag_id: str) -> Run:
        """Start a DAG run."""
        run = self.post(f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None})
        return Run(self, dag_id, run["dag_run_id"])

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table of the metadata database."""
        return self.query(f'SELECT * FROM "{table}"')  # noqa: S608

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows that a statement finds in the metadata database."""
        return self.database.query(statement)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return the whole metadata database."""
        return {row["name"]: self.rows(row["name"]) for row in self.query(self.database.table_names)}

    def python(self, code: str, *arguments: str) -> str:
        """Run Python code where this Airflow lives, and return the last line that it printed."""
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self._environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return done.stdout.splitlines()[-1]

    def until(
        self, condition: Callable[[], T | None], what: str, seconds: float = PATIENCE, pause: float = 0.2
    ) -> T:
        """Return what the condition returns once that is true.

        :param seconds: how long it may take.
        :param pause: seconds between two looks.
        :raises TimeoutError: showing the ends of all logs.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            if dead := [name for name, process in self._processes.items() if process.poll() is not None]:
                msg = f"{', '.join(dead)} ended while waiting for {what}.\n{self._tails()}"
                raise RuntimeError(msg)
            time.sleep(pause)
        msg = f"Waited {seconds:g} seconds for {what}.\n{self._tails()}"
        raise TimeoutError(msg)

    def component_log(self, component: str) -> str:
        """Return all that a component has written."""
        return (self._logs / f"{component}.log").read_text(encoding="utf-8", errors="replace")

    def _command(self, *arguments: str) -> None:
        run_airflow(self._environment, *arguments)

    def _is_well(self) -> bool:
        try:
            health = self.get("/api/v2/monitor/health")
        except requests.RequestException:
            return False
        return all(health[part]["status"] == "healthy" for part in health)

    def _token(self) -> str:
        return str(self.get("/auth/token")["access_token"])

    def _knows_its_dags(self) -> bool:
        if errors := self.get("/api/v2/importErrors")["import_errors"]:
            msg = f"A DAG file cannot be imported: {errors}"
            raise RuntimeError(msg)
        return bool(self.get("/api/v2/dags")["total_entries"])

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        response = self._session.request(method, self._url + path, json=body, timeout=60)
        if not response.ok:
            msg = f"{method} {path}: {response.status_code} {response.text}"
            raise requests.HTTPError(msg, response=response)
        return response.json()

    def _tails(self) -> str:
        files = [*sorted(self._logs.glob("*.log")), *sorted((self.home / "logs").rglob("attempt=*"))]
        return "\n".join(
            f"--- {file.relative_to(self.home)}\n{_tail(file)}" for file in files if file.is_file()
        )


def telltale(number: str) -> str:
    """Return what every spelling of a number has in common: its last nine digits.

    Of the sandbox's own numbers, which are a country and zeros, it is the whole number: many a fraction of a
    second ends as they do.
    """
    digits = re.sub(r"\D", "", number)
    return digits if digits.startswith("27000000") else digits[-9:]


@dataclass(frozen=True)
class SqliteMetadata:
    """A file, at the place where Airflow makes one unasked.

    :param table_names: a statement that finds every table, as ``name``.
    """

    path: Path
    table_names: str = "SELECT name FROM sqlite_master WHERE type = 'table'"

    @property
    def environment(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def migrate(self, _airflow: Callable[..., None]) -> None:
        """Make Airflow's tables: a copy, as making them takes seconds."""
        shutil.copy(migrated_file(), self.path)

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows that a statement finds."""
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(statement)]


@dataclass(frozen=True)
class PostgresMetadata:
    """A PostgreSQL database.

    :param conninfo: its connection string.
    :param table_names: a statement that finds every table, as ``name``.
    """

    conninfo: str = field(repr=False)
    table_names: str = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"

    @property
    def environment(self) -> dict[str, str]:
        """Its address, for SQLAlchemy."""
        return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _sqlalchemy_url(self.conninfo)}

    def migrate(self, airflow: Callable[..., None]) -> None:
        """Make Airflow's tables.

        :param airflow: runs a command of this Airflow.
        """
        airflow("db", "migrate")

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows that a statement finds."""
        with psycopg.connect(self.conninfo, row_factory=dict_row) as database:
            return database.execute(statement.encode()).fetchall()


@functools.cache
def migrated_file() -> Path:
    """Return an SQLite file with Airflow's tables, which are empty; made once for all tests of a process."""
    folder = tempfile.TemporaryDirectory(prefix="migrated-")
    atexit.register(folder.cleanup)
    run_airflow(clean_environment() | {"AIRFLOW_HOME": folder.name}, "db", "migrate")
    return Path(folder.name) / "airflow.db"


def run_airflow(environment: Mapping[str, str], *arguments: str) -> None:
    """Run a command of Airflow, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        env=environment,
        cwd=environment["AIRFLOW_HOME"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        msg = f"airflow {' '.join(arguments)} failed.\n{done.stdout}"
        raise RuntimeError(msg)


def _sqlalchemy_url(conninfo: str) -> str:
    given = {name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value is not None}
    host = given.get("host", "")
    folder = {"host": host} if host.startswith("/") else {}
    url = URL.create(
        "postgresql+psycopg2",
        username=given.get("user", getpass.getuser()),
        password=given.get("password"),
        host=None if folder else host or None,
        port=int(given["port"]) if "port" in given else None,
        database=given["dbname"],
        query=folder,
    )
    return url.render_as_string(hide_password=False)


@dataclass(frozen=True)
class Run:
    """One run of one DAG."""

    airflow: RealAirflow
    dag_id: str
    run_id: str

    def task(self, task_id: str) -> dict[str, Any]:
        """Return a task instance, as the API shows it."""
        instance: dict[str, Any] = self.airflow.get(f"{self._path}/taskInstances/{task_id}")
        return instance

    def row(self, task_id: str) -> dict[str, Any]:
        """Return a task instance, as the database has it."""
        rows = self.airflow.rows("task_instance")
        return next(row for row in rows if (row["run_id"], row["task_id"]) == (self.run_id, task_id))

    def until(self, task_id: str, *states: str) -> dict[str, Any]:
        """Wait for a task to be in one of the states, and return its instance.

        :raises AssertionError: showing the end of its log, if it ends in another one.
        """

        def reached() -> dict[str, Any] | None:
            instance = self.task(task_id)
            if instance["state"] in states:
                return instance
            end = "\n".join(self.log(task_id).splitlines()[-_TAIL:])
            assert instance["state"] not in ENDS, f"{task_id} ended as {instance['state']}:\n{end}"
            return None

        return self.airflow.until(reached, f"{self.dag_id}.{task_id} to be {' or '.join(states)}")

    def until_worker_is_done(self, task_id: str) -> None:
        """Wait for the scheduler to hear from its executor that the worker of a task has ended."""
        words = f"dag_id='{self.dag_id}', task_id='{task_id}', run_id='{self.run_id}'"
        self.airflow.until(
            lambda: any(
                "Received executor event with state success" in line and words in line
                for line in self.airflow.component_log("scheduler").splitlines()
            ),
            f"the worker of {self.dag_id}.{task_id} to be done",
        )

    def clear(self, task_id: str) -> None:
        """Clear a task, as a person does, so that it is run again."""
        body = {"dry_run": False, "only_failed": False, "dag_run_id": self.run_id, "task_ids": [task_id]}
        self.airflow.post(f"/api/v2/dags/{self.dag_id}/clearTaskInstances", body)

    def until_ended(self, *task_ids: str) -> dict[str, str]:
        """Wait for the tasks to end, whichever way, and return how they did."""
        return {task_id: self.until(task_id, *ENDS)["state"] for task_id in task_ids}

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        """Return what a task left for others."""
        return self.airflow.get(f"{self._path}/taskInstances/{task_id}/xcomEntries/{key}")["value"]

    def log(self, task_id: str) -> str:
        """Return everything that was logged for a task, in all its tries and by its trigger."""
        folder = self.airflow.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        files = sorted((folder / f"task_id={task_id}").rglob("*.log"))
        return "\n".join(file.read_text(encoding="utf-8") for file in files)

    @property
    def _path(self) -> str:
        return f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}"


def _write_settings(folder: Path, preload: Sequence[str]) -> None:
    folder.mkdir()
    lines = [f"import {module}\n" for module in preload]
    (folder / "airflow_local_settings.py").write_text("".join(lines), encoding="utf-8")


def environment_of(home: Path, port: int, worker_logs: int, trigger_logs: int) -> dict[str, str]:
    """Return the environment of an Airflow with these ports, for its API and for two servers of logs."""
    url = f"http://127.0.0.1:{port}"
    binaries = Path(sys.executable).parent
    return clean_environment() | {
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": os.urandom(32).hex(),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # The default asks the resolver, which may not answer where there is no network.
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        # In an empty home each component would make a key of its own, and not read the rows of the others.
        "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
        # A killed triggerer counts as alive for so long; its triggers wait.
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # By default a worker notices only after 5 seconds that a task has deferred, and that late word can
        # fail the task when it has been resumed meanwhile (apache/airflow #67287).
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # By default a task fails before it begins where the API server takes longer than 5 seconds to answer.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    }


def clean_environment() -> dict[str, str]:
    """Return the environment without what would bend Airflow, or slow it: no bytecode, twice the time."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AIRFLOW_") and name != "PYTHONDONTWRITEBYTECODE"
    }


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _tail(file: Path) -> str:
    return "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:])


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def kill_session(leader: int) -> None:
    """Kill a component, with all that it started."""
    _signal_session(leader, signal.SIGKILL)


def _signal_session(leader: int, number: signal.Signals) -> None:
    """Signal a session: a component's group, and the tasks it started in groups of their own."""
    for process in _session_of(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
    _signal_group(leader, number)


def _session_of(leader: int) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(int(entry.name)) == leader:
                yield int(entry.name)
