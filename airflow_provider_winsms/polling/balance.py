"""A wait for a balance: what it compares, what a task and its trigger agree on, and what a poll asks for it.

It is a wait without ids in the poll that waits for delivery share, too: one answer is for all waits of a
connection.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import BalanceTooLow
from airflow_provider_winsms.messages import amount_text
from airflow_provider_winsms.options import check_conn_id, decimal_amount
from airflow_provider_winsms.polling.schedule import Schedule
from airflow_provider_winsms.polling.shared_question import SharedQuestion, TrackerWithoutIds
from airflow_provider_winsms.polling.waits import (
    WaitEvent,
    check_text,
    checked_fields,
    deferral_timeout,
    raise_if_refused,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from airflow_provider_winsms.gateways.transport import AsyncTransport
    from airflow_provider_winsms.messages import Balance
    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.runtime import Log

UNREADABLE = "The gateway states no readable balance, which does not count as enough."


class BalanceEvent(WaitEvent, total=False):
    """The last balance of a wait, or the permanent error that ended the wait.

    Amounts are decimal strings. ``balance`` is ``None`` if it is unknown. The rest is what the task asked
    for: a task that resumes does not render its fields again.
    """

    balance: str | None
    least: str
    currency: str
    sms_conn_id: str


@dataclass(frozen=True, slots=True)
class BalanceComparison:
    """A balance beside the least that a task needs.

    :param balance: ``None`` if it is not readable, or not known yet. It is then not enough.
    :param currency: of both amounts.
    """

    balance: Decimal | None
    least: Decimal
    currency: str

    @property
    def is_enough(self) -> bool:
        """Whether the balance is at least the least."""
        return self.balance is not None and self.balance >= self.least

    @property
    def balance_text(self) -> str | None:
        """The balance as a decimal string."""
        return None if self.balance is None else amount_text(self.balance)

    def summary(self) -> dict[str, Any]:
        """Return the balance and its currency as JSON values."""
        return {"balance": self.balance_text, "currency": self.currency}

    def with_verdict(self) -> dict[str, Any]:
        """Return both amounts as JSON values, and whether the balance is too low."""
        return {
            "balance": self.balance_text,
            "least": amount_text(self.least),
            "is_low": not self.is_enough,
            "currency": self.currency,
        }

    def __str__(self) -> str:
        stated = "is not readable" if self.balance is None else f"is {self.balance_text} {self.currency}"
        return f"The balance {stated}; least={amount_text(self.least)} {self.currency}"

    def error(self, sms_conn_id: str, why: str = "", trouble: str = "") -> BalanceTooLow:
        """Return the error for this comparison.

        :param why: the end of the first sentence; empty, or it begins with a blank.
        :param trouble: the error of the last question, or an empty string.
        """
        stated = "unknown" if self.balance is None else f"{self.balance_text} {self.currency}"
        act = "Look at the account" if self.balance is None else "Top the account up"
        msg = (
            f"The balance of the connection {sms_conn_id!r} is {stated}{why}; at least "
            f"{amount_text(self.least)} {self.currency} are needed (least). {act}, then clear the task."
        )
        if trouble:
            msg = f"{msg} The last error: {trouble}"
        return BalanceTooLow(msg, self.balance, self.least)


class BalanceTracker(TrackerWithoutIds):
    """Keeps the last balance of a wait."""

    def __init__(self, least: Decimal, currency: str) -> None:
        self.last = BalanceComparison(None, least, currency)

    @property
    def is_settled(self) -> bool:
        """Whether the last balance is enough."""
        return self.last.is_enough

    def record(self, answers: Iterable[Balance], now: float) -> None:  # noqa: ARG002 - as a tracker
        """Record what the gateway answered."""
        for answer in answers:
            self.last = BalanceComparison(answer.credits, self.last.least, self.last.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceWait:
    """One wait for a balance: of which connection, how much, and until when.

    It holds no secret. Instants are absolute, in seconds since the epoch.

    :param least: the least balance that ends the wait, as a decimal string.
    :param currency: of the balance.
    :param shortest_pause: seconds between two questions.
    :param first_at: when to ask first.
    :param end_at: when to stop.
    """

    sms_conn_id: str
    least: str
    currency: str
    shortest_pause: float
    first_at: float
    end_at: float

    @property
    def schedule(self) -> Schedule:
        """When to ask: after a pause that is always the same."""
        return Schedule(self.first_at, self.shortest_pause, 0.0)

    def tracker(self) -> BalanceTracker:
        """Return a tracker of the balance."""
        return BalanceTracker(decimal_amount("least", self.least), self.currency)

    def deferral_timeout(self, now: float) -> timedelta:
        """Return how long Airflow waits for the trigger."""
        return deferral_timeout(self.end_at, now)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the database keeps while a task is deferred."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> BalanceWait:
        """Read what ``to_json`` wrote.

        :raises InvalidMessage: naming a fact that is missing or wrong.
        """
        return cls(**checked_fields(cls, value, _CHECKS, "The wait for a balance"))


_CHECKS: Mapping[str, Check] = {
    "sms_conn_id": check_conn_id,
    "least": decimal_amount,
    "currency": check_text,
}
"""The checks of facts that are no times. Times are numbers, 0 or more."""


@dataclass(frozen=True, slots=True)
class BalanceResult:
    """How a wait for a balance ended.

    :param trouble: the error of the last question, or an empty string.
    """

    last: BalanceComparison
    sms_conn_id: str
    trouble: str = ""

    def error(self, why: str) -> BalanceTooLow:
        """Return the error for a balance that is not enough.

        :param why: the end of a sentence about the balance, which begins with a blank.
        """
        return self.last.error(self.sms_conn_id, why, self.trouble)

    def to_event(self) -> BalanceEvent:
        """Return the event that carries it."""
        return {
            "ended": "settled" if self.last.is_enough else "timed_out",
            "trouble": self.trouble,
            "balance": self.last.balance_text,
            "least": str(self.last.least),
            "currency": self.last.currency,
            "sms_conn_id": self.sms_conn_id,
        }

    @classmethod
    def from_event(cls, event: BalanceEvent) -> BalanceResult:
        """Read an event.

        :raises SmsError: the permanent error that ended the wait.
        """
        raise_if_refused(event)
        stated = event["balance"]
        last = BalanceComparison(
            balance=None if stated is None else Decimal(stated),
            least=decimal_amount("least", event["least"]),
            currency=event["currency"],
        )
        return cls(last, event["sms_conn_id"], event.get("trouble", ""))


class UnreadableBalance:
    """Logs an unreadable balance once, and again after a readable one."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._is_logged = False

    def name(self, balance: Balance) -> None:
        """Log the balance if it is unreadable."""
        is_unreadable = balance.credits is None
        if is_unreadable and not self._is_logged:
            self._log.warning("%s Waiting goes on.", UNREADABLE)
        self._is_logged = is_unreadable


class BalanceQuestions(SharedQuestion):
    """Asks for the balance when the first wait is due, and hands the answer to all of them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unreadable = UnreadableBalance(self._log)

    async def _ask(self, transport: AsyncTransport) -> None:
        balance = await transport.execute(transport.endpoint.gateway.balance())
        self._unreadable.name(balance)
        await self._hand_out(lambda _: [balance])
