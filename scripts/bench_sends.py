"""The sends that are measured: one text to many, by an operator or a plain loop, to a sandbox process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests

from airflow_provider_winsms.sandbox.gateway import API_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RECIPIENTS = 100_000
ROUNDS = 3
TEXT = "Your parcel has arrived at the counter in Long Street. Please bring your ID. Reply STOP to opt out."


def number(index: int) -> str:
    """Return the number of a recipient."""
    return f"2782{index:07d}"


NUMBERS = [number(index) for index in range(RECIPIENTS)]


class Store:
    """A task state store in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """Return the value of a key."""
        return self._kept.get(key)

    def set(self, key: str, value: Any, retention: Any) -> None:  # noqa: ARG002 - nothing expires
        """Store a value."""
        self._kept[key] = value

    def delete(self, key: str) -> None:
        """Delete a key."""
        self._kept.pop(key, None)


class _Task:
    retries = 0


class TaskInstance:
    """The part of a task instance that a send uses. Each is new, so that no send continues another."""

    dag_id, task_id, map_index, try_number, max_tries, task = "bench", "send", -1, 1, 0, _Task()

    def __init__(self) -> None:
        self.run_id = uuid.uuid4().hex

    def xcom_push(self, key: str, value: Any) -> None:
        """Ignore the XCom of a send that fails."""


def context() -> Any:
    """Return the context of a task in its first try."""
    return {"ti": TaskInstance(), "task_state_store": Store()}


def gateway_variable(url: str) -> dict[str, str]:
    """Return the connection to the sandbox, as an environment variable."""
    connection = {"conn_type": "winsms", "host": url, "password": API_KEY}
    return {"AIRFLOW_CONN_WINSMS_DEFAULT": json.dumps(connection)}


def execute(operator: Any, url: str) -> dict[str, Any]:
    """Send without Airflow, with a ledger in memory unless the operator names tables."""
    os.environ.update(gateway_variable(url))
    result: dict[str, Any] = operator.execute(context())
    if result["rejected"]:
        msg = f"Some recipients were declined, so that less was measured: {result['rejected']}."
        raise RuntimeError(msg)
    return result


def send_in_a_loop(url: str, numbers: Sequence[str]) -> None:
    """Send with ``requests`` only."""
    with requests.Session() as session:
        session.headers["AUTHORIZATION"] = API_KEY
        for start in range(0, len(numbers), 1000):
            recipients = [{"mobileNumber": number} for number in numbers[start : start + 1000]]
            answer = session.post(
                f"{url}/sms/outgoing/send", json={"message": TEXT, "recipients": recipients}, timeout=60
            )
            answer.raise_for_status()
            answer.json()


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def add_latency(url: str, seconds: float) -> None:
    """Delay every answer."""
    if seconds:
        fault = {"fault": "latency", "probability": 1, "seconds": seconds}
        faults = url.replace("/api/rest/v1", "/_sandbox/faults")
        requests.post(faults, json=fault, timeout=10).raise_for_status()


@contextmanager
def sandbox() -> Iterator[str]:
    """Run the sandbox in a process of its own, so that its time and memory are not counted."""
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
    msg = "The sandbox ended before it printed its address."
    raise RuntimeError(msg)
