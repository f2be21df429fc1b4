"""Airflow's own task runner, in this process, against an Execution API that keeps everything in memory.

A task goes through what it goes through on a worker: templating, its try, deferral, resume, retries, XComs
and the task state store. Every request that it makes of the API is kept, for tests that look for leaks.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx

from airflow_provider_winsms.exceptions import InvalidMessage
from tests.support.variants import variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from airflow.sdk import BaseOperator
    from airflow.sdk.definitions.mappedoperator import MappedOperator
    from airflow.sdk.execution_time.supervisor import TaskRunResult
    from airflow.triggers.base import BaseTrigger

_NOT_FOUND = httpx.Response(404, json={"detail": {"reason": "not_found", "message": "not found"}})
_CONNECTION_FIELDS = ("host", "schema", "login", "password", "port", "extra")
_RUN_STARTED = "2026-01-01T00:00:00Z"


@dataclass
class TaskRunner:
    """Runs the tries of one task instance, as the scheduler would have them run.

    :param connections: what ``BaseHook.get_connection`` finds.
    :param retries: how often the task may be tried again.
    :param dag_id: the DAG of the task, unless it has one already.
    :param results: what other tasks returned, by their ids.
    :param map_index: which instance of a mapped task it is, counted from 0; -1 if the task is not mapped.
    :param xcoms_to_clear: the keys that a try deletes before it begins.
    :param trigger_attributes: class attributes of the triggers that it rebuilds.
    :param stand_in: answers requests in the API's place; the API answers those that it returns ``None`` for.
    """

    connections: Mapping[str, Mapping[str, Any]]
    retries: int = 0
    dag_id: str = "dag"
    results: dict[str, Any] = field(default_factory=dict)
    map_index: int = -1
    try_number: int = 0
    xcoms: dict[str, Any] = field(default_factory=dict)
    task_state: dict[str, Any] = field(default_factory=dict)
    rendered: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    tries_until_clear: int = 0
    first_reschedule: str | None = None
    xcoms_to_clear: list[str] = field(default_factory=list)
    trigger_attributes: dict[str, Any] = field(default_factory=lambda: {"first_poll_after": 0.0})
    stand_in: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
    reported: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    _resume: dict[str, Any] = field(default_factory=dict)

    @property
    def max_tries(self) -> int:
        """What Airflow calls so: how many tries there may be, but for one."""
        return self.tries_until_clear + self.retries

    def another(self) -> TaskRunner:
        """Return another task instance, with a store of its own."""
        return replace(self, try_number=0, tries_until_clear=0, xcoms={}, task_state={}, requests=[])

    def clear(self) -> None:
        """Clear the task, as a person does: all its retries come on top of the tries it had."""
        self.tries_until_clear = self.try_number

    def run(self, task: BaseOperator | MappedOperator) -> TaskRunResult:
        """Run the next try of the task, from its beginning."""
        self.try_number += 1
        self._resume = {}
        self.xcoms.clear()
        return self._run(task)

    def refusal(self, build: Callable[[], BaseOperator]) -> BaseException | None:
        """Return the error of a task, whether the DAG cannot be read for it or the task fails of it."""
        try:
            task = build()
        except InvalidMessage as error:
            return error
        return self.run(task).error

    def resume(self, task: BaseOperator, event: Any) -> TaskRunResult:
        """Run the deferred task on, with the event that its trigger fired."""
        kwargs = {**(self.reported.get("next_kwargs") or {}), "event": event}
        self._resume = {"next_method": self.reported["next_method"], "next_kwargs": kwargs}
        return self._run(task)

    def run_to_its_end(self, task: BaseOperator) -> TaskRunResult:
        """Run the next try of the task, and over its deferral if there is one."""
        result = self.run(task)
        return self.resume(task, self.fire()) if result.state == "deferred" else result

    def set_extra(self, **extra: Any) -> None:
        """Give the connection ``winsms_default`` extras, and those alone."""
        gateway = {**self.connections["winsms_default"], "extra": json.dumps(extra)}
        self.connections = {**self.connections, "winsms_default": gateway}

    def add_database(self, name: str, file: Path) -> None:
        """Let a connection of this name lead to a SQLite database."""
        database = {"conn_type": "sqlite", "host": str(file)}
        self.connections = {**self.connections, name: database}

    @property
    def result(self) -> Any:
        """What the task returned."""
        return self.xcoms.get("return_value")

    def trigger(self) -> BaseTrigger:
        """Rebuild the trigger that the task deferred with, from what went to the database."""
        from airflow.sdk._shared.module_loading import import_string
        from airflow.sdk.serde import deserialize

        kind: type[BaseTrigger] = import_string(self.reported["classpath"])
        kwargs: Any = deserialize(self.reported["trigger_kwargs"])
        return variant(kind, **self.trigger_attributes)(**kwargs)

    def fire(self) -> Any:
        """Run the trigger to its first event, and return the event's payload."""
        with _in_environment(self.connections), _with_parent(_Parent(self.xcoms)):
            return asyncio.run(_first_event(self.trigger()))

    def _run(self, task: BaseOperator | MappedOperator) -> TaskRunResult:
        from airflow.sdk import DAG
        from airflow.sdk.api.client import Client
        from airflow.sdk.api.datamodels._generated import TaskInstance
        from airflow.sdk.execution_time.supervisor import run_task_in_process

        if not task.has_dag():
            task.dag = DAG(self.dag_id, schedule=None)
        client = Client(base_url=None, token="", dry_run=True, transport=httpx.MockTransport(self._answer))
        instance = TaskInstance(
            id=uuid.uuid4(),
            task_id=task.task_id,
            dag_id=self.dag_id,
            run_id="run",
            try_number=self.try_number,
            map_index=self.map_index,
            dag_version_id=uuid.uuid4(),
        )
        return run_task_in_process(ti=instance, task=task, client=client)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if (answer := self.stand_in(request)) is not None:
            return answer
        body = json.loads(request.content) if request.content else None
        self.requests.append(f"{request.method} {request.url.path} {request.content.decode()}")
        for pattern, route in _ROUTES:
            if found := re.fullmatch(pattern, request.url.path):
                return route(self, request.method, found.group(1) if found.groups() else "", body)
        return httpx.Response(200, json={"ok": True})

    def _start(self, _method: str, _key: str, _body: Any) -> httpx.Response:
        dag_run: dict[str, Any] = {
            "dag_id": self.dag_id,
            "run_id": "run",
            **dict.fromkeys(("logical_date", "data_interval_start", "data_interval_end"), _RUN_STARTED),
            "start_date": _RUN_STARTED,
            "run_after": _RUN_STARTED,
            "end_date": None,
            "run_type": "manual",
            "state": "running",
            "consumed_asset_events": [],
            "partition_key": None,
            "conf": {},
        }
        return httpx.Response(
            200,
            json={
                "dag_run": dag_run,
                "max_tries": self.max_tries,
                "should_retry": self.try_number <= self.max_tries,
                "task_reschedule_count": 0 if self.first_reschedule is None else 1,
                "xcom_keys_to_clear": self.xcoms_to_clear,
                **self._resume,
            },
        )

    def _connection(self, _method: str, conn_id: str, _body: Any) -> httpx.Response:
        if conn_id not in self.connections:
            return _NOT_FOUND
        empty = dict.fromkeys(_CONNECTION_FIELDS)
        return httpx.Response(200, json={"conn_id": conn_id, **empty, **self.connections[conn_id]})

    def _task_state(self, method: str, key: str, body: Any) -> httpx.Response:
        if method == "PUT":
            self.task_state[key] = body["value"]
        elif method == "DELETE":
            self.task_state.pop(key, None)
        elif key in self.task_state:
            return httpx.Response(200, json={"value": self.task_state[key]})
        else:
            return _NOT_FOUND
        return httpx.Response(204)

    def _xcom(self, method: str, key: str, body: Any) -> httpx.Response:
        if method == "POST":
            self.xcoms[key] = body
            return httpx.Response(201, json={"message": "ok"})
        if key not in self.xcoms:
            return _NOT_FOUND
        return httpx.Response(200, json={"key": key, "value": self.xcoms[key]})

    def _result(self, method: str, task_id: str, body: Any) -> httpx.Response:
        if task_id not in self.results:
            return self._xcom(method, "return_value", body)
        return httpx.Response(200, json={"key": "return_value", "value": self.results[task_id]})

    def _results(self, _method: str, task_id: str, _body: Any) -> httpx.Response:
        """Answer with what all instances of a task returned: the one of a task that is not mapped."""
        return httpx.Response(200, json=[self.results[task_id]] if task_id in self.results else [])

    def _variable(self, method: str, key: str, body: Any) -> httpx.Response:
        if method == "PUT":
            self.variables[key] = body["val"]
            return httpx.Response(201, json={"message": "ok"})
        if key not in self.variables:
            return _NOT_FOUND
        return httpx.Response(200, json={"key": key, "value": self.variables[key]})

    def _first_reschedule(self, _method: str, _key: str, _body: Any) -> httpx.Response:
        return httpx.Response(200, json=self.first_reschedule)

    def _state(self, _method: str, _key: str, body: Any) -> httpx.Response:
        self.reported = body
        return httpx.Response(204)

    def _rendered(self, _method: str, _key: str, body: Any) -> httpx.Response:
        self.rendered = body
        return httpx.Response(201, json={"message": "ok"})


_ROUTES: tuple[tuple[str, Callable[..., httpx.Response]], ...] = (
    (r"/task-instances/[^/]+/run", TaskRunner._start),
    (r"/task-instances/[^/]+/state", TaskRunner._state),
    (r"/task-instances/[^/]+/rtif", TaskRunner._rendered),
    (r"/task-reschedules/[^/]+/start_date", TaskRunner._first_reschedule),
    (r"/connections/([^/]+)", TaskRunner._connection),
    (r"/variables/([^/]+)", TaskRunner._variable),
    (r"/store/ti/[^/]+/([^/]+)", TaskRunner._task_state),
    (r"/xcoms/[^/]+/run/([^/]+)/return_value", TaskRunner._result),
    (r"/xcoms/[^/]+/run/([^/]+)/return_value/slice", TaskRunner._results),
    (r"/xcoms/.*/([^/]+)", TaskRunner._xcom),
)


async def _first_event(trigger: BaseTrigger) -> Any:
    async for event in trigger.run():
        return event.payload
    return None


@dataclass
class _Parent:
    """What a trigger asks the process that started its triggerer for."""

    xcoms: Mapping[str, Any]

    def send(self, message: Any) -> Any:
        """Answer a request for an XCom."""
        from airflow.sdk.execution_time.comms import XComResult

        return XComResult(key=message.key, value=self.xcoms.get(message.key))


@contextmanager
def _with_parent(parent: _Parent) -> Iterator[None]:
    from airflow.sdk.execution_time import task_runner

    before = getattr(task_runner, "SUPERVISOR_COMMS", None)
    task_runner.SUPERVISOR_COMMS = parent  # type: ignore[assignment] # as much of it as a trigger needs
    try:
        yield
    finally:
        task_runner.SUPERVISOR_COMMS = before  # type: ignore[assignment]


@contextmanager
def _in_environment(connections: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Let a trigger find connections: a triggerer asks its parent process, which a test has not."""
    names = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}
    os.environ.update(names)
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]
