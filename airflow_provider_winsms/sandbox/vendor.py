"""WinSMS on a loopback socket, with methods that control it from Python."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox.api import Api
from airflow_provider_winsms.sandbox.clock import instant
from airflow_provider_winsms.sandbox.operations import BASE_PATH, operation_named
from airflow_provider_winsms.sandbox.scripts import of_rows
from airflow_provider_winsms.sandbox.server import Server
from airflow_provider_winsms.sandbox.simulation import Simulation
from airflow_provider_winsms.sandbox.wire import credit, minute, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import EllipsisType, TracebackType
    from typing import Any, Self, Unpack

    from airflow_provider_winsms.sandbox.admission import RawRequest
    from airflow_provider_winsms.sandbox.faults import FaultOptions, Reply
    from airflow_provider_winsms.sandbox.inbox import Arrival
    from airflow_provider_winsms.sandbox.scripts import Script
    from airflow_provider_winsms.sandbox.state import Row
    from airflow_provider_winsms.sandbox.wire import Generation

API_KEY = "sandbox-key"
"""The default key."""

_NUMBER = re.compile(r"[0-9]{3,15}", re.ASCII)


class Vendor:
    """WinSMS on the loopback interface: its documented paths only. Use it once, as a context manager.

    ``Sandbox`` adds paths that control it.

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
        self._address = (host, port)
        self._server: Server | None = None
        self._simulation = Simulation(
            start=start,
            speed=speed,
            seed=seed,
            tenths=tenths,
            state=state,
            optouts_in_incoming=optouts_in_incoming,
            newest_first=newest_first,
        )
        self._api = Api(self._simulation, api_key, wire)

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
            self._server = Server(self._address, self.answer, self._simulation.clock.now)
        except (OSError, ValueError):
            self.close()
            raise
        self._server.start()

    def close(self) -> None:
        """Close every connection, write the state to its file, and close it. A second call does nothing."""
        if not self._api.stop():
            return
        if self._server is not None:
            self._server.stop()
            self._server = None
        self._simulation.close()

    @property
    def api_key(self) -> str:
        """The key that it accepts."""
        return self._api.api_key

    @api_key.setter
    def api_key(self, api_key: str) -> None:
        self._api.api_key = api_key

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
        return instant(self._simulation.clock.now())

    def clock(self) -> Row:
        """Return its time and speed."""
        now = self._simulation.clock.now()
        return {
            "now": instant(now).isoformat(),
            "wireTime": minute(now),
            "speed": self._simulation.clock.speed,
        }

    def advance(self, seconds: float) -> None:
        """Advance its time. Everything that falls due happens."""
        self._simulation.advance(seconds)

    def outbox(self) -> list[Row]:
        """Return every text that was accepted.

        ``status`` is a ``statusErrorCode``, or ``DELIVERED``, or ``CANCELLED``.
        """
        with self._simulation.transaction() as now:
            rows = self._simulation.outbox.texts(now)
        written: list[Row] = render(rows, "v2")
        return written

    def incoming(self, number: str, text: str) -> int:
        """Receive a reply from a phone, and return its id."""
        return self.add_incoming([(number, text)])[0]

    def add_incoming(self, rows: Iterable[tuple[str, str] | tuple[str, str, datetime]]) -> range:
        """Receive replies, up to hundreds of thousands at once, and return their ids.

        :param rows: number and text, and the aware time of arrival if it is not now; in list order.
        """
        with self._simulation.transaction() as now:
            arrivals = [_arrival(*row, now=now) for row in rows]
            return self._simulation.inbox.receive(arrivals)

    def shortcode(self, number: str, text: str) -> int:
        """Receive a message on the account's short code, and return its id."""
        with self._simulation.transaction() as now:
            return self._simulation.inbox.receive_on_short_code([(_checked_number(number), text, now)])[0]

    def account(self) -> Row:
        """Return the state of the account."""
        with self._simulation.transaction():
            return {
                "creditBalance": credit(self._simulation.account.balance),
                "locked": self._simulation.account.is_locked,
                "trialNumber": self._simulation.account.trial_number,
                "transactional": self._simulation.account.is_transactional,
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
        with self._simulation.transaction():
            if locked is not None:
                self._simulation.account.is_locked = locked
            if not isinstance(trial_number, type(...)):
                self._simulation.account.trial_number = trial_number and _checked_number(trial_number)
            if credit_balance is not None:
                self._simulation.account.balance = _tenths(credit_balance)
            if transactional is not None:
                self._simulation.account.is_transactional = transactional
        return self.account()

    def opt_out(self, number: str) -> None:
        """Opt a number out by hand, as a person does in the Client Zone. The id of the opt-out is null."""
        with self._simulation.transaction() as now:
            self._simulation.inbox.opt_out(_checked_number(number), now)

    def remove_opt_out(self, number: str) -> None:
        """Remove an opt-out.

        :raises ValueError: if the number has not opted out.
        """
        with self._simulation.transaction():
            if not self._simulation.inbox.remove_opt_out(number):
                msg = "That number has not opted out."
                raise ValueError(msg)

    def add_dnc(self, number: str) -> None:
        """Put a number on the do-not-contact list."""
        with self._simulation.transaction():
            self._simulation.inbox.add_do_not_contact(_checked_number(number))

    def remove_dnc(self, number: str) -> None:
        """Remove a number from the do-not-contact list.

        :raises ValueError: if it is not there.
        """
        with self._simulation.transaction():
            if not self._simulation.inbox.remove_do_not_contact(number):
                msg = "That number is not on the do-not-contact list."
                raise ValueError(msg)

    def scheduled_list(self) -> Row:
        """Return the order of the list of scheduled texts."""
        with self._simulation.lock:
            return {"newestFirst": self._simulation.outbox.newest_first}

    def set_scheduled_list(self, *, newest_first: bool) -> Row:
        """Change the order of the list of scheduled texts, and return it."""
        with self._simulation.lock:
            self._simulation.outbox.newest_first = newest_first
        return self.scheduled_list()

    def script(self, operation: str, script: Script) -> None:
        """Have a script answer an operation from now on, in place of the account.

        Faults strike scripted answers, too. ``rows-between-pages`` adds no rows to them.

        :param operation: the name or the path of an operation that lists rows, such as ``smsStatus``.
        :raises ValueError: if the operation does more than list rows, or does not exist.
        """
        self._api.scripts.add(operation_named(operation), script)

    def script_rows(self, operation: str, rows: Sequence[Any]) -> None:
        """Have an operation list these rows, unchanged, from now on. The sequence may change meanwhile.

        :raises ValueError: as ``script`` does.
        """
        self.script(operation, of_rows(rows))

    def clear_scripts(self) -> None:
        """Remove every script, so that the account answers again."""
        self._api.scripts.clear()

    def add_fault(self, fault: str, **options: Unpack[FaultOptions]) -> int:
        """Arm a fault, and return its id.

        One fault strikes a request: the oldest that applies to it.

        :param fault: a name in ``faults.FAULTS``.
        :param options: when and how it strikes, as in ``faults.FaultOptions``.
        :raises ValueError: for a wrong name or option.
        """
        with self._simulation.lock:
            return self._api.faults.add(fault, **options)

    def faults(self) -> list[Row]:
        """Return the armed faults, and how often each struck."""
        with self._simulation.lock:
            return self._api.faults.as_rows()

    def clear_faults(self) -> None:
        """Remove every fault."""
        with self._simulation.lock:
            self._api.faults.clear()

    def requests(self) -> list[Row]:
        """Return the requests to WinSMS paths: ``operation``, ``method``, ``path``, ``status``, ``rows``.

        ``status`` is null if no answer was sent. ``rows`` is the number of rows before any fault.
        The last 100,000 requests are kept.
        """
        with self._simulation.lock:
            return [dict(row) for row in self._api.requests]

    def reset(self) -> None:
        """Go back to the first credits, without texts, faults and scripts. The clock continues."""
        with self._simulation.transaction():
            self._simulation.clear()
            self._api.clear()

    def answer(self, request: RawRequest) -> Reply:
        """Answer one request to a WinSMS path."""
        return self._api.answer(request)


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
