"""The cost of waiting in a triggerer: one poll for all triggers, beside one poll for each.

Only the event loop of the triggerer is measured, in a process of its own whose tasks run triggers. The
gateway is a sandbox in another process. All texts are due at one instant, which is the worst case.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import resource
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from airflow_provider_winsms.delivery.packed_ids import pack
from airflow_provider_winsms.delivery.tracker import DeliveryTracker
from airflow_provider_winsms.delivery.wait import DeliveryWait
from airflow_provider_winsms.hooks.async_hooks import async_hook
from airflow_provider_winsms.sandbox.operations import BASE_PATH
from airflow_provider_winsms.triggers.sms import SmsDeliveryTrigger
from scripts import process_memory
from scripts.bulk_gateways import TRAVEL, statuses_by_the_million

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.gateways.transport import AsyncTransport

ONE_FOR_ALL = "one for all"
ONE_EACH = "one each"
FEW = 10
NOTE = (
    "CPU: beyond an idle loop. Blocked: the longest time at a stretch, without Python's garbage collection, "
    "which scans all objects of the process. Working: the CPU of the loop in that time."
)

_FIRST_ID = 4_000_000_000
_SECONDS_TO_JOIN = 12.0
_INTERVAL = 0.001
_IDLE_SECONDS = 2.0
"""Seconds without a request, in which the CPU of an idle loop is measured."""


@dataclass(frozen=True, slots=True)
class Phase:
    """The cost of a period.

    :param cpu: seconds.
    :param blocked: the longest time in seconds that the loop was blocked at a stretch, without Python's
        garbage collection, which scans all objects of the process.
    :param working: the most seconds of CPU that the loop used at a stretch. On a busy machine the loop is
        blocked for longer than it works.
    :param collecting: seconds of the longest garbage collection.
    """

    cpu: float
    blocked: float
    working: float
    collecting: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The cost of a run.

    :param requests: the requests of one tick.
    :param joining: until all triggers wait; with one poll each, until all have their HTTP session.
    :param tick: a tick without news. Its CPU, like that of ``ending``, is beyond an idle loop's.
    :param ending: a tick in which all texts have arrived and all triggers fire.
    :param memory: the most resident megabytes above the start.
    """

    requests: int
    joining: Phase
    tick: Phase
    ending: Phase
    memory: float

    @property
    def longest(self) -> Phase:
        """The phase in which the loop was blocked longest."""
        return max(self.joining, self.tick, self.ending, key=lambda phase: phase.blocked)


def compared(triggers: int) -> Iterator[tuple[str, str, str, str]]:
    """Yield the cost of one poll each, of one for all, and their ratio."""
    each, shared = (measured(way, triggers, FEW) for way in (ONE_EACH, ONE_FOR_ALL))
    for name, theirs, ours, digits in (
        ("requests of a tick", each.requests, shared.requests, 0),
        ("CPU seconds until all wait", each.joining.cpu, shared.joining.cpu, 1),
        ("CPU seconds of a tick", each.tick.cpu, shared.tick.cpu, 2),
        ("longest time blocked, ms", 1000 * each.longest.blocked, 1000 * shared.longest.blocked, 0),
        ("memory above the start, MB", each.memory, shared.memory, 0),
    ):
        yield name, f"{theirs:,.{digits}f}", f"{ours:,.{digits}f}", f"{theirs / max(ours, 0.001):,.0f}"


def at_scale(triggers: int, ids: int, latency: float) -> Iterator[tuple[str, ...]]:
    """Yield the cost of joining, of a tick and of ending with one poll for all."""
    run = measured(ONE_FOR_ALL, triggers, ids, latency=latency, pause=40.0)
    for name, phase in (
        ("until all wait", run.joining),
        (f"a tick of {run.requests:,} requests", run.tick),
        ("a tick in which all end", run.ending),
    ):
        stretches = (phase.blocked, phase.working, phase.collecting)
        yield name, f"{phase.cpu:.1f}", *(f"{1000 * stretch:.0f}" for stretch in stretches)
    yield "memory above the start, MB", f"{run.memory:.0f}", "", "", ""


def measured(way: str, triggers: int, ids: int, *, latency: float = 0.0, pause: float = 15.0) -> Figures:
    """Measure in a process of its own.

    :param ids: the number of ids of each trigger.
    :param latency: seconds until the gateway answers.
    :param pause: seconds between two ticks. A tick must take less.
    """
    _allow_many_connections()
    with statuses_by_the_million(latency) as box:
        connection = {"conn_type": "winsms", "host": box.base_url, "password": box.api_key}
        environment = {**os.environ, "AIRFLOW_CONN_WINSMS_DEFAULT": json.dumps(connection)}
        controls = f"{box.base_url.removesuffix(BASE_PATH)}/_sandbox"
        arguments = [way, controls, str(triggers), str(ids), str(pause)]
        command = [sys.executable, "-m", "scripts.bench_waits", *arguments]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    joining, tick, ending = (Phase(**found[phase]) for phase in ("joining", "tick", "ending"))
    return Figures(found["requests"], joining, tick, ending, found["memory"])


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Measure, and print a line of JSON."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    way, controls, triggers, ids, pause = sys.argv[1:]
    _allow_many_connections()
    run = {ONE_FOR_ALL: _one_for_all, ONE_EACH: _one_each}[way]
    figures = asyncio.run(run(controls, int(triggers), int(ids), float(pause)))
    print(json.dumps(asdict(figures)), file=answer)


class LoopMonitor:
    """Measures how long the event loop is blocked, by sleeping for a millisecond at a time."""

    def __init__(self) -> None:
        gc.callbacks.append(self._note_collection)
        self._task = asyncio.create_task(self._run())
        self._collected = 0.0
        self._collecting_since = 0.0
        self._begin()

    def _begin(self) -> None:
        self._blocked = self._working = self._collecting = 0.0
        self._cpu, self._began = time.process_time(), time.monotonic()

    async def _run(self) -> None:
        while True:
            began, worked, collected = time.perf_counter(), time.thread_time(), self._collected
            await asyncio.sleep(_INTERVAL)
            collecting = self._collected + self._unfinished() - collected
            self._blocked = max(self._blocked, time.perf_counter() - began - _INTERVAL - collecting)
            self._working = max(self._working, time.thread_time() - worked - collecting)

    def _note_collection(self, phase: str, _: object) -> None:
        if phase == "start":
            self._collecting_since = time.perf_counter()
        else:
            taken = self._unfinished()
            self._collecting_since = 0.0
            self._collected += taken
            self._collecting = max(self._collecting, taken)

    def _unfinished(self) -> float:
        """Seconds of a collection whose end another thread has not recorded yet."""
        return time.perf_counter() - self._collecting_since if self._collecting_since else 0.0

    def lap(self) -> Phase:
        """Return the phase since the last lap."""
        cpu, seconds = time.process_time() - self._cpu, time.monotonic() - self._began
        phase = Phase(cpu, self._blocked, self._working, self._collecting, seconds)
        self._begin()
        return phase

    def end(self) -> None:
        """Stop."""
        gc.callbacks.remove(self._note_collection)
        self._task.cancel()


async def _one_for_all(controls: str, triggers: int, ids: int, pause: float) -> Figures:
    await async_hook("winsms_default")
    start = _start_memory()
    monitor = LoopMonitor()
    first_at = time.time() + _SECONDS_TO_JOIN + triggers / 1000
    tasks = []
    for place in range(triggers):
        # As Airflow 3.3 does when it creates triggers.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(_fire(_trigger(_ids(place, ids), first_at, pause))))
    await asyncio.sleep(0.1)
    joining = monitor.lap()
    await asyncio.sleep(first_at - _IDLE_SECONDS - 0.5 - time.time())
    monitor.lap()
    await asyncio.sleep(_IDLE_SECONDS)
    idle = monitor.lap()
    await asyncio.sleep(first_at + pause - 0.5 - time.time())
    tick = monitor.lap()
    requests = await _number_of_requests(controls)
    await _deliver(controls)
    monitor.lap()
    for task in tasks:
        # gather() would block the loop for longer than anything that is measured.
        await task
    ending = monitor.lap()
    monitor.end()
    asking, firing = (
        replace(phase, cpu=max(0.0, phase.cpu - idle.cpu / idle.seconds * phase.seconds))
        for phase in (tick, ending)
    )
    return Figures(requests, joining, asking, firing, process_memory.peak() - start)


def _trigger(ids: list[int], first_at: float, pause: float) -> SmsDeliveryTrigger:
    wait = DeliveryWait(
        sms_conn_id="winsms_default",
        source={"message_ids": pack(ids)},
        min_delivered=1.0,
        begins_at=first_at,
        shortest_pause=pause,
        longest_pause=pause,
        first_at=first_at,
        end_at=first_at + 3600,
        grace_until=first_at,
    )
    return SmsDeliveryTrigger(wait)


async def _fire(trigger: SmsDeliveryTrigger) -> None:
    async for event in trigger.run():
        if event.payload.get("ended") != "settled":
            msg = f"A trigger did not end as settled: {event.payload}."
            raise RuntimeError(msg)


async def _one_each(controls: str, triggers: int, ids: int, pause: float) -> Figures:
    start = _start_memory()
    monitor = LoopMonitor()
    hook = await async_hook("winsms_default")
    waits = [
        DeliveryTracker(_ids(place, ids), min_delivered=1.0, grace_until=0.0, not_found_holds=120.0)
        for place in range(triggers)
    ]
    transports = await asyncio.gather(*(hook.get_async_conn().__aenter__() for _ in waits))
    joining = monitor.lap()
    await asyncio.sleep(min(pause, _IDLE_SECONDS))
    monitor.lap()
    await asyncio.gather(*map(_ask, waits, transports))
    tick = monitor.lap()
    requests = await _number_of_requests(controls)
    await _deliver(controls)
    monitor.lap()
    await asyncio.gather(*map(_ask, waits, transports))
    await asyncio.gather(*(transport.__aexit__(None, None, None) for transport in transports))
    ending = monitor.lap()
    monitor.end()
    return Figures(requests, joining, tick, ending, process_memory.peak() - start)


async def _ask(wait: DeliveryTracker, transport: AsyncTransport) -> None:
    for call in wait.calls(transport.endpoint.gateway):
        reports = await transport.execute(call)
        wait.record(reports, time.time())


def _ids(place: int, ids: int) -> list[int]:
    first = _FIRST_ID + place * ids
    return list(range(first, first + ids))


async def _number_of_requests(controls: str) -> int:
    return len(await _call_control(f"{controls}/requests"))


async def _deliver(controls: str) -> None:
    """Let all texts arrive."""
    await _call_control(f"{controls}/clock", {"advanceSeconds": TRAVEL.total_seconds()})


async def _call_control(control: str, values: dict[str, float] | None = None) -> Any:
    def call() -> Any:
        body = None if values is None else json.dumps(values).encode()
        with urllib.request.urlopen(control, data=body) as answer:  # noqa: S310 - our own sandbox
            return json.load(answer)

    return await asyncio.to_thread(call)


def _start_memory() -> float:
    # A collection would also scan everything that Airflow imports, for half a second.
    gc.collect()
    gc.freeze()
    return process_memory.reset_peak()


if __name__ == "__main__":
    main()
