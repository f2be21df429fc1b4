"""A WinSMS gateway with one account, on a loopback socket, with methods that control it."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox.account import Account
from airflow_provider_winsms.sandbox.admission import admit
from airflow_provider_winsms.sandbox.clock import SandboxClock, instant, resumed
from airflow_provider_winsms.sandbox.faults import Delay, Faults, Reply
from airflow_provider_winsms.sandbox.inbox import Inbox
from airflow_provider_winsms.sandbox.operations import (
    BASE_PATH,
    BY_PATH,
    OperationContext,
    operation_named,
    row_count,
)
from airflow_provider_winsms.sandbox.outbox import Outbox, SendRequest
from airflow_provider_winsms.sandbox.scripts import Scripts, of_rows
from airflow_provider_winsms.sandbox.server import Server
from airflow_provider_winsms.sandbox.state import State
from airflow_provider_winsms.sandbox.wire import RequestRefused, credit, envelope, minute, parse_json, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import EllipsisType, TracebackType
    from typing import Any, Self, Unpack

    from airflow_provider_winsms.sandbox.admission import RawRequest
    from airflow_provider_winsms.sandbox.faults import ArmedFault, FaultOptions
    from airflow_provider_winsms.sandbox.inbox import Arrival
    from airflow_provider_winsms.sandbox.operations import Operation
    from airflow_provider_winsms.sandbox.scripts import Script
    from airflow_provider_winsms.sandbox.state import Row
    from airflow_provider_winsms.sandbox.wire import Generation

API_KEY = "sandbox-key"
"""The default key."""

_REQUESTS_KEPT = 100_000
_NUMBER = re.compile(r"[0-9]{3,15}", re.ASCII)
_BETWEEN_PAGES = "27110000000"
_DAY = 86_400


class Vendor:
    """A WinSMS gateway on the loopback interface. Use it once, as a context manager.

    :param api_key: the key that it accepts.
    :param speed: how many seconds of its time pass in one second. At 0 its clock stands still until
        ``advance``. At any speed but 1, a ``send_at`` counted from wall time may be in the past here.
    :param seed: decides the outcomes of texts. The same seed and the same texts have the same outcomes.
    :param credits: the credits with which a new account starts.
    :param state: a file that keeps the whole state, including the time. An existing file takes precedence
        over ``credits`` and ``now``. ``None`` keeps the state in memory.
    :param now: the aware time at which a new state starts; by default wall time.
    :param host: a loopback address; no other is accepted.
    :param port: 0 takes a free port.
    :param wire: ``v2`` writes times as strings and nulls explicitly; ``v3`` writes integers and omits nulls.
    :param optouts_in_incoming: whether replies that opt out are incoming messages, too; undocumented.
    :param newest_first: whether the list of scheduled texts begins with the newest; undocumented.
    """

    def __init__(
        self,
        *,
        api_key: str = API_KEY,
        speed: float = 1,
        seed: int = 0,
        credits: float = 10_000,  # noqa: A002 - the field's term
        state: str | Path | None = None,
        now: datetime | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        wire: Generation = "v2",
        optouts_in_incoming: bool = True,
        newest_first: bool = False,
    ) -> None:
        start, tenths = _epoch_seconds(now), _tenths(credits)
        if wire not in {"v2", "v3"}:
            msg = f"wire must be 'v2' or 'v3', not {wire!r}."
            raise ValueError(msg)
        self.api_key = api_key
        self._wire: Generation = wire
        self._address = (host, port)
        self._clock = SandboxClock(start, speed)
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._faults = Faults()
        self._scripts = Scripts()
        self._requests: deque[Row] = deque(maxlen=_REQUESTS_KEPT)
        self._server: Server | None = None
        self._state = State(state, tenths)
        self._account = Account(self._state)
        self._inbox = Inbox(self._state, optouts_in_incoming=optouts_in_incoming)
        self._outbox = Outbox(self._state, self._account, self._inbox, seed, newest_first=newest_first)
        if seen := self._state.clock():
            self._clock = SandboxClock(resumed(*seen, speed), speed)

    def __enter__(self) -> Self:
        """Start to listen."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening."""
        self.close()

    def start(self) -> None:
        """Start to listen, in threads of its own.

        :raises ValueError: if the host is not a loopback address.
        """
        try:
            self._server = Server(self._address, self.answer, self._clock.now)
        except (OSError, ValueError):
            self.close()
            raise
        self._server.start()

    def close(self) -> None:
        """Close every connection, write the state to its file, and close it. A second call does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._server is not None:
            self._server.stop()
            self._server = None
        with self._lock:
            with self._transaction():
                pass
            self._state.close()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            msg = "The sandbox is not listening. Use it as a context manager, or call start()."
            raise RuntimeError(msg)
        return self._server.server_port

    @property
    def base_url(self) -> str:
        """The base URL for a WinSMS connection."""
        return f"http://{self._address[0]}:{self.port}{BASE_PATH}"

    def now(self) -> datetime:
        """Return its time, as an aware time of Johannesburg."""
        return instant(self._clock.now())

    def clock(self) -> Row:
        """Return its time and speed."""
        now = self._clock.now()
        return {"now": instant(now).isoformat(), "wireTime": minute(now), "speed": self._clock.speed}

    def advance(self, seconds: float) -> None:
        """Advance its time. Everything that falls due happens."""
        with self._lock:
            self._clock.advance(seconds)
            with self._transaction():
                pass

    def outbox(self) -> list[Row]:
        """Return every text that was accepted.

        ``status`` is a ``statusErrorCode``, or ``DELIVERED``, or ``CANCELLED``.
        """
        with self._transaction() as now:
            rows = self._outbox.texts(now)
        written: list[Row] = render(rows, "v2")
        return written

    def incoming(self, number: str, text: str) -> int:
        """Receive a reply from a phone, and return its id."""
        return self.add_incoming([(number, text)])[0]

    def add_incoming(self, rows: Iterable[tuple[str, str] | tuple[str, str, datetime]]) -> range:
        """Receive replies, up to hundreds of thousands at once, and return their ids.

        :param rows: number and text, and the aware time of arrival if it is not now; in list order.
        """
        with self._transaction() as now:
            arrivals = [_arrival(*row, now=now) for row in rows]
            return self._inbox.receive(arrivals)

    def shortcode(self, number: str, text: str) -> int:
        """Receive a message on the account's short code, and return its id."""
        with self._transaction() as now:
            return self._inbox.receive_on_short_code([(_checked_number(number), text, now)])[0]

    def account(self) -> Row:
        """Return the state of the account."""
        with self._transaction():
            return {
                "creditBalance": credit(self._account.balance),
                "locked": self._account.is_locked,
                "trialNumber": self._account.trial_number,
                "transactional": self._account.is_transactional,
            }

    def set_account(
        self,
        *,
        locked: bool | None = None,
        trial_number: str | EllipsisType | None = ...,
        credit_balance: float | None = None,
        transactional: bool | None = None,
    ) -> Row:
        """Change the given values, and return the account.

        :param trial_number: makes this a trial account of that number; ``None`` makes it an ordinary one.
        :param transactional: whether the routing profile ignores the do-not-contact list.
        """
        with self._transaction():
            if locked is not None:
                self._account.is_locked = locked
            if not isinstance(trial_number, type(...)):
                self._account.trial_number = trial_number and _checked_number(trial_number)
            if credit_balance is not None:
                self._account.balance = _tenths(credit_balance)
            if transactional is not None:
                self._account.is_transactional = transactional
        return self.account()

    def opt_out(self, number: str) -> None:
        """Opt a number out by hand, as a person does in the Client Zone. The id of the opt-out is null."""
        with self._transaction() as now:
            self._inbox.opt_out(_checked_number(number), now)

    def remove_opt_out(self, number: str) -> None:
        """Remove an opt-out.

        :raises ValueError: if the number has not opted out.
        """
        with self._transaction():
            if not self._inbox.remove_opt_out(number):
                msg = "That number has not opted out."
                raise ValueError(msg)

    def add_dnc(self, number: str) -> None:
        """Put a number on the do-not-contact list."""
        with self._transaction():
            self._inbox.add_do_not_contact(_checked_number(number))

    def remove_dnc(self, number: str) -> None:
        """Remove a number from the do-not-contact list.

        :raises ValueError: if it is not there.
        """
        with self._transaction():
            if not self._inbox.remove_do_not_contact(number):
                msg = "That number is not on the do-not-contact list."
                raise ValueError(msg)

    def scheduled_list(self) -> Row:
        """Return the order of the list of scheduled texts."""
        with self._lock:
            return {"newestFirst": self._outbox.newest_first}

    def set_scheduled_list(self, *, newest_first: bool) -> Row:
        """Change the order of the list of scheduled texts, and return it."""
        with self._lock:
            self._outbox.newest_first = newest_first
        return self.scheduled_list()

    def script(self, operation: str, script: Script) -> None:
        """Have a script answer an operation from now on, in place of the account.

        Faults strike scripted answers, too. ``rows-between-pages`` adds no rows to them.

        :param operation: the name or the path of an operation that lists rows, such as ``smsStatus``.
        :raises ValueError: if the operation does more than list rows, or does not exist.
        """
        self._scripts.add(operation_named(operation), script)

    def script_rows(self, operation: str, rows: Sequence[Any]) -> None:
        """Have an operation list these rows, unchanged, from now on. The sequence may change meanwhile.

        :raises ValueError: as ``script`` does.
        """
        self.script(operation, of_rows(rows))

    def clear_scripts(self) -> None:
        """Remove every script, so that the account answers again."""
        self._scripts.clear()

    def add_fault(self, fault: str, **options: Unpack[FaultOptions]) -> int:
        """Arm a fault, and return its id.

        One fault strikes a request: the oldest that applies to it.

        :param fault: a name in ``faults.FAULTS``.
        :param options: when and how it strikes, as in ``faults.FaultOptions``.
        :raises ValueError: for a wrong name or option.
        """
        with self._lock:
            return self._faults.add(fault, **options)

    def faults(self) -> list[Row]:
        """Return the armed faults, and how often each struck."""
        with self._lock:
            return self._faults.as_rows()

    def clear_faults(self) -> None:
        """Remove every fault."""
        with self._lock:
            self._faults.clear()

    def requests(self) -> list[Row]:
        """Return the requests to WinSMS paths: ``operation``, ``method``, ``path``, ``status``, ``rows``.

        ``status`` is null if no answer was sent. ``rows`` is the number of rows before any fault.
        The last 100,000 requests are kept.
        """
        with self._lock:
            return [dict(row) for row in self._requests]

    def reset(self) -> None:
        """Go back to the first credits, without texts, faults and scripts. The clock continues."""
        with self._transaction():
            self._state.clear()
            self._faults.clear()
            self._scripts.clear()
            self._requests.clear()

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
        with self._lock:
            return self._faults.strike(operation)

    def _respond(self, request: RawRequest, armed: ArmedFault | None) -> tuple[Reply, int]:
        if armed and armed.fault.refuses:
            return Reply(200, envelope(200, self._clock.now())), 0
        self._wait(armed, Delay.BEFORE)
        try:
            return self._perform(request, armed)
        except RequestRefused as refusal:
            error = envelope(refusal.status, self._clock.now()) | {"errorMessage": refusal.text}
            return Reply(refusal.status, error), 0

    def _perform(self, request: RawRequest, armed: ArmedFault | None) -> tuple[Reply, int]:
        operation = admit(request, self.api_key)
        body = parse_json(request.body) if operation.method == "POST" else None
        if scripted := self._scripts.answer(operation, request.query, body):
            answer, count = scripted
            return Reply(200, envelope(200, self._clock.now()) | answer), count
        with self._transaction() as now:
            context = OperationContext(self._account, self._outbox, self._inbox, now, request.query, body)
            answer = operation.perform(context)
            if armed and armed.fault.adds_rows:
                self._add_rows(operation, armed.rows, now)
        reply = Reply(200, envelope(200, now) | render(answer, self._wire))
        return reply, row_count(answer, operation)

    def _add_rows(self, operation: Operation, count: int, now: float) -> None:
        """Add rows to the requested list: texts of another program, or replies."""
        if operation.name == "getScheduledMessages":
            later = SendRequest("Between two pages", [(_BETWEEN_PAGES, None)] * count, now + _DAY)
            self._outbox.submit(later, now)
            return
        on_short_code = operation.name == "getShortCodeMessages"
        receive = self._inbox.receive_on_short_code if on_short_code else self._inbox.receive
        receive([(_BETWEEN_PAGES, f"Between two pages, {each + 1} of {count}", now) for each in range(count)])

    def _record(self, request: RawRequest, operation: Operation | None, reply: Reply, rows: int) -> None:
        with self._lock:
            self._requests.append(
                {
                    "operation": operation.name if operation else None,
                    "method": request.method,
                    "path": request.path,
                    "status": reply.status if reply.is_sent else None,
                    "rows": rows,
                }
            )

    @contextmanager
    def _transaction(self) -> Iterator[float]:
        """Commit one change, after everything that fell due before it, as a whole or not at all."""
        with self._lock:
            now = self._clock.now()
            with self._state.transaction(now):
                self._outbox.send_due(now)
                self._inbox.deliver_replies(now)
                yield now


def _arrival(number: str, text: str, at: datetime | None = None, *, now: float) -> Arrival:
    return _checked_number(number), text, now if at is None else _epoch_seconds(at)


def _epoch_seconds(now: datetime | None) -> float:
    if now is None:
        return time.time()
    if now.tzinfo is None:
        msg = "The time must be aware. Give it a time zone."
        raise ValueError(msg)
    return now.timestamp()


def _tenths(amount: float) -> int:
    if not 0 <= amount <= 10**12:
        msg = f"Credits must be a number of 0 or more, not {amount}."
        raise ValueError(msg)
    return round(amount * 10)


def _checked_number(number: str) -> str:
    if not isinstance(number, str) or not _NUMBER.fullmatch(number):
        msg = "A number must be a text of 3 to 15 digits."
        raise ValueError(msg)
    return number
