"""The documented REST API: it answers requests, from the account or from a script, with faults on demand."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox.admission import admit
from airflow_provider_winsms.sandbox.faults import Delay, Faults, Reply
from airflow_provider_winsms.sandbox.operations import BY_PATH, OperationContext, row_count
from airflow_provider_winsms.sandbox.outbox import SendRequest
from airflow_provider_winsms.sandbox.scripts import Scripts
from airflow_provider_winsms.sandbox.wire import RequestRefused, envelope, parse_json, render

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox.admission import RawRequest
    from airflow_provider_winsms.sandbox.faults import ArmedFault
    from airflow_provider_winsms.sandbox.operations import Operation
    from airflow_provider_winsms.sandbox.simulation import Simulation
    from airflow_provider_winsms.sandbox.state import Row
    from airflow_provider_winsms.sandbox.wire import Generation

_REQUESTS_KEPT = 100_000
_BETWEEN_PAGES = "27110000000"
_DAY = 86_400


class Api:
    """Answers requests to WinSMS paths, and records them.

    :param api_key: the key that it accepts.
    :param wire: the generation of the document that answers are written in.
    """

    def __init__(self, simulation: Simulation, api_key: str, wire: Generation) -> None:
        self._simulation = simulation
        self.api_key = api_key
        self._wire: Generation = wire
        self._stopping = threading.Event()
        self.faults = Faults()
        self.scripts = Scripts()
        self.requests: deque[Row] = deque(maxlen=_REQUESTS_KEPT)

    def clear(self) -> None:
        """Remove all faults, scripts and recorded requests."""
        for kept in (self.faults, self.scripts, self.requests):
            kept.clear()

    def stop(self) -> bool:
        """End all delays, of later requests too, and return whether this is the first call."""
        was_stopping = self._stopping.is_set()
        self._stopping.set()
        return not was_stopping

    def answer(self, request: RawRequest) -> Reply:
        """Answer one request to a WinSMS path."""
        operation = BY_PATH.get(request.path)
        armed = self._fault_for(operation, request.method)
        reply, rows = self._respond(request, armed)
        if armed:
            reply = armed.fault.transform(reply, armed)
        self._record(request, operation, reply, rows)
        self._wait(armed, Delay.AFTER)
        return reply

    def _wait(self, armed: ArmedFault | None, when: Delay) -> None:
        if armed and armed.fault.delay is when:
            self._stopping.wait(armed.seconds)

    def _fault_for(self, operation: Operation | None, method: str) -> ArmedFault | None:
        if operation is None or operation.method != method:
            return None
        with self._simulation.lock:
            return self.faults.strike(operation)

    def _respond(self, request: RawRequest, armed: ArmedFault | None) -> tuple[Reply, int]:
        if armed and armed.fault.refuses:
            return Reply(200, envelope(200, self._simulation.clock.now())), 0
        self._wait(armed, Delay.BEFORE)
        try:
            return self._perform(request, armed)
        except RequestRefused as refusal:
            error = envelope(refusal.status, self._simulation.clock.now()) | {"errorMessage": refusal.text}
            return Reply(refusal.status, error), 0

    def _perform(self, request: RawRequest, armed: ArmedFault | None) -> tuple[Reply, int]:
        simulation = self._simulation
        operation = admit(request, self.api_key)
        body = parse_json(request.body) if operation.method == "POST" else None
        if scripted := self.scripts.answer(operation, request.query, body):
            answer, count = scripted
            return Reply(200, envelope(200, self._simulation.clock.now()) | answer), count
        with simulation.transaction() as now:
            context = OperationContext(
                simulation.account, simulation.outbox, simulation.inbox, now, request.query, body
            )
            answer = operation.perform(context)
            if armed and armed.fault.adds_rows:
                self._add_rows(operation, armed.rows, now)
        reply = Reply(200, envelope(200, now) | render(answer, self._wire))
        return reply, row_count(answer, operation)

    def _add_rows(self, operation: Operation, count: int, now: float) -> None:
        """Add rows to the requested list: texts of another program, or replies."""
        if operation.name == "getScheduledMessages":
            later = SendRequest("Between two pages", [(_BETWEEN_PAGES, None)] * count, now + _DAY)
            self._simulation.outbox.submit(later, now)
            return
        inbox = self._simulation.inbox
        on_short_code = operation.name == "getShortCodeMessages"
        receive = inbox.receive_on_short_code if on_short_code else inbox.receive
        receive([(_BETWEEN_PAGES, f"Between two pages, {each + 1} of {count}", now) for each in range(count)])

    def _record(self, request: RawRequest, operation: Operation | None, reply: Reply, rows: int) -> None:
        with self._simulation.lock:
            self.requests.append(
                {
                    "operation": operation.name if operation else None,
                    "method": request.method,
                    "path": request.path,
                    "status": reply.status if reply.is_sent else None,
                    "rows": rows,
                }
            )
