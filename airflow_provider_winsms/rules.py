"""Rules for ``rules=[...]`` of every operator that sends: who gets a text, when, and for how much.

A rule takes recipients out, each with a reason, moves the time of a text, or refuses the whole send before
anything leaves. Write your own as a frozen dataclass with the method of ``Rule``.
"""

from __future__ import annotations

from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.sending.rules.base import Draft, Entry, Rule, RuleContext
from airflow_provider_winsms.sending.rules.credit_budget import CreditBudget
from airflow_provider_winsms.sending.rules.frequency_cap import FrequencyCap
from airflow_provider_winsms.sending.rules.only_to import OnlyTo
from airflow_provider_winsms.sending.rules.opt_outs import OptOuts
from airflow_provider_winsms.sending.rules.ready import marketing_za, transactional
from airflow_provider_winsms.sending.rules.sending_hours import SendingHours

__all__ = [
    "CreditBudget",
    "Draft",
    "Entry",
    "FrequencyCap",
    "OnlyTo",
    "OptOuts",
    "RejectReason",
    "Rule",
    "RuleContext",
    "SendingHours",
    "marketing_za",
    "transactional",
]
