"""The ``airflow`` command in processes that fork from one that has imported it, which takes seconds.

As a module, it listens on a UNIX socket. Each connection carries one command: a line of JSON with its
arguments and variables, and the three standard streams as file descriptors. The answer is the exit code.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.prove.real_airflow import PATIENCE, clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_ROOT = Path(__file__).parents[2]
_LONGEST = 65536


class Commands:
    """Runs commands of the Airflow in a folder, to be used as a context manager."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._path = home / "commands.sock"

    def __enter__(self) -> Self:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.commands", str(self._path)],
            cwd=self.home,
            env=clean_environment() | {"AIRFLOW_HOME": str(self.home), "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=PATIENCE)

    def run(
        self, arguments: Sequence[str], variables: Mapping[str, str], answer: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command.

        :param variables: added to its environment.
        :param answer: its standard input.
        """
        with (
            tempfile.TemporaryFile("w+") as typed,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
            socket.socket(socket.AF_UNIX) as line,
        ):
            typed.write(answer)
            typed.seek(0)
            line.settimeout(PATIENCE)
            line.connect(str(self._path))
            order = json.dumps([list(arguments), dict(variables)]).encode()
            socket.send_fds(line, [order], [each.fileno() for each in (typed, out, err)])
            code = int(line.recv(_LONGEST) or 1)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())


def execute(line: socket.socket) -> None:
    """Run one command, in a process of its own."""
    order, streams, _, _ = socket.recv_fds(line, _LONGEST, 3)
    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
    arguments, variables = json.loads(order)
    os.environ.update(variables)
    sys.argv = ["airflow", *arguments]
    code = exit_code()
    sys.stdout.flush()
    sys.stderr.flush()
    line.sendall(str(code).encode())


def exit_code() -> int:
    """Run the command that the arguments name, and return what its process would end with."""
    from airflow.__main__ import main

    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
            return 1
        return end.code or 0
    except Exception:  # noqa: BLE001 - as Python does
        traceback.print_exc()
        return 1
    return 0


def warm_up() -> None:
    """Import what a command imports."""
    import airflow.cli.cli_parser
    import airflow.cli.commands.connection_command
    import airflow.providers.sqlite.hooks.sqlite

    import airflow_provider_winsms.cli.commands
    import airflow_provider_winsms.cli.task_state
    import airflow_provider_winsms.hooks.winsms
    import airflow_provider_winsms.ledger.unresolved  # noqa: F401

    airflow.cli.cli_parser.get_parser()


def serve(path: str) -> None:
    """Fork a process for each command, until the standard input ends."""
    warm_up()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(path)
        listener.listen()
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while all(key.fileobj is listener for key, _ in selector.select()):
            line, _ = listener.accept()
            if os.fork() == 0:
                try:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    execute(line)
                finally:
                    os._exit(0)
            line.close()


if __name__ == "__main__":
    serve(sys.argv[1])
