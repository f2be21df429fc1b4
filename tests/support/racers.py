"""Processes that all begin at once. They are forks of one, so that Airflow is imported once."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import CodeType

PRELOAD = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.providers.standard.operators.python",
    "airflow_provider_winsms.ledger.sql",
    "airflow_provider_winsms.notifications.sms",
    "airflow_provider_winsms.utils.alerts",
    "tests.ledger.batches",
    "tests.rules.test_frequency_cap",
    "tests.support.task_runner",
)


def raced(script: str, count: int, seconds: float = 120) -> list[list[str]]:
    """Run a script in so many processes at once, and return the lines that each has written.

    :param script: finds its number in ``sys.argv[1]``. It writes ``ready``, reads a line, and begins.
    :param seconds: the longest time that all of them may take.
    """
    with TemporaryDirectory(prefix="race-") as folder:
        command = [sys.executable, "-m", "tests.support.racers", json.dumps([script, count, folder])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        written = [Path(folder, str(number)) for number in range(count)]
        outputs = [file.read_text() if file.exists() else "" for file in written]
        assert done.returncode == 0, (done.stderr, outputs)
        return [output.splitlines() for output in outputs]


def main(script: str, count: int, folder: str) -> None:
    """Fork the processes, let them begin once all are ready, and fail if one of them does."""
    for module in PRELOAD:
        importlib.import_module(module)
    code = compile(script, "the script", "exec")
    starts, readies, children = [], [], []
    for number in range(count):
        (go_read, go_write), (ready_read, ready_write) = os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            _race(code, str(number), Path(folder, str(number)), go_read, ready_write)
        os.close(go_read)
        os.close(ready_write)
        children.append(child)
        starts.append(go_write)
        readies.append(ready_read)
    for ready in readies:
        os.read(ready, 1)  # ends also if the process does
    for start in starts:
        os.write(start, b"go\n")
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    sys.exit(f"{len(failed)} of {count} processes failed" if failed else 0)


def _race(code: CodeType, number: str, file: Path, go: int, ready: int) -> NoReturn:
    """Run the script in this process, whose words go to a file, and end it."""
    status = 1
    try:
        output = os.open(file, os.O_CREAT | os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv[1:] = [number]
        sys.stdin = _Starter(go, ready)
        exec(code, {"__name__": "__main__"})  # noqa: S102 - a test's own
        status = 0
    except BaseException:  # noqa: BLE001 - it ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class _Starter:
    """The input of a process: its line comes once all are ready."""

    def __init__(self, go: int, ready: int) -> None:
        self._go = go
        self._ready = ready

    def readline(self) -> str:
        """Say that this process is ready, and wait for the start."""
        os.write(self._ready, b".")
        return os.read(self._go, 3).decode()


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
