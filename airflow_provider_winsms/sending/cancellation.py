"""Cancelling scheduled texts: asked for once it is written down, and concluded from what the gateway says.

Pure logic over a gateway, a memory and a way to carry calls; it knows neither Airflow nor HTTP.

A gateway answers alike for a text that was cancelled before, for one that has gone out, and for an id that it
never gave. What tells them apart is whether the text was asked for before, without an answer that anybody
knows, and whether the gateway has a status for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_winsms.exceptions import OutcomeUnknown, SmsError
from airflow_provider_winsms.messages import DeliveryState, credits_text, pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from airflow_provider_winsms.gateways.base import Execute, Gateway
    from airflow_provider_winsms.ledger.history import SmsHistory
    from airflow_provider_winsms.messages import Cancellation, MessageId
    from airflow_provider_winsms.runtime import Log

STORE_KEY = "sms_cancel"
"""The key of a request's record in a store; its number stands behind it."""


class CancelState(StrEnum):
    """What is known of a text that was to be cancelled."""

    ASKED = "asked"
    """The gateway was asked, or is about to be; no answer is known."""

    CANCELLED = "cancelled"
    """It will not go out."""

    GONE_OUT = "gone_out"
    """It was too late."""

    NOT_FOUND = "not_found"
    """The gateway did not know it when it was first asked: a wrong id, or cancelled by somebody else."""

    @property
    def is_final(self) -> bool:
        """Whether asking again is of no use."""
        return self in {CancelState.CANCELLED, CancelState.GONE_OUT}


@dataclass(frozen=True, slots=True)
class Known:
    """What a memory has of a text.

    :param cost: what was paid for it, where the memory has that.
    """

    fate: CancelState | None = None
    cost: Decimal | None = None


_NOTHING = Known()


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What became of a text.

    :param refund: what came back for it; ``None`` if nobody knows.
    :param state: how far it had come; ``None`` as long as that was not asked for.
    """

    fate: CancelState
    refund: Decimal | None = None
    state: DeliveryState | None = None


_FATES = {
    "cancelling": CancelState.ASKED,
    "cancelled": CancelState.CANCELLED,
    "sent": CancelState.GONE_OUT,
    "delivered": CancelState.GONE_OUT,
    "failed": CancelState.GONE_OUT,
    "not_sent": CancelState.GONE_OUT,
}
"""What the states of texts in the SQL ledger say; the others say that a text may be waiting."""


class CancelMemory(Protocol):
    """Remembers what the gateway was asked to cancel. What returns has been committed."""

    def recall(self, ids: Sequence[MessageId]) -> Mapping[MessageId, Known]:
        """Return what is known of texts; those are left out of which nothing is."""

    def asking(self, ids: Sequence[MessageId]) -> None:
        """Write that the gateway is about to be asked."""

    def withdraw(self, ids: Sequence[MessageId]) -> None:
        """Write that the gateway provably was not asked, where it is not known to have been before."""

    def learn(self, conclusions: Mapping[MessageId, Conclusion]) -> None:
        """Write what was concluded."""


class Store(Protocol):
    """Keeps JSON values under keys."""

    def get(self, key: str) -> Any:
        """Return a value, or ``None``."""

    def set(self, key: str, value: Any) -> None:
        """Write a value."""


class StoreCancelMemory:
    """The memory in a store: one record for each request, in which each id stands once, under its fate."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: list[_CancelRecord] = []
        while (row := store.get(self._key(len(self._records)))) is not None:
            self._records.append(_CancelRecord.of(row))
        self._record_of = {
            message_id: number for number, record in enumerate(self._records) for message_id in record.fates
        }

    def recall(self, ids: Sequence[MessageId]) -> Mapping[MessageId, Known]:
        """Return what is known of texts."""
        return {
            message_id: Known(self._records[self._record_of[message_id]].fates[message_id])
            for message_id in ids
            if message_id in self._record_of
        }

    def asking(self, ids: Sequence[MessageId]) -> None:
        """Write that the gateway is about to be asked. What it did not know before stays so."""
        new = {message_id: CancelState.ASKED for message_id in ids if message_id not in self._record_of}
        if new:
            self._record_of.update(dict.fromkeys(new, len(self._records)))
            self._records.append(_CancelRecord(new))
            self._write(len(self._records) - 1)

    def withdraw(self, ids: Sequence[MessageId]) -> None:
        """Forget texts."""
        numbers = {message_id: self._record_of.pop(message_id) for message_id in ids}
        for message_id, number in numbers.items():
            del self._records[number].fates[message_id]
        self._write(*numbers.values())

    def learn(self, conclusions: Mapping[MessageId, Conclusion]) -> None:
        """Write what was concluded of texts that were asked for."""
        numbers = {message_id: self._record_of[message_id] for message_id in conclusions}
        for message_id, conclusion in conclusions.items():
            self._records[numbers[message_id]].learn(message_id, conclusion)
        self._write(*numbers.values())

    def _write(self, *numbers: int) -> None:
        for number in sorted(set(numbers)):
            self._store.set(self._key(number), self._records[number].row())

    @staticmethod
    def _key(number: int) -> str:
        return f"{STORE_KEY}.{number + 1:06d}"


class SqlMemory:
    """The memory in the tables of the ledger.

    :param rest: the memory of texts that the tables do not know.
    """

    def __init__(self, history: SmsHistory, rest: CancelMemory) -> None:
        self._history = history
        self._rest = rest
        self._own: set[MessageId] = set()

    def recall(self, ids: Sequence[MessageId]) -> Mapping[MessageId, Known]:
        """Return what is known of texts, in the tables or in the other memory."""
        states = self._history.states(ids)
        self._own.update(states)
        known = {i: Known(_FATES.get(state), cost) for i, (state, cost) in states.items()}
        return {**known, **self._rest.recall(self._others(ids))}

    def asking(self, ids: Sequence[MessageId]) -> None:
        """Write that the gateway is about to be asked."""
        self._history.cancelling([message_id for message_id in ids if message_id in self._own])
        self._rest.asking(self._others(ids))

    def withdraw(self, ids: Sequence[MessageId]) -> None:
        """Write that the gateway was not asked after all."""
        own = {message_id: DeliveryState.UNKNOWN for message_id in ids if message_id in self._own}
        if own:
            self._history.not_cancelled(own)
        self._rest.withdraw(self._others(ids))

    def learn(self, conclusions: Mapping[MessageId, Conclusion]) -> None:
        """Write what was concluded, with the refund of what was cancelled."""
        own = {i: conclusion for i, conclusion in conclusions.items() if i in self._own}
        refunds = {
            i: c.refund for i, c in own.items() if c.fate is CancelState.CANCELLED and c.refund is not None
        }
        states = {
            i: c.state for i, c in own.items() if c.fate is not CancelState.CANCELLED and c.state is not None
        }
        if refunds:
            self._history.cancelled(refunds)
        if states:
            self._history.not_cancelled(states)
        self._rest.learn({i: conclusion for i, conclusion in conclusions.items() if i not in self._own})

    def _others(self, ids: Sequence[MessageId]) -> list[MessageId]:
        return [message_id for message_id in ids if message_id not in self._own]


@dataclass(slots=True)
class _CancelRecord:
    """What is known of the texts of one request."""

    fates: dict[MessageId, CancelState]
    refund: Decimal = Decimal(0)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _CancelRecord:
        fates = {message_id: fate for fate in CancelState for message_id in row.get(fate, ())}
        return cls(fates, Decimal(row["refund"]))

    def learn(self, message_id: MessageId, conclusion: Conclusion) -> None:
        self.fates[message_id] = conclusion.fate
        self.refund += conclusion.refund or 0

    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"refund": str(self.refund)}
        for message_id, fate in self.fates.items():
            row.setdefault(fate.value, []).append(message_id)
        return row


@dataclass(slots=True)
class CancelOutcome:
    """What became of texts that were to be cancelled, in counts.

    :param before: how many of those cancelled were known to be before.
    :param refund_unknown: how many were cancelled whose refund nobody knows.
    """

    cancelled: int = 0
    before: int = 0
    gone_out: int = 0
    not_found: int = 0
    refund: Decimal = Decimal(0)
    refund_unknown: int = 0
    requests: int = 0

    @property
    def not_cancelled(self) -> int:
        """How many were not."""
        return self.gone_out + self.not_found

    def add(self, conclusions: Iterable[Conclusion]) -> None:
        """Count what was concluded now."""
        for conclusion in conclusions:
            self._count(conclusion.fate)
            if conclusion.fate is CancelState.CANCELLED:
                self.refund += conclusion.refund or 0
                self.refund_unknown += conclusion.refund is None

    def add_known(self, fates: Collection[CancelState]) -> None:
        """Count what was known before."""
        for fate in fates:
            self._count(fate)
            self.before += fate is CancelState.CANCELLED

    def summary(self) -> dict[str, Any]:
        """Return the outcome as JSON values; amounts are decimal strings, in credits."""
        return {
            "cancelled": self.cancelled,
            "cancelled_before": self.before,
            "not_cancelled": self.not_cancelled,
            "gone_out": self.gone_out,
            "refund": credits_text(self.refund),
            "requests": self.requests,
        }

    def _count(self, fate: CancelState) -> None:
        self.cancelled += fate is CancelState.CANCELLED
        self.gone_out += fate is CancelState.GONE_OUT
        self.not_found += fate is CancelState.NOT_FOUND


@dataclass(slots=True)
class Canceller:
    """Cancels texts, request by request; ``outcome`` grows as it goes on."""

    gateway: Gateway
    execute: Execute
    memory: CancelMemory
    log: Log
    outcome: CancelOutcome = field(default_factory=CancelOutcome)

    def run(self, ids: Sequence[MessageId]) -> CancelOutcome:
        """Cancel what is not known to be cancelled, or gone out, already.

        :raises GatewayUnavailable: a later try goes on where this one stopped.
        """
        size = self.gateway.limits.message_ids
        for number, start in enumerate(range(0, len(ids), size), start=1):
            self._run_request(number, ids[start : start + size])
        return self.outcome

    def _run_request(self, number: int, ids: Sequence[MessageId]) -> None:
        known = self.memory.recall(ids)
        final = {i: k.fate for i, k in known.items() if k.fate is not None and k.fate.is_final}
        self.outcome.add_known(list(final.values()))
        self._say(number, len(final), "known to be cancelled, or gone out, before: not asked for again.")
        asked = [message_id for message_id in ids if message_id not in final]
        if asked:
            self._ask(number, asked, known)

    def _ask(self, number: int, ids: Sequence[MessageId], known: Mapping[MessageId, Known]) -> None:
        self.memory.asking(ids)
        fresh = [message_id for message_id in ids if known.get(message_id, _NOTHING).fate is None]
        answers, in_doubt = self._answers(number, ids, fresh)
        in_doubt |= {message_id for message_id, k in known.items() if k.fate is CancelState.ASKED}
        in_doubt -= {message_id for message_id, k in known.items() if k.fate is CancelState.NOT_FOUND}
        cancelled = {
            message_id: Conclusion(CancelState.CANCELLED, answers[message_id].refund)
            for message_id in ids
            if message_id in answers and answers[message_id].cancelled
        }
        self._say(number, len(cancelled), "cancelled: the gateway says so.")
        left = [message_id for message_id in ids if message_id not in cancelled]
        never_there = {i: Conclusion(CancelState.NOT_FOUND) for i in left if i not in in_doubt}
        if cancelled or never_there:
            self.memory.learn({**cancelled, **never_there})
        self.outcome.add(cancelled.values())
        if left:
            states = self._states(left)
            # Twice without an answer, and still waiting by its status: nothing can be concluded.
            open_ends = [i for i in left if i not in answers and states.get(i) is DeliveryState.QUEUED]
            for message_id in open_ends:
                del states[message_id]
            self._judge(number, left, states, in_doubt, known)

    def _answers(
        self, number: int, ids: Sequence[MessageId], fresh: Sequence[MessageId]
    ) -> tuple[dict[MessageId, Cancellation], set[MessageId]]:
        """Return the answers, and the ids whose first answer is not known."""
        answers: dict[MessageId, Cancellation] = {}
        self.outcome.requests += 1
        try:
            # Seen by the transport alone, a repeat would make "cancelled" look like "not found".
            given = self.execute(replace(self.gateway.cancel(ids), is_repeatable=False))
            answers = _by_id(given)
        except OutcomeUnknown as error:
            self.log.warning("Request %d: %s", number, error)
        except SmsError:
            # Of a call that must not be repeated, all other errors say that it was not carried out.
            self.memory.withdraw(fresh)
            raise
        missing = [message_id for message_id in ids if message_id not in answers]
        if missing:
            self._say(number, len(missing), "without an answer: asked for again.")
            self.outcome.requests += 1
            given = self.execute(self.gateway.cancel(missing))
            answers.update(_by_id(given))
        return answers, set(missing)

    def _states(self, ids: Sequence[MessageId]) -> dict[MessageId, DeliveryState]:
        """Ask how far texts have come, and once more for those that the answer leaves out."""
        states: dict[MessageId, DeliveryState] = {}
        for _ in range(2):
            if missing := [message_id for message_id in ids if message_id not in states]:
                reports = self.execute(self.gateway.delivery_reports(missing))
                states.update((report.message_id, report.state) for report in reports)
        return states

    def _judge(
        self,
        number: int,
        ids: Sequence[MessageId],
        states: Mapping[MessageId, DeliveryState],
        in_doubt: Collection[MessageId],
        known: Mapping[MessageId, Known],
    ) -> None:
        """Decide by their status about texts that the gateway does not say to have cancelled."""
        conclusions = {}
        for message_id in ids:
            state, cost = states.get(message_id), known.get(message_id, _NOTHING).cost
            if state not in {None, DeliveryState.NOT_FOUND}:
                conclusions[message_id] = Conclusion(CancelState.GONE_OUT, state=state)
            elif state is not None and message_id in in_doubt:
                conclusions[message_id] = Conclusion(CancelState.CANCELLED, cost, state)
            else:
                conclusions[message_id] = Conclusion(CancelState.NOT_FOUND, state=state)
        # Without a status, what was asked stays in doubt, for a later try.
        self.memory.learn({i: c for i, c in conclusions.items() if c.state is not None})
        self.outcome.add(conclusions.values())
        self._say_why(number, [conclusion.fate for conclusion in conclusions.values()])

    def _say_why(self, number: int, fates: Sequence[CancelState]) -> None:
        self._say(
            number,
            fates.count(CancelState.CANCELLED),
            "cancelled: asked for before, with an unknown answer, and now neither scheduled nor known.",
        )
        self._say(
            number,
            fates.count(CancelState.GONE_OUT),
            "gone out: not scheduled any more, and with a status.",
            self.log.warning,
        )
        self._say(
            number,
            fates.count(CancelState.NOT_FOUND),
            "not cancelled: unknown to the gateway when it was first asked. The id is wrong or too old, or "
            "the text was cancelled by somebody else.",
            self.log.warning,
        )

    def _say(self, number: int, count: int, words: str, say: Callable[..., Any] | None = None) -> None:
        if count:
            (say or self.log.info)("Request %d: %s %s", number, pluralize(count, "text"), words)


def _by_id(answers: Iterable[Cancellation]) -> dict[MessageId, Cancellation]:
    """Return the answers by id. Of several for one id, the one counts that says it was cancelled."""
    found: dict[MessageId, Cancellation] = {}
    for answer in answers:
        if answer.cancelled or answer.message_id not in found:
            found[answer.message_id] = answer
    return found
