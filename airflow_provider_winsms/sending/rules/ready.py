"""Lists of rules that are ready for use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.sending.rules.credit_budget import CreditBudget
from airflow_provider_winsms.sending.rules.opt_outs import OptOuts
from airflow_provider_winsms.sending.rules.sending_hours import SendingHours

if TYPE_CHECKING:
    from decimal import Decimal

    from airflow_provider_winsms.sending.rules.base import Rule


def marketing_za(budget: Decimal | float | str | None = None) -> list[Rule]:
    """Return rules for direct marketing in South Africa: no opted-out recipients, and the hours of the law.

    :param budget: the most that the task may spend; ``None``: no limit.
    """
    return [OptOuts(), SendingHours.za_marketing(), *transactional(budget)]


def transactional(budget: Decimal | float | str | None = None) -> list[Rule]:
    """Return rules for texts about a person's own account: neither hours nor opt-outs limit them.

    The gateway itself still declines who opted out there.

    :param budget: the most that the task may spend; ``None``: no limit.
    """
    return [] if budget is None else [CreditBudget(budget)]
