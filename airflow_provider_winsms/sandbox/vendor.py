"""One account at one WinSMS, behind a loopback socket, to be driven from Python."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox.account import Account
from airflow_provider_winsms.sandbox.admission import admitted
from airflow_provider_winsms.sandbox.clock import SandboxClock, instant, resumed
from airflow_provider_winsms.sandbox.faults import Faults, Reply, Waits
from airflow_provider_winsms.sandbox.inbox import Inbox
from airflow_provider_winsms.sandbox.operations import BASE_PATH, BY_PATH, Work, named, row_count
from airflow_provider_winsms.sandbox.outbox import Outbox, TextOrder
from airflow_provider_winsms.sandbox.scripts import Scripts, of_rows
from airflow_provider_winsms.sandbox.server import Server
from airflow_provider_winsms.sandbox.state import State
from airflow_provider_winsms.sandbox.wire import RequestRefused, credit, document, envelope, minute, rendered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import EllipsisType, TracebackType
    from typing import Any, Self, Unpack

    from airflow_provider_winsms.sandbox.admission import RawRequest
    from airflow_provider_winsms.sandbox.faults import Armed, Choices
    from airflow_provider_winsms.sandbox.operations import Operation
    from airflow_provider_winsms.sandbox.scripts import Script
    from airflow_provider_winsms.sandbox.state import Row
    from airflow_provider_winsms.sandbox.wire import Generation

API_KEY = "sandbox-key"
"""The key the sandbox takes unless it is told another."""

_REQUESTS_KEPT = 100_000
_DIALLED = re.compile(r"[0-9]{3,15}", re.ASCII)
_BETWEEN_PAGES = "27110000000"
_A_DAY = 86_400


class Vendor:
    """A WinSMS gateway on the loopback interface, to be used once as a context manager.

    :param api_key: the key it takes.
    :param speed: how many seconds of its time pass in one second; 0 stands still until ``advance``. At any
        speed but 1 its time leaves wall time behind, and a schedule counted from wall time may be past.
    :param seed: decides the fates of texts: the same seed and the same texts, the same fates.
    :param credits: what a new account starts with.
    :param state: a file that keeps everything, the time included; what it holds goes before ``credits`` and
        ``now``. ``None`` keeps it in memory.
    :param now: the aware time at which a new state starts; wall time if not given.
    :param host: a loopback address; no other is accepted.
    :param port: 0 takes a free one.
    :param wire: ``v2`` writes strings for times and explicit nulls, ``v3`` integers, and leaves nulls out.
    :param optouts_in_incoming: whether replies that opt out are incoming messages too; WinSMS does not say.
    :param newest_first: whether the list of scheduled texts begins with the newest; WinSMS does not say.
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
        start, tenths = _start(now), _tenths(credits)
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
        """Listen, in threads of its own.

        :raises ValueError: if the host is not a loopback address.
        """
        try:
            self._server = Server(self._address, self.answer, self._clock.now)
        except (OSError, ValueError):
            self.close()
            raise
        self._server.start()

    def close(self) -> None:
        """Close every connection and the state, which is written to its file; a second time does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._server is not None:
            self._server.stop()
            self._server = None
        with self._lock:
            with self._turn():
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
        """What a WinSMS connection has as its base URL."""
        return f"http://{self._address[0]}:{self.port}{BASE_PATH}"

    def now(self) -> datetime:
        """Return its time, aware, of Johannesburg."""
        return instant(self._clock.now())

    def clock(self) -> Row:
        """Return its time and speed, as the control surface shows them."""
        now = self._clock.now()
        return {"now": instant(now).isoformat(), "wireTime": minute(now), "speed": self._clock.speed}

    def advance(self, seconds: float) -> None:
        """Move its time ahead; what falls due happens."""
        with self._lock:
            self._clock.advance(seconds)
            with self._turn():
                pass

    def outbox(self) -> list[Row]:
        """Return every text that was accepted.

        ``status`` is a ``statusErrorCode``, or ``DELIVERED``, or ``CANCELLED``.
        """
        with self._turn() as now:
            rows = self._outbox.everything(now)
        written: list[Row] = rendered(rows, "v2")
        return written

    def incoming(self, number: str, text: str) -> int:
        """Let a phone reply, and return the reply's id."""
        return self.add_incoming([(number, text)])[0]

    def add_incoming(self, rows: Iterable[tuple[str, str] | tuple[str, str, datetime]]) -> range:
        """Let phones reply, hundreds of thousands at once if need be, and return the replies' ids.

        :param rows: number, text, and the aware time it came if that is not now; in the order of the list.
        """
        with self._turn() as now:
            arrivals = [(_dialled(row[0]), row[1], _start(row[2]) if len(row) > 2 else now) for row in rows]  # noqa: PLR2004
            return self._inbox.receive(arrivals)

    def shortcode(self, number: str, text: str) -> int:
        """Let a phone text the account's short code, and return the message's id."""
        with self._turn() as now:
            return self._inbox.receive_on_short_code([(_dialled(number), text, now)])[0]

    def account(self) -> Row:
        """Return the state of the account."""
        with self._turn():
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
        """Change what is given, and return the account.

        :param trial_number: makes this a trial account of that number, ``None`` an ordinary one.
        :param transactional: whether the routing profile passes by the do-not-contact list.
        """
        with self._turn():
            if locked is not None:
                self._account.is_locked = locked
            if not isinstance(trial_number, type(...)):
                self._account.trial_number = trial_number and _dialled(trial_number)
            if credit_balance is not None:
                self._account.balance = _tenths(credit_balance)
            if transactional is not None:
                self._account.is_transactional = transactional
        return self.account()

    def opt_out(self, number: str) -> None:
        """Enter an opt-out by hand, as a person does in the Client Zone; its id is null."""
        with self._turn() as now:
            self._inbox.opt_out(_dialled(number), now)

    def remove_opt_out(self, number: str) -> None:
        """Remove an opt-out.

        :raises ValueError: if the number has not opted out.
        """
        with self._turn():
            if not self._inbox.remove_opt_out(number):
                msg = "That number has not opted out."
                raise ValueError(msg)

    def add_dnc(self, number: str) -> None:
        """Put a number on the do-not-contact list."""
        with self._turn():
            self._inbox.add_do_not_contact(_dialled(number))

    def remove_dnc(self, number: str) -> None:
        """Take a number off the do-not-contact list.

        :raises ValueError: if it is not there.
        """
        with self._turn():
            if not self._inbox.remove_do_not_contact(number):
                msg = "That number is not on the do-not-contact list."
                raise ValueError(msg)

    def scheduled_list(self) -> Row:
        """Return how the list of scheduled texts is given out."""
        with self._lock:
            return {"newestFirst": self._outbox.newest_first}

    def set_scheduled_list(self, *, newest_first: bool) -> Row:
        """Change the order of the list of scheduled texts, and return how it is given out."""
        with self._lock:
            self._outbox.newest_first = newest_first
        return self.scheduled_list()

    def script(self, operation: str, script: Script) -> None:
        """Have a script answer an operation from now on, in place of what the account has.

        Faults strike it as they do the account's own answers; ``rows-between-pages`` adds none to it.

        :param operation: the name or the path of one that lists rows, ``smsStatus`` among them.
        :raises ValueError: if the operation does more than that, or if there is none of that name.
        """
        self._scripts.add(named(operation), script)

    def script_rows(self, operation: str, rows: Sequence[Any]) -> None:
        """Have an operation list rows as they are from now on; the sequence may change meanwhile.

        :raises ValueError: as ``script`` does.
        """
        self.script(operation, of_rows(rows))

    def clear_scripts(self) -> None:
        """Let the account answer everything again."""
        self._scripts.clear()

    def add_fault(self, fault: str, **choices: Unpack[Choices]) -> int:
        """Ask for a fault, and return its id.

        Requests are struck by one fault each, the oldest that concerns them.

        :param fault: a name in ``faults.FAULTS``.
        :param choices: when and how it strikes; as ``faults.Choices`` has them, all optional.
        :raises ValueError: naming what is wrong.
        """
        with self._lock:
            return self._faults.add(fault, **choices)

    def faults(self) -> list[Row]:
        """Return the faults that were asked for, and how often each struck."""
        with self._lock:
            return self._faults.listed()

    def clear_faults(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._faults.clear()

    def requests(self) -> list[Row]:
        """Return the requests to vendor paths: ``operation``, ``method``, ``path``, ``status``, ``rows``.

        ``status`` is null where no answer was sent; ``rows`` is how many rows were worked out, sent or not.
        The last 100,000 are kept.
        """
        with self._lock:
            return [dict(row) for row in self._requests]

    def reset(self) -> None:
        """Start anew, with the first credits, no texts, no faults and no scripts; the time goes on."""
        with self._turn():
            self._state.empty()
            self._faults.clear()
            self._scripts.clear()
            self._requests.clear()

    def answer(self, request: RawRequest) -> Reply:
        """Answer one request to a vendor path."""
        operation = BY_PATH.get(request.path)
        armed = self._struck(operation, request.method)
        reply, rows = self._worked(request, armed)
        if armed:
            reply = armed.fault.spoil(reply, armed)
        self._note(request, operation, reply, rows)
        self._wait(armed, Waits.AFTER)
        return reply

    def _wait(self, armed: Armed | None, when: Waits) -> None:
        if armed and armed.fault.waits is when:
            self._stopping.wait(armed.seconds)

    def _struck(self, operation: Operation | None, method: str) -> Armed | None:
        if operation is None or operation.method != method:
            return None
        with self._lock:
            return self._faults.strike(operation)

    def _worked(self, request: RawRequest, armed: Armed | None) -> tuple[Reply, int]:
        if armed and armed.fault.refuses:
            return Reply(200, envelope(200, self._clock.now())), 0
        self._wait(armed, Waits.BEFORE)
        try:
            return self._performed(request, armed)
        except RequestRefused as refusal:
            error = envelope(refusal.status, self._clock.now()) | {"errorMessage": refusal.text}
            return Reply(refusal.status, error), 0

    def _performed(self, request: RawRequest, armed: Armed | None) -> tuple[Reply, int]:
        operation = admitted(request, self.api_key)
        body = document(request.body) if operation.method == "POST" else None
        if scripted := self._scripts.answer(operation, request.query, body):
            answer, count = scripted
            return Reply(200, envelope(200, self._clock.now()) | answer), count
        with self._turn() as now:
            work = Work(self._account, self._outbox, self._inbox, now, request.query, body)
            answer = operation.perform(work)
            if armed and armed.fault.adds_rows:
                self._add_rows(operation, armed.rows, now)
        reply = Reply(200, envelope(200, now) | rendered(answer, self._wire))
        return reply, row_count(answer, operation)

    def _add_rows(self, operation: Operation, count: int, now: float) -> None:
        """Let rows come into the list that was asked for: texts of another program, or replies."""
        if operation.name == "getScheduledMessages":
            later = TextOrder("Between two pages", [(_BETWEEN_PAGES, None)] * count, now + _A_DAY)
            self._outbox.submit(later, now)
            return
        on_short_code = operation.name == "getShortCodeMessages"
        receive = self._inbox.receive_on_short_code if on_short_code else self._inbox.receive
        receive([(_BETWEEN_PAGES, f"Between two pages, {each + 1} of {count}", now) for each in range(count)])

    def _note(self, request: RawRequest, operation: Operation | None, reply: Reply, rows: int) -> None:
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
    def _turn(self) -> Iterator[float]:
        """Do one thing at one instant, after all that fell due before it, as a whole or not at all."""
        with self._lock:
            now = self._clock.now()
            with self._state.transaction(now):
                self._outbox.send_due(now)
                self._inbox.deliver_replies(now)
                yield now


def _start(now: datetime | None) -> float:
    if now is None:
        return time.time()
    if now.tzinfo is None:
        msg = "The time must be aware: give it a zone."
        raise ValueError(msg)
    return now.timestamp()


def _tenths(amount: float) -> int:
    if not 0 <= amount <= 10**12:
        msg = f"Credits must be a number of 0 or more, not {amount}."
        raise ValueError(msg)
    return round(amount * 10)


def _dialled(number: str) -> str:
    if not isinstance(number, str) or not _DIALLED.fullmatch(number):
        msg = "A number must be a text of 3 to 15 digits."
        raise ValueError(msg)
    return number
