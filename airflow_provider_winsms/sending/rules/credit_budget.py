"""The rule that refuses a send which would cost too much."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from airflow_provider_winsms.exceptions import ConfigurationError, OutOfCredits, RefusedByRule
from airflow_provider_winsms.ledger.base import SpendingScope
from airflow_provider_winsms.messages import amount_text
from airflow_provider_winsms.options import check_choice
from airflow_provider_winsms.sending.rules.prices import PriceList, amount_of, checked_prices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_winsms.ledger.base import SendSpending
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.sending.rules.base import Draft, RuleContext
    from airflow_provider_winsms.sending.rules.prices import CostEstimate

Per = Literal["task", "dag_run", "day"]

_WORDS = {"task": "this task", "dag_run": "this DAG run", "day": "today"}


@dataclass(frozen=True, slots=True, init=False)
class CreditBudget:
    """Refuses a send whole, before its first request, if it would cost more than a budget.

    The estimate is segments times recipients times the price of a segment. It is also compared with the
    balance of the account, if the gateway states one. When the send is done, a difference between the
    estimate and the charge is logged.

    :param most: the most that may be spent: an amount in the gateway's currency, such as credits.
    :param per: ``"task"``: by this task. ``"dag_run"``: by all tasks of this DAG run. ``"day"``: by all
        tasks, on one day. The last two count what the ledger's tables have for the same connection, so the
        task needs ``ledger_conn_id``. Tasks that run at once reserve their estimates there.
    :param prices: the price of a segment by the first digits of international numbers, such as
        ``{"27": 1, "264": "2.5"}``; the longest prefix decides. ``None``: 1 in the gateway's own country. A
        send to a country without a price is refused.
    :param time_zone: the IANA name of the time zone of a day.
    :raises InvalidMessage: an argument is invalid.
    """

    most: Decimal
    per: Per
    prices: tuple[tuple[str, Decimal], ...] | None
    time_zone: str

    def __init__(
        self,
        most: Decimal | float | str,
        *,
        per: Per = "task",
        prices: Mapping[str, Decimal | float | str] | None = None,
        time_zone: str = "Africa/Johannesburg",
    ) -> None:
        check_choice("per", per, Per)
        object.__setattr__(self, "most", amount_of("most", most))
        object.__setattr__(self, "per", per)
        object.__setattr__(self, "prices", None if prices is None else checked_prices(prices))
        object.__setattr__(self, "time_zone", time_zone)

    def apply(self, draft: Draft, context: RuleContext) -> None:
        """Refuse the send if it would cost too much."""
        estimate = self._estimate(draft, context)
        self._check_countries(estimate)
        self._check_balance(estimate.total, context)
        spent = Decimal(0) if self.per == "task" else self._spending(context).spent(self._scope(context))
        context.log.info("Estimated cost: %s %s.", amount_text(estimate.total), context.gateway.currency)
        self._check_budget(estimate.total, spent, context)

    def reserve(self, draft: Draft, context: RuleContext) -> None:
        """Reserve what the texts that are left will cost. Refuse them if others have spent it meanwhile."""
        if self.per != "task":
            total, scope = self._estimate(draft, context).total, self._scope(context)
            spent = self._spending(context).reserve(total, self.most, scope, context.sender, context.now)
            self._check_budget(total, spent, context)

    def release(self, context: RuleContext) -> None:
        """Give back what was reserved."""
        if self.per != "task":
            self._spending(context).release(context.now)

    def settle(self, cost: Decimal | None, messages: Iterable[Message], context: RuleContext) -> None:
        """Compare the charge with the estimate, and end what was reserved."""
        # A reservation stays while a cost is unknown: without it, such a text would count as free.
        if cost is not None and self.per != "task" and context.spending is not None:
            context.spending.settle(context.now)
        texts = ((message, recipient) for message in messages for recipient in message.recipients)
        estimate = PriceList(self.prices, context.gateway).estimate(texts).total
        if cost is not None and cost != estimate:
            context.log.warning(
                "The texts cost %s %s; the estimate was %s. If it was too low, correct `prices` of "
                "CreditBudget.",
                amount_text(cost),
                context.gateway.currency,
                amount_text(estimate),
            )

    def _estimate(self, draft: Draft, context: RuleContext) -> CostEstimate:
        texts = ((entry.message, entry.recipient) for entry in draft)
        return PriceList(self.prices, context.gateway).estimate(texts)

    def _check_budget(self, total: Decimal, spent: Decimal, context: RuleContext) -> None:
        if spent + total > self.most:
            before = f" {amount_text(spent)} was spent or reserved before." if spent else ""
            msg = (
                f"The send would cost {amount_text(total)} {context.gateway.currency}, and the "
                f"budget of {_WORDS[self.per]} is {amount_text(self.most)}.{before} Nothing was sent."
            )
            raise RefusedByRule(msg)

    @staticmethod
    def _check_countries(estimate: CostEstimate) -> None:
        if estimate.unpriced:
            countries = (
                f"{'+' if country.isdecimal() else ''}{country} ({count})"
                for country, count in estimate.unpriced.items()
            )
            msg = (
                f"CreditBudget has no price for these countries (recipients): {', '.join(countries)}. "
                "Give `prices` for their prefixes, or take these recipients out. Nothing was sent."
            )
            raise RefusedByRule(msg)

    @staticmethod
    def _check_balance(total: Decimal, context: RuleContext) -> None:
        balance = context.balance() if context.gateway.capabilities.balance else None
        if balance is not None and total > balance:
            cost = f"{amount_text(total)} {context.gateway.currency}"
            msg = (
                f"The send would cost {cost}, and the account of the connection {context.sms_conn_id!r} has "
                f"{amount_text(balance)}. Nothing was sent. Top it up; a retry sends."
            )
            raise OutOfCredits(msg)

    def _spending(self, context: RuleContext) -> SendSpending:
        if context.spending is None:
            msg = (
                f'CreditBudget(per="{self.per}") counts what the ledger\'s tables have, and this task has '
                "none. Nothing was sent. Give the task `ledger_conn_id`, the connection of a database."
            )
            raise ConfigurationError(msg)
        return context.spending

    def _scope(self, context: RuleContext) -> SpendingScope:
        sender = context.sender
        if self.per == "dag_run":
            return SpendingScope(context.sms_conn_id, sender.dag_id, sender.run_id, None, None)
        begin = context.now.in_timezone(self.time_zone).start_of("day")
        return SpendingScope(context.sms_conn_id, None, None, begin, begin.add(days=1))
