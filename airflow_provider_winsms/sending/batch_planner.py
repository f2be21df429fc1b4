"""Plans the batch of a send: as a list and rules say, or as an earlier try has begun it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import (
    ClaimLost,
    IdempotencyConflict,
    InvalidMessage,
    NothingToSend,
    PlanNotApproved,
    SmsError,
)
from airflow_provider_winsms.messages import pluralize, reasons_in_words
from airflow_provider_winsms.options import Guarantee
from airflow_provider_winsms.sending.composer import Composer, RejectedRecipients
from airflow_provider_winsms.sending.message_list import MessageList
from airflow_provider_winsms.sending.plan import (
    Duplicates,
    has_room_for_times,
    plan_unique,
    without_duplicates,
)
from airflow_provider_winsms.sending.plan_id import PlanId
from airflow_provider_winsms.sending.replan import replan
from airflow_provider_winsms.sending.rules.decisions import Decisions
from airflow_provider_winsms.sending.submission import FIRST_REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.ledger.base import Batch, BatchDigest, Ledger, Rejected
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.runtime import Log
    from airflow_provider_winsms.sending.attempt import SendOrder
    from airflow_provider_winsms.sending.plan import Plan
    from airflow_provider_winsms.sending.rules.decisions import Decided
    from airflow_provider_winsms.sending.rules.rule_set import Dispatch, RuleSet

_OTHER_RULES = (
    "The rules of this send differ from those of an earlier try, which has sent. Nothing more was sent. Give "
    'the same rules as then. To let these rules decide about the rest, give on_changed="send_the_rest".'
)

_RULES_OF_ANOTHER = (
    "Another task or try has opened the batch meanwhile, with other rules. This try sent nothing. A later "
    "one finds what was sent."
)

_CHANGED_AFTER_APPROVAL = (
    "An earlier try has sent, and the list or the rules have changed since. `approved_plan` allows nothing "
    'but the approved plan, also with on_changed="send_the_rest". This try has sent nothing. Give the list '
    "and the rules as they were. To send to the rest, plan it in a new DAG run, and have that plan approved."
)


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch that is open in the ledger, and how it is sent.

    :param id: of the batch.
    :param opened_at: when the first try opened it.
    :param rounds: the plans: the first round, and the later rounds that an earlier try has opened.
    :param is_new: whether this try opened it.
    :param rejects: the recipients who are left out because they are invalid.
    :param taken_out: the recipients whom rules took out.
    """

    id: str
    opened_at: DateTime
    rounds: Sequence[Plan]
    is_new: bool
    rejects: RejectedRecipients
    taken_out: Sequence[Rejected] = ()

    def log_to(self, log: Log, guarantee: Guarantee) -> None:
        """Log what is sent and what is left out, in counts and masked numbers."""
        planned = self.rounds[0]
        log.info(
            "%s %s in %s, %s; %s left out. Batch %s.",
            "Sending to" if self.is_new else "Resuming; no accepted text is sent again:",
            pluralize(planned.recipients, "recipient"),
            pluralize(len(planned.requests), "request"),
            str(guarantee).replace("_", " "),
            pluralize(planned.duplicates, "duplicate"),
            self.id,
        )
        if planned.changes is not None:
            log.warning(
                "The list has changed since an earlier try. Of the recipients whom that try claimed, "
                "%(kept)d are still in the list and %(gone)d are not. %(added)d others are sent to. "
                "%(changed)d are left out, because another text was sent to their number.",
                asdict(planned.changes),
            )
        if self.rejects.recipients:
            log.warning(
                "Not sent to, because invalid: %s. The first: %s",
                pluralize(len(self.rejects.recipients), "recipient"),
                " ".join(self.rejects.shown),
            )
        if self.taken_out and not self.is_new:
            log.info("Not sent to, as rules said before: %s.", _reasons(self.taken_out))
        if planned.shown_duplicates:
            log.info("Duplicates left out; the first: %s.", ", ".join(planned.shown_duplicates))


class BatchPlanner:
    """Plans the batch of an order, in the light of what earlier tries have sent.

    :param compose: returns the checked messages that a composer makes of the content.
    :param ledger: of the batch's key.
    :param now: returns the present.
    :param rules: decide who gets a text. They decide once about a list: a later try follows the ledger.
    """

    def __init__(
        self,
        order: SendOrder,
        compose: Callable[[Composer], Sequence[Message]],
        ledger: Ledger,
        *,
        gateway: Gateway,
        hashes: KeyedHash,
        now: Callable[[], DateTime],
        rules: RuleSet,
    ) -> None:
        self._order = order
        self._compose = compose
        self._gateway = gateway
        self._hashes = hashes
        self._ledger = ledger
        self._now = now
        self._rules = rules
        self._dispatch = rules.dispatch()
        self._rejects = RejectedRecipients()
        self._taken_out: list[Rejected] = []
        self.has_claims = False
        """Whether an earlier try has claimed a request of the batch. Then an empty list is an error."""

    def open(self) -> PlannedBatch:
        """Return the batch to send, which is open in the ledger.

        If nothing of a batch was submitted, because its key or text was wrong, a new batch replaces it.

        :raises InvalidMessage: if the content is invalid, or a resumed batch cannot have this guarantee.
        :raises NothingToSend: if there is no recipient, or rules took all of them out.
        :raises ClaimLost: if an earlier try still runs and has opened a batch with another list.
        :raises IdempotencyConflict: if the batch in the ledger has other texts, recipients or rules.
        :raises PlanNotApproved: if the order names an approved plan, and this is another one.
        :raises RefusedByRule: if a rule refuses the send.
        """
        found = self._ledger.latest()
        is_resent = found is not None and self._order.resends and self._order.was_cleared_since(found)
        resumed = None if is_resent else found
        self.has_claims = resumed is not None and self._ledger.find(FIRST_REQUEST) is not None
        if resumed is not None and self.has_claims:
            planned = self._resume(resumed)
        else:
            planned = self._begin(found, resumed)
        if self._order.on_invalid == "reject" or not planned.is_new or planned.taken_out:
            self._ledger.reject([*self._rejects.recipients, *planned.taken_out])
        if planned.taken_out and not planned.rounds[0].recipients:
            msg = f"The rules took out everybody: {_reasons(planned.taken_out)}. Nothing was sent."
            raise NothingToSend(msg)
        return planned

    def _begin(self, found: Batch | None, resumed: Batch | None) -> PlannedBatch:
        """Open a batch of which nothing was submitted. It is resumed only if it is the same."""
        listed = self._listed(self._now, is_held=self._order.policy.is_held)
        wanted = self._order.batch(listed.digest(self._hashes), self._now(), found)
        is_same = (
            resumed is not None
            and resumed.sends_the_same(wanted)
            and resumed.guarantee == wanted.guarantee
            and self._has_same_rules(resumed)
        )
        if self._rules and not is_same:
            wanted = replace(wanted, decisions=self._rules.decide(listed.messages).to_text())
        resumed = resumed if is_same else None
        try:
            plan = self._plan(listed, resumed or wanted)
        except SmsError:
            if resumed is None:
                self._rules.release()
            raise
        batch = open_batch(self._ledger, wanted, resumed, may_send_rest_of=self._order.may_send_rest_of)
        if batch is not (resumed or wanted):
            # Another process has opened it first. Its decisions hold.
            if not self._has_same_rules(batch):
                raise ClaimLost(_RULES_OF_ANOTHER)
            plan = self._plan(listed, batch)
        return self._opened(batch, [plan], is_new=batch is wanted)

    def _resume(self, resumed: Batch) -> PlannedBatch:
        """Open a batch with claimed requests, as it is sent now."""
        # Split as in the first try: records identify requests by their keys.
        is_held = self._order.policy.holds(Guarantee(resumed.guarantee))
        may_send_rest = self._order.may_send_rest_of(resumed)
        try:
            listed = self._listed(lambda: resumed.opened_at, is_held=is_held)
        except NothingToSend:
            if not may_send_rest:
                raise
            listed = Listed(MessageList(), Duplicates(), self._gateway, is_held=is_held)
        wanted = self._order.batch(listed.digest(self._hashes), self._now(), resumed)
        has_same_rules = resumed.revision > 0 or self._has_same_rules(resumed)
        is_changed = resumed.has_another_list(wanted) or not has_same_rules
        if self._order.approved_plan is not None and (is_changed or resumed.revision):
            raise PlanNotApproved(_CHANGED_AFTER_APPROVAL)
        if (may_send_rest and is_changed) or resumed.was_revised_to(wanted):
            rounds = self._revised(listed)
            batch = replace(resumed, digest=rounds[0].digest(self._hashes))
            self._ledger.revise(batch.digest)
        elif has_same_rules:
            batch = open_batch(self._ledger, wanted, resumed)
            rounds = [self._plan(listed, batch)]
        else:
            raise IdempotencyConflict(_OTHER_RULES)
        if self._order.policy.is_held and not has_room_for_times(rounds[0]):
            msg = (
                f'The batch was opened with guarantee="{resumed.guarantee}", and its requests have no room '
                "for a time. Keep that guarantee."
            )
            raise InvalidMessage(msg)
        return self._opened(batch, rounds, is_new=False)

    def _revised(self, listed: Listed) -> list[Plan]:
        """Take the batch over with another list. Rules decide anew, about recipients whom no try claimed."""
        self._ledger.take_over()
        return replan(
            listed.messages,
            self._gateway,
            self._ledger,
            duplicates=listed.duplicates,
            is_held=listed.is_held or bool(self._dispatch),
            allowed=self._allowed,
            most_recipients=self._dispatch.most_recipients,
        )

    def _allowed(self, rest: list[Message]) -> Sequence[Message]:
        decided = self._rules.decided(rest)
        self._taken_out = decided.rejected
        return decided.messages

    def _plan(self, listed: Listed, batch: Batch) -> Plan:
        """Return the plan of a list, as the decisions about it are kept with the batch.

        :raises PlanNotApproved: if another plan was approved.
        """
        plan = listed.plan
        if batch.decisions:
            decisions = Decisions.from_text(batch.decisions)
            decided = decisions.applied_to(listed.messages, self._gateway.first_possible_time)
            self._taken_out = decided.rejected
            plan = listed.plan_of(decided, self._dispatch)
        if self._order.approved_plan is not None:
            self._order.approved_plan.require(PlanId.of(plan, self._hashes, self._gateway))
        return plan

    def _has_same_rules(self, batch: Batch) -> bool:
        decided_by = Decisions.from_text(batch.decisions).rules if batch.decisions else ""
        return decided_by == self._rules.fingerprint

    def _opened(self, batch: Batch, rounds: Sequence[Plan], *, is_new: bool) -> PlannedBatch:
        return PlannedBatch(batch.id, batch.opened_at, rounds, is_new, self._rejects, self._taken_out)

    def _listed(self, now: Callable[[], DateTime], *, is_held: bool) -> Listed:
        """Return the list; a resumed batch compares its times with the time when it was opened."""
        order = self._order
        rejects = self._rejects if order.on_invalid == "reject" else None
        composed = self._compose(Composer(self._gateway, now, order.check_numbers, order.encoding, rejects))
        return Listed(*without_duplicates(composed), self._gateway, is_held=is_held)


@dataclass(frozen=True, eq=False)
class Listed:
    """The composed list of a send, before rules decide about it.

    :param messages: without duplicates.
    :param is_held: whether messages without a time will get one.
    """

    messages: MessageList = field(repr=False)
    duplicates: Duplicates = field(repr=False)
    gateway: Gateway
    is_held: bool

    @cached_property
    def plan(self) -> Plan:
        """The plan of the whole list."""
        return plan_unique(self.messages, self.duplicates, self.gateway, is_held=self.is_held)

    def plan_of(self, decided: Decided, dispatch: Dispatch) -> Plan:
        """Return the plan of what rules have left of the list, in requests that may leave."""
        return plan_unique(
            decided.messages,
            self.duplicates,
            self.gateway,
            is_held=self.is_held or bool(dispatch),
            most_recipients=dispatch.most_recipients,
        )

    def digest(self, hashes: KeyedHash) -> BatchDigest:
        """Return the digest of the whole list, which tells whether another try sends the same."""
        return self.plan.digest(hashes)


def _reasons(rejected: Iterable[Rejected]) -> str:
    return reasons_in_words(Counter(each.reason for each in rejected))


def open_batch(
    ledger: Ledger,
    wanted: Batch,
    resumed: Batch | None,
    *,
    may_send_rest_of: Callable[[Batch], bool] = lambda _: False,
) -> Batch:
    """Return the batch to send: a new one, or the one that an earlier try or another task opened.

    :param resumed: the batch to resume, if there is one.
    :param may_send_rest_of: tells whether a batch may be resumed with another list.
    :raises ClaimLost: if an earlier try still runs and has opened a batch with another list.
    :raises IdempotencyConflict: if the batch in the ledger has other texts or recipients.
    """
    found = resumed or ledger.open(wanted)
    if found.sends_the_same(wanted):
        return found
    if found.has_another_list(wanted) and may_send_rest_of(found):
        msg = (
            "An earlier try, which still runs, has begun to send another list meanwhile. This try sent "
            "nothing. A later one sends the rest of its list."
        )
        raise ClaimLost(msg)
    raise IdempotencyConflict(_conflict_message(found, wanted))


def _conflict_message(found: Batch, wanted: Batch) -> str:
    if found.digest.key_id != wanted.digest.key_id:
        return (
            f"The batch {_label(found)} was opened with another API key (or hash_secret), so it is unknown "
            "whether this one sends the same. Put the old key back, or start a new DAG run. Nothing was "
            "sent."
        )
    differing = [
        words
        for words, is_other in (
            ("text, time or segments", found.digest.texts != wanted.digest.texts),
            ("recipients", found.digest.numbers != wanted.digest.numbers),
            (f"connection ({found.sms_conn_id})", found.sms_conn_id != wanted.sms_conn_id),
        )
        if is_other
    ]
    return (
        f"The batch {_label(found)} has other {' and other '.join(differing)} than this one, "
        f"{_label(wanted)}, under the same key. Nothing was sent. Give the same values as then. To send only "
        "to recipients whom no earlier try of the same task has claimed, give "
        'on_changed="send_the_rest". To send all of this one, clear the task with on_clear="resend", start '
        "a new DAG run, or choose another idempotency_key."
    )


def _label(batch: Batch) -> str:
    digest = batch.digest
    return (
        f"{batch.id[:8]} of {batch.sender.key} at {batch.opened_at.isoformat()} "
        f"({pluralize(digest.recipients, 'recipient')}, texts {digest.texts[:8]}, numbers "
        f"{digest.numbers[:8]})"
    )
