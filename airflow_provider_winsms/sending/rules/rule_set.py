"""The rules of one send: they decide about a list, and about when each request may leave."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from pathlib import PurePath
from traceback import extract_tb
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.exceptions import RuleFailed, SmsError
from airflow_provider_winsms.messages import pluralize, reasons_in_words
from airflow_provider_winsms.sending.message_list import MessageList
from airflow_provider_winsms.sending.rules.base import DispatchRule, Draft, ReservingRule, SettlingRule
from airflow_provider_winsms.sending.rules.decisions import Decided, Decisions

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Sequence
    from decimal import Decimal

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.messages import Message, RejectReason
    from airflow_provider_winsms.sending.plan import Request
    from airflow_provider_winsms.sending.rules.base import Dispatcher, Rule, RuleContext


class Effect(NamedTuple):
    """What one rule has done.

    :param rule: the name of its class.
    :param rejected: how many recipients it took out, by reason.
    :param moved: how many texts it moved to another time.
    """

    rule: str
    rejected: Counter[RejectReason]
    moved: int


class RuleSet:
    """The rules of one send, in their order.

    :param hashes: makes the fingerprint of the rules, which may hold numbers.
    """

    def __init__(self, rules: Sequence[Rule], context: RuleContext, hashes: KeyedHash) -> None:
        self._rules = tuple(rules)
        self._reserving = [rule for rule in self._rules if isinstance(rule, ReservingRule)]
        self._context = context
        self.fingerprint = hashes.of("\n".join(map(_written, self._rules))) if self._rules else ""
        """Identifies the rules and their arguments; empty without rules."""
        self.effects: list[Effect] = []
        """What each rule did in the last call of ``decide``."""

    def __bool__(self) -> bool:
        return bool(self._rules)

    def decide(self, messages: Sequence[Message]) -> Decisions:
        """Apply all rules to a list, reserve what it uses up, and return the decisions.

        :raises SmsError: if a rule refuses the send. Then nothing stays reserved.
        """
        draft = Draft(messages)
        self.effects = [self._effect(rule, rule.apply, draft) for rule in self._rules]
        if not self._context.is_dry_run:
            self._reserve(draft)
        return Decisions.of(self.fingerprint, draft)

    def _reserve(self, draft: Draft) -> None:
        try:
            self.effects += [self._effect(rule, rule.reserve, draft) for rule in self._reserving]
        except SmsError:
            self.release()
            raise

    def release(self) -> None:
        """Give back what was reserved, as nothing is sent. If that fails, only a warning says so."""
        for rule in self._reserving:
            try:
                _guarded(rule, rule.release, self._context)
            except SmsError as error:
                self._context.log.warning(
                    "What the rule %s reserved was not given back, and counts until it expires: %s",
                    type(rule).__name__,
                    error,
                )

    def decided(self, messages: Sequence[Message]) -> Decided:
        """Apply all rules to a list, and return what is left of it."""
        if not self:
            return Decided(MessageList.of(messages), [])
        return self.decide(messages).applied_to(messages, self._context.gateway.first_possible_time)

    def dispatch(self) -> Dispatch:
        """Return what decides when the requests of this try may go out."""
        rules = (rule for rule in self._rules if isinstance(rule, DispatchRule))
        return Dispatch([rule.dispatcher(self._context) for rule in rules])

    def settle(self, cost: Decimal | None, messages: Callable[[], Iterable[Message]]) -> None:
        """Tell the rules what a send has cost, of which all texts have an outcome.

        :param messages: returns all that were planned.
        """
        for rule in self._rules:
            if isinstance(rule, SettlingRule):
                rule.settle(cost, messages(), self._context)

    def _effect(self, rule: Rule, act: Callable[[Draft, RuleContext], None], draft: Draft) -> Effect:
        before, outcomes = draft.rejected, draft.outcomes[:]
        _guarded(rule, act, draft, self._context)
        rejected = draft.rejected - before
        changed = sum(map(int.__ne__, outcomes, draft.outcomes)) if outcomes != draft.outcomes else 0
        effect = Effect(type(rule).__name__, rejected, changed - rejected.total())
        self._log(effect)
        return effect

    def _log(self, effect: Effect) -> None:
        if effect.rejected:
            taken, reasons = (
                pluralize(effect.rejected.total(), "recipient"),
                reasons_in_words(effect.rejected),
            )
            self._context.log.info("The rule %s took out %s (%s).", effect.rule, taken, reasons)
        if effect.moved:
            self._context.log.info("The rule %s moved %s.", effect.rule, pluralize(effect.moved, "text"))


@dataclass(slots=True)
class Dispatch:
    """When the requests of one try may go out, by all rules that say so."""

    dispatchers: Sequence[Dispatcher] = ()

    def __bool__(self) -> bool:
        return bool(self.dispatchers)

    @property
    def most_recipients(self) -> int | None:
        """The most recipients in one request; ``None``: as many as the gateway takes."""
        limits = [each.most_recipients for each in self.dispatchers if each.most_recipients is not None]
        return min(limits, default=None)

    def held_until(self, at: DateTime, request: Request, gateway: Gateway) -> DateTime | None:
        """Return the later time at which the texts without a time go out; ``None``: when they would.

        :param at: when they would go out.
        :raises SmsError: if they may not go out.
        """
        if not self or not request.has_untimed:
            return None
        allowed = at
        for dispatcher in self.dispatchers:
            allowed = dispatcher.time_of(allowed, request.size)
        if allowed <= at:
            return None
        gateway.require("schedule", "rules")
        return gateway.first_possible_time(allowed)


def _guarded(rule: Rule, act: Callable[..., None], *arguments: object) -> None:
    try:
        act(*arguments)
    except SmsError:
        raise
    # A rule is the user's code. Its error may quote a number or a text.
    except Exception as error:  # noqa: BLE001
        failed = RuleFailed(_described(rule, error))
    else:
        return
    raise failed


def _described(rule: Rule, error: Exception) -> str:
    *_, last = extract_tb(error.__traceback__)
    place = f"{PurePath(last.filename).name}, line {last.lineno}"
    return (
        f"The rule {type(rule).__name__} failed: {type(error).__name__} ({place}; its text is not shown, as "
        "it may hold numbers). Nothing was sent."
    )


def _written(rule: Rule) -> str:
    kind = type(rule)
    names: list[str] = [field.name for field in fields(rule)] if is_dataclass(rule) else []
    values = {name: getattr(rule, name) for name in names}
    return f"{kind.__module__}.{kind.__qualname__}({values!r})"
