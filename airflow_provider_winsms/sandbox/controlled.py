"""A WinSMS on a loopback socket whose account, replies and faults Python controls."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox.clock import epoch_seconds
from airflow_provider_winsms.sandbox.gateway import LoopbackGateway
from airflow_provider_winsms.sandbox.operations import operation_named
from airflow_provider_winsms.sandbox.scripts import of_rows
from airflow_provider_winsms.sandbox.wire import credit, render, tenths_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from types import EllipsisType
    from typing import Any, Unpack

    from airflow_provider_winsms.sandbox.faults import FaultOptions
    from airflow_provider_winsms.sandbox.inbox import Arrival
    from airflow_provider_winsms.sandbox.scripts import Script
    from airflow_provider_winsms.sandbox.state import Row

_NUMBER = re.compile(r"[0-9]{3,15}", re.ASCII)


class ControlledGateway(LoopbackGateway):
    """A ``LoopbackGateway`` whose account, replies, scripts and faults are controlled from Python.

    ``Sandbox`` adds the same controls on its socket.
    """

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
                self._simulation.account.balance = tenths_of(credit_balance)
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


def _arrival(number: str, text: str, at: datetime | None = None, *, now: float) -> Arrival:
    return _checked_number(number), text, now if at is None else epoch_seconds(at)


def _checked_number(number: str) -> str:
    if not isinstance(number, str) or not _NUMBER.fullmatch(number):
        msg = "A number must be a text of 3 to 15 digits."
        raise ValueError(msg)
    return number
