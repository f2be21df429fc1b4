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
    from airflow_provider_winsms.sending.rules.base import Draft, RuleContext

Across = Literal["all", "dag"]


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """Takes out everybody who has had enough texts, as ``texted_recently``.

    It counts the texts in the ledger's tables, so the task needs ``ledger_conn_id``. A text counts if the
    gateway accepted it or may have, and nobody cancelled it. The texts of the list itself count too: the
    first ones stay. The ledger reserves them in the same transaction, so two tasks that run at once keep to
    the cap together.

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
        """Take out everybody who has had enough texts, and reserve the texts of the others."""
        if context.history is None:
            msg = (
                "FrequencyCap counts the texts in a ledger in tables, and this task has none. Nothing was "
                "sent. Give the task `ledger_conn_id`, the connection of a database."
            )
            raise ConfigurationError(msg)
        at_once = context.leaves_at
        texts = [DueText(entry.position, entry.recipient.number, entry.send_at or at_once) for entry in draft]
        limit = TextLimit(self.most, self.per, context.sender.dag_id if self.across == "dag" else None)
        over = context.history.reserve(
            texts, limit, context.sender, context.now, is_dry_run=context.is_dry_run
        )
        for position in over:
            draft.reject(position, RejectReason.TEXTED_RECENTLY)
