"""What a try runs against: its process, an Execution API that outlives it, and the sandbox's time."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from tests.support.task_runner import TaskRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.prove.crash.points import Blow, Point

_ROOT = Path(__file__).parents[3]
_START_WITHIN = 60.0
_STOP_WITHIN = 10.0
_INSTANCE = re.compile(r"/(?:task-instances|store/ti)/([0-9a-f-]{36})")


class Workers:
    """A process that has imported Airflow and forks one for each try, to be used as a context manager.

    :param folder: for its socket and its log.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "workers.sock"
        self.log = folder / "workers.log"

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.prove.crash.worker", str(self._path)],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            self.__exit__(None, None, None)
            pytest.fail(f"No worker could be started: {self.log.read_text()[-2000:]}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(_STOP_WITHIN)

    def connect(self) -> socket.socket:
        """Return a line to a process of its own."""
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(self._path))
        line.settimeout(_START_WITHIN)
        return line


@dataclass
class Api(TaskRunner):
    """The Execution API of one task instance. Only its last try may write, as in Airflow.

    :param turns_away: whether the task state store takes nothing of another try.
    :param lie: what is answered, falsely, to whoever reads a key of the task state store that begins with
        ``lies_about``.
    """

    current: str = ""
    lies_about: str = ""
    lie: tuple[int, str] | None = None
    turns_away: bool = True

    def begin_try(self) -> int:
        """Count a try, and return its number."""
        self.try_number += 1
        self.xcoms.clear()
        self.reported = {}
        self.current = ""
        return self.try_number

    def answer(self, method: str, url: str, body: str, asker: Try) -> tuple[int, str | None]:
        """Answer a request of a try; one that is not the last is turned away."""
        path = httpx.URL(url).path
        if found := _INSTANCE.search(path):
            self.current = self.current or found[1]
            asker.instance = found[1]
        is_private = self.turns_away if path.startswith("/store/") else method != "GET"
        if asker.instance != self.current and is_private:
            return 404, json.dumps({"detail": {"reason": "not_found", "message": "no such task instance"}})
        if self.lie and method == "GET" and re.match(f"/store/ti/[^/]+/{self.lies_about}", path):
            return self.lie
        response = self._answer(httpx.Request(method, f"http://api{path}", content=body.encode()))
        return response.status_code, response.text or None


@dataclass
class Try:
    """One try of a task, in a process of its own.

    :param clock_off: how many seconds its clock is ahead of the gateway's.
    """

    api: Api
    sandbox: Sandbox
    line: socket.socket
    pid: int = 0
    instance: str = ""
    has_struck: bool = False
    ended: dict[str, Any] | None = None
    when_it_waits: Callable[[], None] = lambda: None
    clock_off: float = 0.0
    _file: Any = field(init=False)

    @classmethod
    def of(
        cls,
        workers: Workers,
        api: Api,
        sandbox: Sandbox,
        task: dict[str, Any],
        *,
        point: Point | None = None,
        blow: Blow | None = None,
        request_size: int | None = None,
    ) -> Try:
        """Order a try; its process stands ready, and has not begun."""
        made = cls(api, sandbox, workers.connect())
        order = {
            "task": task,
            "try_number": api.begin_try(),
            "point": point.as_json() if point else None,
            "blow": blow,
            "request_size": request_size,
        }
        made._say(order)
        made.pid = made._heard()["pid"]
        return made

    def __post_init__(self) -> None:
        self._file = self.line.makefile("rw", encoding="utf-8")

    def begin(self) -> None:
        """Let the process go."""
        self._say(True)  # noqa: FBT003 - a word over the line

    def run(self, *, until_struck: bool = False) -> None:
        """Answer what the process asks for, until it has ended."""
        try:
            while (words := self._heard()) is not None:
                if "struck" in words:
                    self.has_struck = True
                    if until_struck:
                        return
                elif "ended" in words:
                    self.ended = words["ended"]
                else:
                    self._say(self._answer(words))
        except (ConnectionError, BrokenPipeError):
            pass
        self.close()

    def wait_until_it_stands_still(self) -> None:
        """Wait until the process has stopped itself."""
        status = Path(f"/proc/{self.pid}/stat")
        deadline = time.monotonic() + _STOP_WITHIN
        while status.read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def wake(self) -> None:
        """Let a process that stands still go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the process, and the line to it."""
        if self.ended is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        with suppress(OSError):
            self._file.close()
        self.line.close()

    def _answer(self, words: dict[str, Any]) -> Any:
        if "api" in words:
            method, url, body = words["api"]
            return self.api.answer(method, url, body, self)
        if "now" in words:
            return self.sandbox.now().timestamp() + self.clock_off
        self.when_it_waits()
        self.sandbox.advance(words["sleep"])
        return True

    def _say(self, words: Any) -> None:
        self._file.write(json.dumps(words) + "\n")
        self._file.flush()

    def _heard(self) -> Any:
        line = self._file.readline()
        return json.loads(line) if line else None
