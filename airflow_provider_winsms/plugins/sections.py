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
        """Return a section for each ledger. All are read at once. One that cannot be read harms no other.

        :param may_read: tells whether the user may read a connection, and so see its balance.
        """
        prefix = settings.ledger_prefix
        reports = {
            conn_id: self._reports.ask(
                (conn_id, prefix, query), partial(_report, conn_id, settings, window, query)
            )
            for conn_id in conn_ids
        }
        sections = [_section(Section(conn_id, prefix), report) for conn_id, report in reports.items()]
        if query.run_id:
            return sections
        return [self._with_balances(section, may_read) for section in sections]

    def _with_balances(self, section: Section, may_read: Callable[[str], bool]) -> Section:
        senders = sorted(filter(may_read, section.report.sms_conn_ids)) if section.report else []
        balances = {each: self._balances.ask(each, partial(_balance, each)) for each in senders}
        return replace(section, balances=[(name, _words(balance)) for name, balance in balances.items()])


def _section(section: Section, report: Callable[[], Report]) -> Section:
    """Return a section with its report, or with why there is none."""
    try:
        return replace(section, report=report())
    except TimeoutError:
        return replace(section, error="The ledger does not answer. Open the page again later.")
    except SmsError as error:
        return replace(section, error=str(error))


def _words(balance: Callable[[], str]) -> str:
    try:
        return balance()
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
