"""The rules of one send: they decide about a list, and about when each request may leave."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from pathlib import PurePath
from traceback import extract_tb
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.exceptions import RuleFailed, SmsError
from airflow_provider_winsms.messages import pluralize, reasons_in_words
from airflow_provider_winsms.sending.message_list import MessageList
from airflow_provider_winsms.sending.rules.base import DispatchRule, Draft, SettlingRule
from airflow_provider_winsms.sending.rules.decisions import Decided, Decisions

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Sequence
    from decimal import Decimal

    from pendulum import DateTime

    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.messages import Message, RejectReason
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
        self._context = context
        self.fingerprint = hashes.of("\n".join(map(_written, self._rules))) if self._rules else ""
        """Identifies the rules and their arguments; empty without rules."""
        self.effects: list[Effect] = []
        """What each rule did in the last call of ``decide``."""

    def __bool__(self) -> bool:
        return bool(self._rules)

    def decide(self, messages: Sequence[Message]) -> Decisions:
        """Apply all rules to a list, and return their decisions.

        :raises SmsError: if a rule refuses the send.
        """
        draft = Draft(messages)
        self.effects = [self._applied(rule, draft) for rule in self._rules]
        return Decisions.of(self.fingerprint, draft)

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

    def _applied(self, rule: Rule, draft: Draft) -> Effect:
        before, outcomes = draft.rejected, draft.outcomes[:]
        self._apply(rule, draft)
        rejected = draft.rejected - before
        changed = sum(map(int.__ne__, outcomes, draft.outcomes)) if outcomes != draft.outcomes else 0
        effect = Effect(type(rule).__name__, rejected, changed - rejected.total())
        self._log(effect)
        return effect

    def _apply(self, rule: Rule, draft: Draft) -> None:
        try:
            rule.apply(draft, self._context)
        except SmsError:
            raise
        # A rule is the user's code. Its error may quote a number or a text.
        except Exception as error:  # noqa: BLE001
            failed = RuleFailed(_described(rule, error))
        else:
            return
        raise failed

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

    def time_of(self, at: DateTime, recipients: int) -> DateTime:
        """Return when the texts of a request go out: as given, or later."""
        for dispatcher in self.dispatchers:
            at = dispatcher.time_of(at, recipients)
        return at


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
