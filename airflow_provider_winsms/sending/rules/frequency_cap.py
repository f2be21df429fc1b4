"""The rule that texts nobody too often."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.ledger.base import DueText, TextLimit
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.options import check_choice, seconds, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.ledger.base import SendHistory
    from airflow_provider_winsms.sending.rules.base import Draft, RuleContext

Across = Literal["all", "dag"]


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """Takes out everybody who has had enough texts, as ``texted_recently``.

    It counts the texts in the ledger's tables, so the task needs ``ledger_conn_id``. A text counts if the
    gateway accepted it or may have, and nobody cancelled it. The texts of the list itself count too: the
    first ones stay. After all rules, the texts that are left are counted again and reserved, in one
    transaction. So two tasks that run at once keep to the cap together.

    :param most: the most texts to one person within any time of the length ``per``; from 1.
    :param per: a duration, more than 0. Two texts that are ``per`` apart are not within it.
    :param across: ``"all"`` counts the texts of all DAGs, ``"dag"`` those of the DAG that sends.
    :raises InvalidMessage: if an argument is invalid.
    """

    most: int = 1
    per: timedelta = timedelta(days=1)
    across: Across = "all"

    def __post_init__(self) -> None:
        if isinstance(self.most, bool) or not isinstance(self.most, int) or self.most < 1:
            msg = f"most must be a whole number from 1; got {shown(self.most)}."
            raise InvalidMessage(msg)
        if not isinstance(self.per, timedelta) or not seconds("per", self.per):
            msg = f"per must be a timedelta of more than 0; got {shown(self.per)}."
            raise InvalidMessage(msg)
        check_choice("across", self.across, Across)

    def apply(self, draft: Draft, context: RuleContext) -> None:
        """Take out everybody who has had enough texts."""
        over = _history(context).over_limit(_texts(draft, context), self._limit(context), context.now)
        _take_out(draft, over)

    def reserve(self, draft: Draft, context: RuleContext) -> None:
        """Reserve the texts that are left. Take out whoever has had enough of other tasks meanwhile."""
        texts, limit = _texts(draft, context), self._limit(context)
        _take_out(draft, _history(context).reserve(texts, limit, context.sender, context.now))

    def release(self, context: RuleContext) -> None:
        """Give back what was reserved."""
        _history(context).release(context.now)

    def _limit(self, context: RuleContext) -> TextLimit:
        return TextLimit(self.most, self.per, context.sender.dag_id if self.across == "dag" else None)


def _history(context: RuleContext) -> SendHistory:
    if context.history is None:
        msg = (
            "FrequencyCap counts the texts in a ledger in tables, and this task has none. Nothing was "
            "sent. Give the task `ledger_conn_id`, the connection of a database."
        )
        raise ConfigurationError(msg)
    return context.history


def _texts(draft: Draft, context: RuleContext) -> list[DueText]:
    at_once = context.leaves_at
    return [DueText(entry.position, entry.recipient.number, entry.send_at or at_once) for entry in draft]


def _take_out(draft: Draft, positions: Iterable[int]) -> None:
    for position in positions:
        draft.reject(position, RejectReason.TEXTED_RECENTLY)
