"""Reads what the page shows of each ledger, and the balances of the accounts that sent."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import SmsError
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.ledger.database import LedgerDatabase
from airflow_provider_winsms.messages import amount_text
from airflow_provider_winsms.plugins.cache import SharedAnswers
from airflow_provider_winsms.reports.page import Section
from airflow_provider_winsms.reports.reader import read_report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_winsms.plugins.settings import PageSettings
    from airflow_provider_winsms.reports.page import Query
    from airflow_provider_winsms.reports.reader import Report
    from airflow_provider_winsms.reports.window import Window


class Sections:
    """The sections of pages, whose parts several people share for some seconds."""

    def __init__(self) -> None:
        self._reports = SharedAnswers(lifetime=15, deadline=20)
        self._balances = SharedAnswers(lifetime=60, deadline=5)

    def read(
        self,
        conn_ids: Sequence[str],
        settings: PageSettings,
        window: Window,
        query: Query,
        may_read: Callable[[str], bool],
    ) -> list[Section]:
        """Return a section for each ledger. One that cannot be read says why, and harms no other.

        :param may_read: tells whether the user may read a connection, and so see its balance.
        """
        sections = []
        for conn_id in conn_ids:
            section = self._section(conn_id, settings, window, query)
            if section.report and not query.run_id:
                senders = sorted(filter(may_read, section.report.sms_conn_ids))
                section = replace(section, balances=[(each, self._balance(each)) for each in senders])
            sections.append(section)
        return sections

    def _section(self, conn_id: str, settings: PageSettings, window: Window, query: Query) -> Section:
        prefix = settings.ledger_prefix
        read = partial(_report, conn_id, settings, window, query)
        try:
            return Section(conn_id, prefix, self._reports.get((conn_id, prefix, query), read))
        except TimeoutError:
            seconds = self._reports.deadline
            error = f"The ledger did not answer within {seconds} seconds. Open the page again later."
        except SmsError as refused:
            error = str(refused)
        return Section(conn_id, prefix, error=error)

    def _balance(self, sms_conn_id: str) -> str:
        """Return a balance, in words."""
        try:
            return self._balances.get(sms_conn_id, partial(_balance, sms_conn_id))
        except (SmsError, TimeoutError):
            return "no answer"


def _report(conn_id: str, settings: PageSettings, window: Window, query: Query) -> Report:
    with LedgerDatabase(sql_hook(conn_id), settings.ledger_prefix, reads_only=True) as database:
        return read_report(
            database,
            window,
            dag_id=query.dag_id,
            run_id=query.run_id,
            opt_outs=settings.opt_outs_tables.get(conn_id),
            page=query.page,
        )


def _balance(sms_conn_id: str) -> str:
    hook = SmsHook.of(sms_conn_id)
    left = hook.get_balance().credits
    return "not stated" if left is None else f"{amount_text(left)} {hook.gateway.currency}"
