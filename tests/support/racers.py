"""Processes that all begin at once."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack


def raced(script: str, count: int, seconds: float = 120) -> list[list[str]]:
    """Run a script in so many processes at once, and return the lines that each has written.

    :param script: finds its number in ``sys.argv[1]``. It writes ``ready``, reads a line, and begins.
    :param seconds: the longest time that a process may take.
    """
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", script, str(number)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(count)
        ]
        for racer in racers:
            assert racer.stdout is not None
            while (line := racer.stdout.readline()) != "ready\n":
                assert line, racer.communicate()
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        return [_lines(racer, seconds) for racer in racers]


def _lines(racer: subprocess.Popen[str], seconds: float) -> list[str]:
    out, err = racer.communicate(timeout=seconds)
    assert racer.returncode == 0, err
    return out.splitlines()
