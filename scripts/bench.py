"""Measure, side by side in one run. Ratios hold on any machine; seconds only on this one."""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

import requests
import structlog
from rich.console import Console
from rich.table import Table

from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from airflow_provider_winsms.sandbox.box import API_KEY
from scripts.public_modules import public_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RECIPIENTS = 100_000
ROUNDS = 3
TEXT = "Your parcel has arrived at the counter in Long Street. Please bring your ID. Reply STOP to opt out."
NUMBERS = [f"2782{place:07d}" for place in range(RECIPIENTS)]
BASE_IMPORT = "from airflow.sdk import DAG, BaseOperator"
console = Console(highlight=False)


def main() -> None:
    """Print one table per question."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    _bench_requests()
    _bench_seconds(latency=0.0)
    _bench_seconds(latency=0.1)
    _bench_imports()


def _bench_requests() -> None:
    with _sandbox() as url:
        rows = [("one text to all", _send_ours(url)["requests"], ceil(RECIPIENTS / 1000))]
        for length in (80, 160):
            messages = _messages(length)
            sent = _execute(SmsSendBatchOperator(task_id="send", messages=messages), url)["requests"]
            rows.append((f"a text of {length} characters of its own to each", sent, _fewest(messages)))
    _print(f"{RECIPIENTS:,} recipients", ("", "requests sent", "fewest possible"), *rows)


def _bench_seconds(latency: float) -> None:
    with _sandbox() as url:
        _add_latency(url, latency)
        ours, loop = _side_by_side(lambda: _send_ours(url), lambda: _send_in_a_loop(url))
    _print(
        f"{RECIPIENTS:,} recipients at {latency * 1000:.0f} ms latency",
        ("", "seconds", "ratio"),
        ("a plain requests loop", f"{loop:.2f}", "1.00"),
        ("SmsSendOperator", f"{ours:.2f}", f"{ours / loop:.2f}"),
    )


def _bench_imports() -> None:
    """Time both within one interpreter: its start varies by more than what is measured."""
    samples = [_import_seconds() for _ in range(11)]
    base, ours = (statistics.median(sample[place] for sample in samples) for place in (0, 1))
    _print(
        "What a DAG file imports",
        ("", "ms", "beyond"),
        (BASE_IMPORT, f"{base * 1000:.0f}", ""),
        ("every public module after it", f"{ours * 1000:.0f}", f"{ours / base * 100:.1f} %"),
    )


def _import_seconds() -> tuple[float, float]:
    ours = "; ".join(f"import {module}" for module in public_modules())
    code = (
        f"from time import perf_counter as now; a = now(); {BASE_IMPORT}; b = now(); {ours}; c = now(); "
        "print(b - a, c - b)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    base, beyond = map(float, done.stdout.split())
    return base, beyond


def _print(title: str, head: Sequence[str], *rows: Sequence[object]) -> None:
    table = Table(*head, title=title, title_justify="left")
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)


def _side_by_side(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Return the median seconds of each, run in turn, so that both see the same machine."""
    first()
    second()
    pairs = [(_timed(first), _timed(second)) for _ in range(ROUNDS)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


class _Store:
    """A task state store that forgets with the process."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self._kept.get(key)

    def set(self, key: str, value: Any, retention: Any) -> None:  # noqa: ARG002 - it keeps nothing for long
        self._kept[key] = value

    def delete(self, key: str) -> None:
        self._kept.pop(key, None)


class _Task:
    retries = 0


class _TaskInstance:
    """What a send asks of its task instance."""

    try_number, max_tries, task = 1, 0, _Task()


def _execute(operator: Any, url: str) -> dict[str, Any]:
    connection = {"conn_type": "winsms", "host": url, "password": API_KEY}
    os.environ["AIRFLOW_CONN_WINSMS_DEFAULT"] = json.dumps(connection)
    result: dict[str, Any] = operator.execute({"ti": _TaskInstance(), "task_state_store": _Store()})
    return result


def _send_ours(url: str) -> dict[str, Any]:
    return _execute(SmsSendOperator(task_id="send", text=TEXT, to=NUMBERS), url)


def _messages(length: int) -> list[dict[str, str]]:
    return [{"text": f"{place:06d}".ljust(length, "x"), "to": number} for place, number in enumerate(NUMBERS)]


def _fewest(messages: list[dict[str, str]]) -> int:
    """Return how few requests hold the batch: all its messages are of one length."""
    message = {
        "message": messages[0]["text"],
        "recipients": [{"mobileNumber": messages[0]["to"]}],
        "maxSegments": 1,
    }
    size = len(json.dumps(message, separators=(",", ":"))) + 1
    return ceil(RECIPIENTS / min(1000, (195_000 - len('{"messages":[]}') + 1) // size))


def _send_in_a_loop(url: str) -> None:
    with requests.Session() as session:
        session.headers["AUTHORIZATION"] = API_KEY
        for start in range(0, RECIPIENTS, 1000):
            recipients = [{"mobileNumber": number} for number in NUMBERS[start : start + 1000]]
            answer = session.post(
                f"{url}/sms/outgoing/send", json={"message": TEXT, "recipients": recipients}, timeout=60
            )
            answer.raise_for_status()
            answer.json()


def _add_latency(url: str, seconds: float) -> None:
    if seconds:
        fault = {"fault": "latency", "probability": 1, "seconds": seconds}
        faults = url.replace("/api/rest/v1", "/_sandbox/faults")
        requests.post(faults, json=fault, timeout=10).raise_for_status()


@contextmanager
def _sandbox() -> Iterator[str]:
    """Run the sandbox in a process of its own, so that its work is not counted as ours."""
    command = [sys.executable, "-m", "airflow_provider_winsms.sandbox", "--port", "0", "--credits", "1e8"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield _announced_url(process)
    finally:
        process.terminate()
        process.communicate()


def _announced_url(process: subprocess.Popen[str]) -> str:
    for line in process.stdout or ():
        for word in line.split():
            if word.startswith("http://") and word.endswith("/api/rest/v1"):
                return word
    msg = "The sandbox ended before it said where it is."
    raise RuntimeError(msg)


if __name__ == "__main__":
    main()
