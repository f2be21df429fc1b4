"""Reads a report from a ledger: the answers of the views for some days, and the recent batches.

The figures are those of the views, as the queries are. Numbers and texts are not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.ledger.database import transaction
from airflow_provider_winsms.ledger.recent import RecentBatches, Scope
from airflow_provider_winsms.ledger.unresolved import UnresolvedRequests
from airflow_provider_winsms.options import check_identifier, zone_of
from airflow_provider_winsms.sql.compiler import quoted
from airflow_provider_winsms.sql.statements import NamedStatement
from airflow_provider_winsms.sql.tables import table_of
from airflow_provider_winsms.warehouse.view_queries import DELIVERIES_OF_LEDGER, VIEWS, words_for
from airflow_provider_winsms.warehouse.views import HISTORY_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.ledger.recent import BatchSummary
    from airflow_provider_winsms.ledger.unresolved import UnresolvedRequest
    from airflow_provider_winsms.messages import RejectReason
    from airflow_provider_winsms.reports.window import Window
    from airflow_provider_winsms.warehouse.view_queries import View

    Row = Mapping[str, Any]

BATCHES_AT_ONCE = 50

_DAY = re.compile(r"\d{4}-\d\d-\d\d")

_OF_TEXTS = ("delivery_by_day", "cost_by_day")
_OPT_OUTS = "opt_outs_by_day"
_OF_OPT_OUTS = (_OPT_OUTS, "texts_after_opt_out")

_SOURCE = DELIVERIES_OF_LEDGER.format(
    messages="{messages}", batches="{batches}", and_if=" AND {shown} AND m.submitted_at >= :since"
)
"""The texts of a scope, with words of the ledger's statements in it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a ledger recorded.

    :param answers: the rows of the views, by their names. Views of opt-outs are there if a table of them is.
    :param reasons: the texts that were declined or taken out, by their reasons.
    :param batches: some batches, latest first.
    :param batch_total: the number of all batches.
    :param sms_conn_ids: the connections of gateways that sent them.
    :param unresolved: the requests whose outcome is unknown, of whatever day, oldest first.
    """

    answers: Mapping[str, Sequence[Row]]
    reasons: Mapping[RejectReason, int]
    batches: Sequence[BatchSummary]
    batch_total: int
    sms_conn_ids: frozenset[str]
    unresolved: Sequence[UnresolvedRequest]


def read_report(
    database: LedgerDatabase,
    window: Window,
    *,
    dag_id: str | None = None,
    run_id: str | None = None,
    opt_outs: str | None = None,
    page: int = 1,
) -> Report:
    """Read a report.

    :param opt_outs: a table of the dataset ``opt_outs`` in the ledger's schema, with its history beside it.
        No opt-out is one of a DAG, so a report of a DAG counts only the texts that it sent later.
    :param page: which ``BATCHES_AT_ONCE`` batches, from 1.
    :raises InvalidMessage: ``opt_outs`` is no plain name.
    :raises LedgerUnavailable: the database refuses something.
    """
    batches = RecentBatches(database, Scope(window.since, dag_id, run_id))
    answers = _Answers(database, batches.parameters, opt_outs, zone_of(window.time_zone))
    names = {*_OF_TEXTS, *(_OF_OPT_OUTS if opt_outs else ())} - ({_OPT_OUTS} if dag_id else set())
    unresolved = [
        each
        for each in UnresolvedRequests(database).unresolved()
        if dag_id in {None, each.dag_id} and run_id in {None, each.run_id}
    ]
    return Report(
        answers={view.name: answers.read(view) for view in VIEWS if view.name in names},
        reasons=batches.reasons(),
        batches=batches.read(BATCHES_AT_ONCE, BATCHES_AT_ONCE * (page - 1)),
        batch_total=batches.count(),
        sms_conn_ids=batches.sms_conn_ids(),
        unresolved=unresolved,
    )


class _Answers:
    """The answers of views over the texts of a scope."""

    def __init__(self, database: LedgerDatabase, parameters: Row, opt_outs: str | None, zone: tzinfo) -> None:
        self._database = database
        self._parameters = parameters
        self._words = {**words_for(database.core, zone), "deliveries": _SOURCE}
        self._opt_outs = opt_outs
        if opt_outs is not None:
            check_identifier("opt_outs", opt_outs)
            self._words["opt_outs"] = self._quoted(opt_outs)
            self._words["history"] = self._quoted(opt_outs + HISTORY_SUFFIX)

    def _quoted(self, name: str) -> str:
        return quoted(table_of((name,), ()), self._database.core)

    @transaction
    def read(self, view: View) -> list[Row]:
        """Return the rows of a view, ordered by their first two columns."""
        source = f", whose opt-outs are in {self._opt_outs}" if view.name in _OF_OPT_OUTS else ""
        sql = view.query.format(**self._words) + "\nORDER BY 1, 2"
        query = NamedStatement(f"read {view.name}{source}", sql)
        return [
            dict(zip(view.columns, map(_plain, row), strict=True))
            for row in self._database.read(query, **(self._parameters if ":since" in query.sql else {}))
        ]


def _plain(value: Any) -> Any:
    """Return a day as a date, also if the database has none, and an amount as a number."""
    if isinstance(value, str) and _DAY.fullmatch(value):
        return date.fromisoformat(value)
    return float(value) if isinstance(value, Decimal) else value
