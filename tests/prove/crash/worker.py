"""The processes that send: one that has imported Airflow, and forks one for each try.

Run as a module, it listens on a UNIX socket. Over each connection comes one order, as a line of JSON, and the
try that it asks for asks back: for answers of the Execution API, for the time, and to wait. A connection that
ends without the word that the try has ended says that its process was killed.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sqlite3
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pendulum
import psycopg
from airflow.sdk import Connection

from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from airflow_provider_winsms.runtime import Clock
from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.utils import send_task
from tests.prove.crash.points import Blow, Moment, Point
from tests.prove.crash.rules import OnePersonByTry
from tests.support.task_runner import TaskRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import BaseOperator
    from airflow.sdk.execution_time.supervisor import TaskRunResult


class Channel:
    """The line to whoever ordered the try."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rw", encoding="utf-8")
        self._lock = threading.Lock()

    def read(self) -> Any:
        """Return the next word."""
        line = self._file.readline()
        if not line:
            raise SystemExit
        return json.loads(line)

    def tell(self, **words: Any) -> None:
        """Say something that needs no answer."""
        with self._lock:
            self._file.write(json.dumps(words) + "\n")
            self._file.flush()

    def ask(self, **words: Any) -> Any:
        """Say something, and return the answer."""
        with self._lock:
            self._file.write(json.dumps(words) + "\n")
            self._file.flush()
            return self.read()


class ConnectionDropped(Exception):  # noqa: N818 - it names what happened
    """The way to the ledger broke."""


@dataclass
class Watch:
    """Strikes its own process, at one point of the ledger's protocol."""

    channel: Channel
    point: Point | None
    blow: Blow | None
    step: tuple[str, int, int] = ("", 0, 0)
    has_struck: bool = False

    @contextmanager
    def during(self, name: str, rnd: int = 1, number: int = 1) -> Iterator[None]:
        """Note which step is taken."""
        self.step = name, rnd, number
        try:
            yield
        finally:
            self.step = "", 0, 0

    def commit(self, commit: Callable[[], Any]) -> Any:
        """Commit, and strike before or after it, if that is the point."""
        self.reach(Moment.BEFORE_COMMIT)
        result = commit()
        self.reach(Moment.AFTER_COMMIT)
        return result

    def reach(self, moment: Moment) -> None:
        """Strike, if this is the point."""
        if self.point is None or self.has_struck or self.blow is None:
            return
        here = Point(self.step[0], moment, self.step[2], self.step[1])
        if here == self.point:
            self.has_struck = True
            self.channel.tell(struck=True)
            _strike(self.blow)


def _strike(blow: Blow) -> None:
    if blow is Blow.DROP:
        raise ConnectionDropped
    if blow in {Blow.KILL, Blow.STOP}:
        os.kill(os.getpid(), signal.SIGKILL if blow is Blow.KILL else signal.SIGSTOP)
    else:
        signal.raise_signal(signal.SIGALRM if blow is Blow.TIMEOUT else signal.SIGTERM)


_WATCHES: list[Watch] = []
_open_ledger = send_task.open_ledger


class WatchedLedger:
    """A ledger that says which step is taken, and is otherwise the one behind it."""

    def __init__(self, ledger: Any, watch: Watch) -> None:
        self._ledger = ledger
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def open(self, batch: Any) -> Any:
        with self._watch.during("open"):
            self._watch.reach(Moment.BEFORE_COMMIT)
            with self._watch.during(""):
                opened = self._ledger.open(batch)
        with self._watch.during("open"):
            self._watch.reach(Moment.AFTER_COMMIT)
        return opened

    def claim(self, key: Any, *rest: Any) -> None:
        with self._watch.during("claim", *key):
            self._watch.reach(Moment.ABOUT)
            self._ledger.claim(key, *rest)

    def record(self, key: Any, *rest: Any) -> None:
        with self._watch.during("record", *key):
            self._watch.reach(Moment.ABOUT)
            self._ledger.record(key, *rest)

    def mark_not_received(self, key: Any, *rest: Any) -> Any:
        with self._watch.during("record", *key):
            self._watch.reach(Moment.ABOUT)
            return self._ledger.mark_not_received(key, *rest)


@contextmanager
def open_watched(*args: Any, **kwargs: Any) -> Iterator[Any]:
    """Open the ledger of a send, which is watched."""
    with _open_ledger(*args, **kwargs) as opened:
        yield opened._replace(ledger=WatchedLedger(opened.ledger, _WATCHES[0]))


class WatchedSqlite(sqlite3.Connection):
    """An SQLite connection whose commits may be struck."""

    def commit(self) -> None:
        try:
            _WATCHES[0].commit(super().commit)
        except ConnectionDropped:
            msg = "disk I/O error"
            raise sqlite3.OperationalError(msg) from None


def watch_commits() -> None:
    """Have the drivers of the databases tell when they commit."""
    connect: Any = sqlite3.connect
    commit: Any = psycopg.Connection.commit

    def connect_watched(*args: Any, **kwargs: Any) -> Any:
        return connect(*args, **{"factory": WatchedSqlite, **kwargs})

    def commit_watched(connection: psycopg.Connection[Any]) -> None:
        try:
            _WATCHES[0].commit(lambda: commit(connection))
        except ConnectionDropped:
            connection.close()
            raise psycopg.OperationalError from None

    for owner, name, watched in (
        (sqlite3, "connect", connect_watched),
        (psycopg.Connection, "commit", commit_watched),
        (send_task, "open_ledger", open_watched),
    ):
        setattr(owner, name, watched)


@dataclass
class RemoteRunner(TaskRunner):
    """Airflow's task runner, whose Execution API is in another process, and outlives this one."""

    watch: Watch = field(kw_only=True)
    is_store: ClassVar[str] = "/store/ti/"

    def run_try(self, task: BaseOperator, number: int) -> TaskRunResult:
        """Run a try of the task."""
        self.try_number = number
        return self._run(task)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.startswith(self.is_store) or request.method == "GET":
            return self._asked(request)
        try:
            answer: httpx.Response = self.watch.commit(lambda: self._asked(request))
        except ConnectionDropped:
            return httpx.Response(400, json={"detail": "the connection was dropped"})
        return answer

    def _asked(self, request: httpx.Request) -> httpx.Response:
        status, body = self.watch.channel.ask(
            api=[request.method, str(request.url), request.content.decode()]
        )
        if body is None:
            return httpx.Response(status)
        return httpx.Response(status, content=body, headers={"Content-Type": "application/json"})


def task_of(order: dict[str, Any]) -> BaseOperator:
    """Build the task that is ordered."""
    kwargs = dict(order["task"])
    for name in ("hold", "execution_timeout"):
        if kwargs.get(name) is not None:
            kwargs[name] = timedelta(seconds=kwargs[name])
    if kwargs.pop("has_rule", False):
        OnePersonByTry.number = order["try_number"]
        kwargs["rules"] = [OnePersonByTry()]
    kind: Any = SmsSendBatchOperator if "messages" in kwargs else SmsSendOperator
    task: BaseOperator = kind(**kwargs)
    return task


def run_try(connection: socket.socket) -> None:
    """Carry one order out, in a process of its own."""
    channel = Channel(connection)
    order = channel.read()
    point = Point.of_json(order["point"]) if order["point"] else None
    watch = Watch(channel, point, Blow(order["blow"]) if order["blow"] else None)
    _WATCHES[:] = [watch]
    clock = Clock(
        lambda: pendulum.from_timestamp(channel.ask(now=True)), lambda seconds: channel.ask(sleep=seconds)
    )
    SmsSendOperator.clock = SmsSendBatchOperator.clock = clock
    if order["request_size"]:
        WinSMSGateway.limits = replace(WinSMSGateway.limits, recipients=order["request_size"])
    channel.ask(pid=os.getpid())
    result = RemoteRunner({}, watch=watch).run_try(task_of(order), order["try_number"])
    error = result.error
    channel.tell(ended={"state": str(result.state), "error": type(error).__name__, "words": str(error)})


def warm_up() -> None:
    """Load what a try loads, by running some, so that each fork has it."""
    import airflow.providers.postgres.hooks.postgres  # noqa: F401

    Connection(conn_id="postgres", conn_type="postgres", host="x").get_hook()
    with Sandbox() as box, TemporaryDirectory() as folder:
        connections = {
            "winsms_default": {"conn_type": "winsms", "host": box.base_url, "password": box.api_key},
            "ledger": {"conn_type": "sqlite", "host": f"{folder}/ledger.db"},
        }
        task = SmsSendOperator(
            task_id="warm",
            text="Hallo",
            to="27825550101",
            ledger_conn_id="ledger",
            execution_timeout=timedelta(hours=1),
        )
        result = TaskRunner(connections).run(task)
        if result.error is not None:
            raise result.error


def serve(path: str) -> None:
    """Fork a process for each order, until the standard input ends."""
    # Airflow logs to the standard output.
    word = os.dup(1)
    os.dup2(2, 1)
    warm_up()
    sys.stdout.flush()
    watch_commits()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(path)
        listener.listen(64)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        os.write(word, b"ready\n")
        os.close(word)
        while all(key.fileobj is listener for key, _ in selector.select()):
            connection, _ = listener.accept()
            if os.fork() == 0:
                _become_worker(connection)
            connection.close()


def _become_worker(connection: socket.socket) -> None:
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        run_try(connection)
        status = 0
    except Exception:
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
