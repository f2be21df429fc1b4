"""Counts the outcome of a send, and says what it means for the task."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    OutcomeUnknown,
    OutOfCredits,
    SendRejected,
    SmsError,
)
from airflow_provider_winsms.messages import (
    Receipt,
    RejectReason,
    amount_text,
    mask_number,
    pluralize,
    reasons_in_words,
)
from airflow_provider_winsms.options import PARTIAL_RESULT_KEY, exceeds_tolerance

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.ledger.base import RequestKey, RequestRecord
    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.options import Tolerance
    from airflow_provider_winsms.runtime import Log
    from airflow_provider_winsms.sending.plan import ListChanges, Plan

DECLINED_SHOWN = 20
"""How many declined recipients an outcome lists. The counts include all."""

UNKNOWN_SHOWN = 10
"""How many requests with unknown recipients an error lists. The counts include all."""


@dataclass(slots=True)
class SendOutcome:
    """The outcome of a send so far: ids, counts and amounts. It has no text and no whole number."""

    recipients: int = 0
    duplicates: int = 0
    changes: ListChanges | None = None
    message_ids: list[MessageId] = field(default_factory=list)
    rejected: Counter[RejectReason] = field(default_factory=Counter)
    unknown: int = 0
    cost: Decimal = Decimal(0)
    """The sum of the known costs, less the refunds of cancelled texts."""
    unpriced: int = 0
    """How many accepted texts have no readable cost."""
    balance: Decimal | None = None
    currency: str = ""
    """Of the cost and the balance."""
    requests: int = 0
    held_until: set[DateTime | None] = field(default_factory=set)
    """Until when the gateway holds the texts without a time of their own. ``None``: they left at once."""
    repeated: int = 0
    """How many accepted texts went to recipients who are sent to again."""
    accepted_before: int = 0
    """How many accepted texts belong to requests that this try found in the ledger."""
    taken_out: int = 0
    """How many of the rejected recipients were taken out by rules of the sender."""
    declined: list[str] = field(default_factory=list)
    """The first declined recipients, masked, with the reason. For logs."""
    unknown_requests: list[str] = field(default_factory=list)
    """The requests with recipients whose outcome is unknown. For errors."""

    @classmethod
    def before(
        cls, plan: Plan, rejected: Sequence[RejectReason], taken_out: Sequence[RejectReason], currency: str
    ) -> SendOutcome:
        """Return the outcome of a send before its first request.

        :param rejected: why invalid recipients came into no request.
        :param taken_out: why rules let recipients come into no request.
        """
        return cls(
            plan.recipients + len(rejected) + len(taken_out),
            plan.duplicates,
            plan.changes,
            rejected=Counter((*rejected, *taken_out)),
            taken_out=len(taken_out),
            currency=currency,
        )

    @property
    def accepted(self) -> int:
        """How many recipients were accepted. Under ``AT_LEAST_ONCE`` one recipient may have several texts."""
        return len(self.message_ids) - self.repeated

    @property
    def sent_now(self) -> int:
        """How many accepted texts belong to requests that this try submitted."""
        return len(self.message_ids) - self.accepted_before

    @property
    def reasons(self) -> dict[str, int]:
        """The number of declined recipients per reason."""
        return {str(reason): count for reason, count in sorted(self.rejected.items()) if count}

    @property
    def not_tried(self) -> int:
        """How many recipients are in no submitted request."""
        return self.recipients - self.accepted - self.rejected.total() - self.unknown

    def add(
        self,
        key: RequestKey,
        record: RequestRecord,
        sent_again: Collection[int],
        gone: Collection[int] = (),
    ) -> None:
        """Count one request.

        :param sent_again: the positions that a later round sends. That round counts them.
        :param gone: the positions that are no longer in the list. They count only if they were accepted.
        """
        self.requests += 1
        self.held_until.add(record.send_at)
        left_out = record.resendable.keys() & gone if gone else ()
        self.recipients -= len(left_out)
        self.message_ids += (record.ids[position] for position in sorted(record.ids))
        self.repeated += len(record.ids.keys() & sent_again)
        self.rejected.update(
            why
            for position, why in record.declined.items()
            if position not in sent_again and position not in left_out
        )
        self.cost += sum(record.costs.values()) - sum(record.refunds.values())
        self.unpriced += len(record.ids) - len(record.costs)
        if in_doubt := len(record.in_doubt):
            self.unknown += in_doubt
            again = f" of round {key.round}" if key.round > 1 else ""
            self.unknown_requests.append(f"{in_doubt} in request {key.request}{again}")

    def add_details(self, receipts: Iterable[Receipt]) -> None:
        """Keep the balance and the first declined recipients, for the log."""
        for receipt in receipts:
            if receipt.balance is not None:
                self.balance = receipt.balance
            if receipt.reason is not None and len(self.declined) < DECLINED_SHOWN:
                self.declined.append(f"{mask_number(receipt.number)} {receipt.reason}")

    def remove_resent(self, reasons: Iterable[RejectReason]) -> None:
        """Remove recipients who are sent to again from the counts. Their next request counts them."""
        self.rejected.subtract(reasons)
        self.rejected += Counter()

    def summary(self) -> dict[str, Any]:
        """Return the outcome as JSON values; amounts are decimal strings."""
        changes = {} if self.changes is None else {"changes": asdict(self.changes)}
        return {
            "message_ids": list(self.message_ids),
            "accepted": self.accepted,
            "rejected": self.reasons,
            "unknown": self.unknown,
            "not_tried": self.not_tried,
            "duplicates": self.duplicates,
            "cost": None if self.unpriced else amount_text(self.cost),
            "balance": None if self.balance is None else amount_text(self.balance),
            "currency": self.currency,
            "requests": self.requests,
            **changes,
        }

    def logged_summary(self, log: Log, *, is_shared: bool) -> dict[str, Any]:
        """Log the outcome in counts and masked numbers, and return its summary.

        :param is_shared: whether other tasks send the same batch.
        """
        if self.accepted_before:
            log.info(
                "Resumed: %d accepted by an earlier try%s, %d sent now. In all:",
                self.accepted_before,
                " or task" if is_shared else "",
                self.sent_now,
            )
        if self.declined:
            log.info("Declined recipients; the first: %s.", ", ".join(self.declined))
        log.info(
            "%s%s, in %s; %s.",
            self.counts_in_words(),
            f", {self.not_tried} not tried" if self.not_tried else "",
            pluralize(self.requests, "request"),
            self._cost_in_words(),
        )
        return self.summary()

    def counts_in_words(self) -> str:
        """Return the counts of recipients who were tried, in words. Counts that are 0 are left out."""
        declined, reasons = self.rejected.total(), self.reasons
        of_each = [f"{count} {reason}" for reason, count in reasons.items()]
        why = ", ".join(reasons if len(reasons) == 1 else of_each)
        counts = [f"{self.accepted} of {self.recipients} accepted"]
        counts += [f"{declined} declined ({why})"] if declined else []
        counts += [f"{self.unknown} unknown"] if self.unknown else []
        return ", ".join(counts)

    def _cost_in_words(self) -> str:
        charged = f"{amount_text(self.cost)} {self.currency} charged"
        if self.unpriced:
            charged = f"the charge is unknown for {pluralize(self.unpriced, 'text')}"
        return charged if self.balance is None else f"{charged}, {amount_text(self.balance)} left"


def raise_if_failed(outcome: SendOutcome, batch_id: str, on_rejected: Tolerance) -> None:
    """Raise the error of a send that has ended without success.

    :raises OutOfCredits: if the balance did not cover all recipients.
    :raises ConfigurationError: if the account is barred.
    :raises OutcomeUnknown: if an answer was lost.
    :raises SendRejected: if more recipients were declined than ``on_rejected`` allows.
    """
    reasons = reasons_in_words(outcome.rejected)
    so_far = (
        f"{outcome.accepted} accepted, {outcome.rejected.total()} declined"
        f"{f' ({reasons})' if reasons else ''}, {outcome.unknown} unknown, {outcome.not_tried} not tried"
    )
    if any(reason.is_account_level for reason in outcome.rejected):
        raise _account_error(outcome, so_far)
    if outcome.unknown:
        raise OutcomeUnknown(_unknown_message(outcome, batch_id, so_far))
    if outcome.rejected.total() > outcome.taken_out and exceeds_tolerance(on_rejected, outcome.accepted):
        msg = f"The gateway declined recipients ({so_far})."
        raise SendRejected(msg, outcome.reasons)


def _account_error(outcome: SendOutcome, so_far: str) -> SmsError:
    beginning = f"The account cannot send: {so_far}. Nothing more was submitted."
    if RejectReason.NO_CREDITS in outcome.rejected:
        return OutOfCredits(
            f"{beginning} Top it up. A later try, or the cleared task, sends only to recipients who were "
            "declined or not tried."
        )
    return ConfigurationError(f"{beginning} Ask the gateway, then clear the task. It sends to the rest.")


def _unknown_message(outcome: SendOutcome, batch_id: str, so_far: str) -> str:
    shown = "; ".join(outcome.unknown_requests[:UNKNOWN_SHOWN])
    more = len(outcome.unknown_requests) - UNKNOWN_SHOWN
    return (
        f"The outcome for {pluralize(outcome.unknown, 'recipient')} is unknown ({shown}"
        f"{f'; and in {more} more requests' if more > 0 else ''}): an answer was lost, and a repeat could "
        f"text them twice. In all: {so_far}. The accepted ids are in the XCom {PARTIAL_RESULT_KEY} and in "
        "the ledger. Ask the gateway which texts it accepted. `airflow sms unresolved` (with "
        f"--ledger-conn-id, if there is one) lists the commands that resolve the batch {batch_id}. Then "
        "clear the task: it sends to recipients who were not accepted or not tried."
    )
