"""Cancels scheduled texts. A journal records each request before the gateway is asked.

Pure logic over a gateway, a journal and a function that executes calls. It knows neither Airflow nor HTTP.

A gateway gives the same answer for a text that was cancelled before, for a text that has gone out, and for an
id that it never issued. Two facts tell them apart: whether an earlier request to cancel the text has no known
answer, and whether the text has the state that the gateway reports of cancelled texts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_winsms.exceptions import NotCancelled, OutcomeUnknown, SmsError
from airflow_provider_winsms.messages import DeliveryState, amount_text, pluralize
from airflow_provider_winsms.options import exceeds_tolerance
from airflow_provider_winsms.runtime import FoldedLines, group_title

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from airflow_provider_winsms.gateways.base import Execute, Gateway
    from airflow_provider_winsms.ledger.cancellations import Cancellations
    from airflow_provider_winsms.messages import Cancellation, MessageId
    from airflow_provider_winsms.options import Tolerance
    from airflow_provider_winsms.runtime import Log

STORE_KEY = "sms_cancel"
"""The prefix of the keys in a store. The number of the request follows."""


class CancelState(StrEnum):
    """What is known of a text to be cancelled."""

    ASKED = "asked"
    """The gateway was asked, or is about to be asked. No answer is known."""

    CANCELLED = "cancelled"
    """It will not go out."""

    GONE_OUT = "gone_out"
    """It was too late."""

    NOT_FOUND = "not_found"
    """The gateway did not know the id when first asked: it is wrong, or somebody else cancelled the text."""

    @property
    def is_final(self) -> bool:
        """Whether asking again would change nothing."""
        return self in {CancelState.CANCELLED, CancelState.GONE_OUT}


@dataclass(frozen=True, slots=True)
class PriorCancel:
    """What a journal has of a text.

    :param cost: the cost of the text, if the journal has it.
    """

    state: CancelState | None = None
    cost: Decimal | None = None


_NOTHING = PriorCancel()


@dataclass(frozen=True, slots=True)
class CancelResult:
    """The result for one text.

    :param refund: the refund; ``None`` if it is unknown.
    :param delivery_state: its delivery state; ``None`` if the gateway was not asked for it.
    """

    state: CancelState
    refund: Decimal | None = None
    delivery_state: DeliveryState | None = None


_CANCEL_STATES = {
    "cancelling": CancelState.ASKED,
    "cancelled": CancelState.CANCELLED,
    "sent": CancelState.GONE_OUT,
    "delivered": CancelState.GONE_OUT,
    "failed": CancelState.GONE_OUT,
    "not_sent": CancelState.GONE_OUT,
}
"""The cancel state for each state in the SQL ledger. In any other state a text may still be scheduled."""


class CancelJournal(Protocol):
    """Records which texts the gateway was asked to cancel. Each method commits before it returns."""

    def find(self, ids: Sequence[MessageId]) -> Mapping[MessageId, PriorCancel]:
        """Return what is known of texts. Unknown texts are left out."""

    def record_request(self, ids: Sequence[MessageId]) -> None:
        """Record that the gateway is about to be asked."""

    def forget_request(self, ids: Sequence[MessageId]) -> None:
        """Record that the gateway provably was not asked. An earlier request stays recorded."""

    def record_results(self, results: Mapping[MessageId, CancelResult]) -> None:
        """Record results."""


class KeyValueStore(Protocol):
    """Stores JSON values under keys."""

    def get(self, key: str) -> Any:
        """Return a value, or ``None``."""

    def set(self, key: str, value: Any) -> None:
        """Store a value."""


class StoreCancelJournal:
    """A journal in a store: one record per request, which lists each id once, under its state."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self._records: list[_CancelRecord] = []
        while (row := store.get(self._key(len(self._records)))) is not None:
            self._records.append(_CancelRecord.of(row))
        self._record_of = {
            message_id: number for number, record in enumerate(self._records) for message_id in record.states
        }

    def find(self, ids: Sequence[MessageId]) -> Mapping[MessageId, PriorCancel]:
        """Return what is known of texts."""
        return {
            message_id: PriorCancel(self._records[self._record_of[message_id]].states[message_id])
            for message_id in ids
            if message_id in self._record_of
        }

    def record_request(self, ids: Sequence[MessageId]) -> None:
        """Record that the gateway is about to be asked. A text that is recorded already keeps its state."""
        new = {message_id: CancelState.ASKED for message_id in ids if message_id not in self._record_of}
        if new:
            self._record_of.update(dict.fromkeys(new, len(self._records)))
            self._records.append(_CancelRecord(new))
            self._write(len(self._records) - 1)

    def forget_request(self, ids: Sequence[MessageId]) -> None:
        """Remove texts."""
        numbers = {message_id: self._record_of.pop(message_id) for message_id in ids}
        for message_id, number in numbers.items():
            del self._records[number].states[message_id]
        self._write(*numbers.values())

    def record_results(self, results: Mapping[MessageId, CancelResult]) -> None:
        """Record results of texts that the gateway was asked for."""
        numbers = {message_id: self._record_of[message_id] for message_id in results}
        for message_id, result in results.items():
            self._records[numbers[message_id]].add(message_id, result)
        self._write(*numbers.values())

    def _write(self, *numbers: int) -> None:
        for number in sorted(set(numbers)):
            self._store.set(self._key(number), self._records[number].row())

    @staticmethod
    def _key(number: int) -> str:
        return f"{STORE_KEY}.{number + 1:06d}"


class SqlCancelJournal:
    """A journal in the tables of the ledger.

    :param rest: the journal of texts that the tables do not have.
    """

    def __init__(self, cancellations: Cancellations, rest: CancelJournal) -> None:
        self._cancellations = cancellations
        self._rest = rest
        self._own: set[MessageId] = set()

    def find(self, ids: Sequence[MessageId]) -> Mapping[MessageId, PriorCancel]:
        """Return what the tables or the other journal have of texts."""
        states = self._cancellations.states(ids)
        self._own.update(states)
        known = {i: PriorCancel(_CANCEL_STATES.get(state), cost) for i, (state, cost) in states.items()}
        return {**known, **self._rest.find(self._others(ids))}

    def record_request(self, ids: Sequence[MessageId]) -> None:
        """Record that the gateway is about to be asked."""
        self._cancellations.mark_cancelling([message_id for message_id in ids if message_id in self._own])
        self._rest.record_request(self._others(ids))

    def forget_request(self, ids: Sequence[MessageId]) -> None:
        """Record that the gateway was not asked after all."""
        own = {message_id: DeliveryState.UNKNOWN for message_id in ids if message_id in self._own}
        if own:
            self._cancellations.record_not_cancelled(own)
        self._rest.forget_request(self._others(ids))

    def record_results(self, results: Mapping[MessageId, CancelResult]) -> None:
        """Record results, with the refunds of cancelled texts."""
        own = {i: result for i, result in results.items() if i in self._own}
        refunds = {
            i: c.refund for i, c in own.items() if c.state is CancelState.CANCELLED and c.refund is not None
        }
        states = {
            i: c.delivery_state
            for i, c in own.items()
            if c.state is not CancelState.CANCELLED and c.delivery_state is not None
        }
        if refunds:
            self._cancellations.record_cancelled(refunds)
        if states:
            self._cancellations.record_not_cancelled(states)
        self._rest.record_results({i: result for i, result in results.items() if i not in self._own})

    def _others(self, ids: Sequence[MessageId]) -> list[MessageId]:
        return [message_id for message_id in ids if message_id not in self._own]


@dataclass(slots=True)
class _CancelRecord:
    """The texts of one request, with their states."""

    states: dict[MessageId, CancelState]
    refund: Decimal = Decimal(0)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _CancelRecord:
        states = {message_id: state for state in CancelState for message_id in row.get(state, ())}
        return cls(states, Decimal(row["refund"]))

    def add(self, message_id: MessageId, result: CancelResult) -> None:
        self.states[message_id] = result.state
        self.refund += result.refund or 0

    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"refund": str(self.refund)}
        for message_id, state in self.states.items():
            row.setdefault(state.value, []).append(message_id)
        return row


@dataclass(slots=True)
class CancelOutcome:
    """The outcome of a cancellation, in counts.

    :param cancelled_before: how many of the cancelled texts were known to be cancelled before.
    :param refund_unknown: how many of the cancelled texts have an unknown refund.
    :param currency: of the refund.
    """

    cancelled: int = 0
    cancelled_before: int = 0
    gone_out: int = 0
    not_found: int = 0
    refund: Decimal = Decimal(0)
    refund_unknown: int = 0
    requests: int = 0
    currency: str = ""

    @property
    def not_cancelled(self) -> int:
        """How many texts were not cancelled."""
        return self.gone_out + self.not_found

    def add(self, results: Iterable[CancelResult]) -> None:
        """Count new results."""
        for result in results:
            self._count(result.state)
            if result.state is CancelState.CANCELLED:
                self.refund += result.refund or 0
                self.refund_unknown += result.refund is None

    def add_known(self, states: Collection[CancelState]) -> None:
        """Count texts whose final state was known before."""
        for state in states:
            self._count(state)
            self.cancelled_before += state is CancelState.CANCELLED

    def summary(self) -> dict[str, Any]:
        """Return the outcome as JSON values; amounts are decimal strings."""
        return {
            "cancelled": self.cancelled,
            "cancelled_before": self.cancelled_before,
            "not_cancelled": self.not_cancelled,
            "gone_out": self.gone_out,
            "refund": amount_text(self.refund),
            "currency": self.currency,
            "requests": self.requests,
        }

    def log_to(self, log: Log) -> None:
        """Log the outcome in counts."""
        log.info(
            "Cancelled %d of %s, %d of them before; %s %s refunded%s.",
            self.cancelled,
            pluralize(self.cancelled + self.not_cancelled, "scheduled text"),
            self.cancelled_before,
            amount_text(self.refund),
            self.currency,
            f", without the unknown refund of {pluralize(self.refund_unknown, 'text')}"
            if self.refund_unknown
            else "",
        )

    def raise_if_failed(self, on_not_cancelled: Tolerance) -> None:
        """Raise the error of a cancellation that ended without success.

        :raises NotCancelled: if more texts were not cancelled than ``on_not_cancelled`` allows.
        """
        if self.not_cancelled and exceeds_tolerance(on_not_cancelled, self.cancelled):
            msg = (
                f"{pluralize(self.not_cancelled, 'text')} could not be cancelled: {self.gone_out} gone out, "
                f"{self.not_found} unknown to the gateway. {self.cancelled} were."
            )
            raise NotCancelled(msg, self.not_cancelled)

    def _count(self, state: CancelState) -> None:
        self.cancelled += state is CancelState.CANCELLED
        self.gone_out += state is CancelState.GONE_OUT
        self.not_found += state is CancelState.NOT_FOUND


LINES_SHOWN = 1000
"""How many lines about requests the log of a try has at most."""

REQUESTS_IN_A_GROUP = 50
"""So many requests are cancelled, and then their lines are logged."""


@dataclass(slots=True)
class Canceller:
    """Cancels texts, request by request. ``outcome`` is kept up to date.

    The log has the counts of each request in folded groups, and warnings outside them.
    """

    gateway: Gateway
    execute: Execute
    journal: CancelJournal
    log: Log
    outcome: CancelOutcome = field(init=False)
    _details: FoldedLines = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._details = FoldedLines(self.log, LINES_SHOWN)
        self.outcome = CancelOutcome(currency=self.gateway.currency)

    def run(self, ids: Sequence[MessageId]) -> CancelOutcome:
        """Cancel texts, except those that are known to be cancelled or gone out.

        :raises GatewayUnavailable: if the gateway does not answer. A later try resumes from here.
        """
        size = self.gateway.limits.cancel_ids
        first = number = 1
        try:
            for number, start in enumerate(range(0, len(ids), size), start=1):
                self._run_request(number, ids[start : start + size])
                if number % REQUESTS_IN_A_GROUP == 0:
                    self._details.flush(group_title(first, number))
                    first = number + 1
        finally:
            self._details.flush(group_title(first, number))
        return self.outcome

    def _run_request(self, number: int, ids: Sequence[MessageId]) -> None:
        known = self.journal.find(ids)
        final = {i: k.state for i, k in known.items() if k.state is not None and k.state.is_final}
        self.outcome.add_known(list(final.values()))
        self._log_count(
            number, len(final), "known to be cancelled, or gone out, before: not asked for again."
        )
        asked = [message_id for message_id in ids if message_id not in final]
        if asked:
            self._cancel(number, asked, known)

    def _cancel(self, number: int, ids: Sequence[MessageId], known: Mapping[MessageId, PriorCancel]) -> None:
        self.journal.record_request(ids)
        fresh = [message_id for message_id in ids if known.get(message_id, _NOTHING).state is None]
        answers, in_doubt = self._ask(number, ids, fresh)
        in_doubt |= {message_id for message_id, k in known.items() if k.state is CancelState.ASKED}
        in_doubt -= {message_id for message_id, k in known.items() if k.state is CancelState.NOT_FOUND}
        cancelled = {
            message_id: CancelResult(CancelState.CANCELLED, answers[message_id].refund)
            for message_id in ids
            if message_id in answers and answers[message_id].cancelled
        }
        self._log_count(number, len(cancelled), "cancelled: the gateway says so.")
        left = [message_id for message_id in ids if message_id not in cancelled]
        never_there = {i: CancelResult(CancelState.NOT_FOUND) for i in left if i not in in_doubt}
        if cancelled or never_there:
            self.journal.record_results({**cancelled, **never_there})
        self.outcome.add(cancelled.values())
        if left:
            states = self._states(left)
            # Without an answer twice, and its status says that it waits: nothing can be concluded.
            open_ends = [i for i in left if i not in answers and states.get(i) is DeliveryState.QUEUED]
            for message_id in open_ends:
                del states[message_id]
            self._resolve(number, left, states, in_doubt, known)

    def _ask(
        self, number: int, ids: Sequence[MessageId], fresh: Sequence[MessageId]
    ) -> tuple[dict[MessageId, Cancellation], set[MessageId]]:
        """Return the answers, and the ids whose first answer is unknown."""
        answers: dict[MessageId, Cancellation] = {}
        self.outcome.requests += 1
        try:
            # A repeat by the transport would turn "cancelled" into "not found".
            given = self.execute(replace(self.gateway.cancel(ids), is_repeatable=False))
            answers = _by_id(given)
        except OutcomeUnknown as error:
            self.log.warning("Request %d: %s", number, error)
        except SmsError:
            # If a call must not be repeated, every other error says that it had no effect.
            self.journal.forget_request(fresh)
            raise
        missing = [message_id for message_id in ids if message_id not in answers]
        if missing:
            self._log_count(number, len(missing), "without an answer: asked for again.")
            self.outcome.requests += 1
            given = self.execute(self.gateway.cancel(missing))
            answers.update(_by_id(given))
        return answers, set(missing)

    def _states(self, ids: Sequence[MessageId]) -> dict[MessageId, DeliveryState]:
        """Ask for delivery states, and once more for texts that the answer leaves out."""
        states: dict[MessageId, DeliveryState] = {}
        for _ in range(2):
            if missing := [message_id for message_id in ids if message_id not in states]:
                reports = self.execute(self.gateway.delivery_reports(missing))
                states.update((report.message_id, report.state) for report in reports)
        return states

    def _resolve(
        self,
        number: int,
        ids: Sequence[MessageId],
        states: Mapping[MessageId, DeliveryState],
        in_doubt: Collection[MessageId],
        known: Mapping[MessageId, PriorCancel],
    ) -> None:
        """Decide by their status about texts that the gateway has not confirmed as cancelled."""
        results, cancelled = {}, self.gateway.capabilities.cancelled_state
        for message_id in ids:
            state, cost = states.get(message_id), known.get(message_id, _NOTHING).cost
            if state not in {None, DeliveryState.NOT_FOUND, cancelled}:
                results[message_id] = CancelResult(CancelState.GONE_OUT, delivery_state=state)
            elif state is cancelled and message_id in in_doubt:
                results[message_id] = CancelResult(CancelState.CANCELLED, cost, state)
            else:
                results[message_id] = CancelResult(CancelState.NOT_FOUND, delivery_state=state)
        # Texts without a status stay in doubt, for a later try.
        self.journal.record_results({i: c for i, c in results.items() if c.delivery_state is not None})
        self.outcome.add(results.values())
        self._log_results(number, [result.state for result in results.values()])

    def _log_results(self, number: int, states: Sequence[CancelState]) -> None:
        self._log_count(
            number,
            states.count(CancelState.CANCELLED),
            "cancelled: asked for before, with an unknown answer, and now neither scheduled nor known.",
        )
        self._log_count(
            number,
            states.count(CancelState.GONE_OUT),
            "gone out: not scheduled any more, and with a status.",
            self.log.warning,
        )
        self._log_count(
            number,
            states.count(CancelState.NOT_FOUND),
            "not cancelled: unknown to the gateway when it was first asked. The id is wrong or too old, or "
            "the text was cancelled by somebody else.",
            self.log.warning,
        )

    def _log_count(self, number: int, count: int, words: str, say: Callable[..., Any] | None = None) -> None:
        if count:
            line = f"Request {number}: {pluralize(count, 'text')} {words}"
            if say is None:
                self._details.add(line)
            else:
                say("%s", line)


def _by_id(answers: Iterable[Cancellation]) -> dict[MessageId, Cancellation]:
    """Return the answers by id. Of several answers for one id, one that says "cancelled" wins."""
    found: dict[MessageId, Cancellation] = {}
    for answer in answers:
        if answer.cancelled or answer.message_id not in found:
            found[answer.message_id] = answer
    return found
