"""Views over the tables that ``SmsToSqlOperator`` loads, for the first questions that people ask, as data.

No view shows a number or a text. Two numbers are joined if both were hashed with the same key, or neither was
hashed. So hashed numbers answer every question too.

A gateway may state minutes: a text that left in the minute of a reply or an opt-out counts as before it. A
published column of a view is neither renamed nor dropped; new ones are added at the end.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, LoadFailed
from airflow_provider_winsms.ledger.schema import ACCEPTED_STATES, MessageState, state_list
from airflow_provider_winsms.options import check_identifier
from airflow_provider_winsms.sql.connection import Database
from airflow_provider_winsms.sql.errors import NotOpened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_winsms.sql.errors import Refusal

HISTORY_SUFFIX = "_history"
"""The suffix of the history table's name, after the name of the table of opt-outs."""

_OPT_OUT_COLUMNS = (
    "number",
    "number_key_id",
    "opted_out_at",
    "first_seen_at",
    "last_seen_at",
    "removed_at",
)

NEEDED_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "deliveries": (
        "batch_id",
        "message_id",
        "dag_id",
        "run_id",
        "task_id",
        "number",
        "number_key_id",
        "state",
        "reason",
        "cost",
        "refund",
        "currency",
        "submitted_at",
        "send_at",
        "state_at",
    ),
    "incoming": ("number", "number_key_id", "received_at", "in_reply_to"),
    "opt_outs": _OPT_OUT_COLUMNS,
    "history": _OPT_OUT_COLUMNS,
}
"""The columns that the views read, by the word for the table in their SQL."""

_DATASETS = {
    "deliveries": "deliveries",
    "incoming": "incoming",
    "opt_outs": "opt_outs",
    "history": "opt_outs",
}


@dataclass(frozen=True, slots=True)
class SourceTables:
    """The checked names of the tables.

    :param deliveries: the table of the dataset ``deliveries``.
    :param incoming: the table of ``incoming``; ``None``: there is none.
    :param opt_outs: the table of ``opt_outs``, whose history is beside it; ``None``: there is none.
    :param schema: their schema; ``None``: the connection's default.
    :raises InvalidMessage: if a name is not a plain identifier.
    """

    deliveries: str
    incoming: str | None = None
    opt_outs: str | None = None
    schema: str | None = None

    def __post_init__(self) -> None:
        check_identifier("deliveries", self.deliveries)
        for parameter in ("incoming", "opt_outs", "schema"):
            if getattr(self, parameter) is not None:
                check_identifier(parameter, getattr(self, parameter))
        for name in self.names.values():
            check_identifier("the history of opt_outs", name)

    @property
    def names(self) -> dict[str, str]:
        """The name of each given table, by the word for it in the SQL of the views."""
        history = None if self.opt_outs is None else self.opt_outs + HISTORY_SUFFIX
        given = {
            "deliveries": self.deliveries,
            "incoming": self.incoming,
            "opt_outs": self.opt_outs,
            "history": history,
        }
        return {word: name for word, name in given.items() if name is not None}


@dataclass(frozen=True, slots=True)
class View:
    """One view.

    :param name: its name after the prefix.
    :param columns: the meaning of each column.
    :param parts: the named subqueries that ``select`` reads, in the order of ``PARTS``.
    :param select: the query, with words such as ``{deliveries}`` for parts that depend on the database.
    """

    name: str
    question: str
    columns: Mapping[str, str]
    parts: tuple[str, ...]
    select: str

    @property
    def query(self) -> str:
        """The whole query, with the words in it."""
        parts = ",\n".join(f"{name} AS ({PARTS[name]})" for name in self.parts)
        return f"WITH {parts}\n{self.select}" if parts else self.select

    @property
    def tables(self) -> tuple[str, ...]:
        """The words for the tables that the view reads."""
        return tuple(word for word in NEEDED_COLUMNS if f"{{{word}}}" in self.query)


_LEFT = "COALESCE(send_at, submitted_at)"
_KEY = "COALESCE(number_key_id, '')"
_DELIVERED = "SUM(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END)"
_FAILED = "SUM(CASE WHEN state IN ('failed', 'not_sent') THEN 1 ELSE 0 END)"

_WORDS: Mapping[str, str] = {
    "left": _LEFT,
    "key": _KEY,
    "in_turn": f"ORDER BY {_LEFT}, COALESCE(LENGTH(message_id), 0), message_id, batch_id",
    "delivered": _DELIVERED,
    "failed": _FAILED,
    "taken": state_list(ACCEPTED_STATES),
    "paid": state_list((*ACCEPTED_STATES, MessageState.CANCELLED)),
    "transmitted": state_list(
        (
            MessageState.ACCEPTED,
            MessageState.QUEUED,
            MessageState.SENT,
            MessageState.DELIVERED,
            MessageState.FAILED,
        )
    ),
    "open": state_list(
        (
            MessageState.UNKNOWN,
            MessageState.SCHEDULED,
            MessageState.CANCELLING,
            MessageState.NOT_FOUND,
        )
    ),
}
"""The words whose SQL is the same in every database."""

PARTS: Mapping[str, str] = {
    # Accepted texts, with the time of the next one to the same number, and the ordinal among the campaign's
    # texts to that number.
    "texts": """SELECT dag_id, run_id, task_id, message_id, number, {key} AS key_id, {left} AS left_at,
        LEAD({left}) OVER (PARTITION BY number, {key} {in_turn}) AS next_at,
        ROW_NUMBER() OVER (PARTITION BY dag_id, run_id, task_id, number, {key} {in_turn}) AS nth
    FROM {deliveries} WHERE state IN ({taken})""",
    "ids": """SELECT message_id, dag_id, run_id, task_id FROM (
        SELECT message_id, dag_id, run_id, task_id,
            ROW_NUMBER() OVER (PARTITION BY message_id {in_turn}) AS nth
        FROM {deliveries} WHERE message_id IS NOT NULL) AS numbered WHERE nth = 1""",
    "replies": """SELECT COALESCE(m.dag_id, t.dag_id) AS dag_id, COALESCE(m.run_id, t.run_id) AS run_id,
        COALESCE(m.task_id, t.task_id) AS task_id, i.number, COALESCE(i.number_key_id, '') AS key_id,
        CASE WHEN m.message_id IS NULL THEN 0 ELSE 1 END AS by_id
    FROM {incoming} i LEFT JOIN ids m ON m.message_id = i.in_reply_to
    LEFT JOIN texts t ON m.message_id IS NULL AND t.number = i.number
        AND t.key_id = COALESCE(i.number_key_id, '') AND {last_before:i.received_at}""",
    "counted_replies": """SELECT dag_id, run_id, task_id, by_id,
        ROW_NUMBER() OVER (PARTITION BY dag_id, run_id, task_id, number, key_id ORDER BY by_id) AS nth
    FROM replies""",
    # A number that was on the list before the history began has a row in the table only.
    "listed": """SELECT number, {key} AS key_id, opted_out_at, first_seen_at, last_seen_at, removed_at
        FROM {history}
    UNION ALL SELECT c.number, COALESCE(c.number_key_id, ''), c.opted_out_at, c.first_seen_at,
        c.last_seen_at, c.removed_at
    FROM {opt_outs} c WHERE NOT EXISTS (SELECT 1 FROM {history} h
        WHERE h.number = c.number AND COALESCE(h.number_key_id, '') = COALESCE(c.number_key_id, ''))""",
    "periods": """SELECT number, key_id, last_seen_at, removed_at,
        COALESCE(opted_out_at, first_seen_at) AS began,
        LEAD(COALESCE(opted_out_at, first_seen_at)) OVER (PARTITION BY number, key_id
            ORDER BY COALESCE(opted_out_at, first_seen_at), first_seen_at) AS next_began
    FROM listed""",
    # A load that missed a number once makes two validity periods of one opt-out.
    "asked": """SELECT number, key_id, MIN(opted_out_at) AS opted_out_at,
        MAX(CASE WHEN removed_at IS NULL THEN 1 ELSE 0 END) AS is_out
    FROM listed GROUP BY number, key_id, COALESCE(opted_out_at, first_seen_at)""",
    "late_texts": """SELECT d.dag_id, d.state, d.reason, {seconds:s.began -> {left}} AS since,
        CASE WHEN s.removed_at IS NULL OR {seconds:s.last_seen_at -> {left}} <= 0 THEN 1 ELSE 0 END
            AS was_listed
    FROM {deliveries} d INNER JOIN periods s ON s.number = d.number
        AND s.key_id = COALESCE(d.number_key_id, '') AND {seconds:s.began -> {left}} >= 60
        AND (s.next_began IS NULL OR {seconds:s.next_began -> {left}} < 60)
        AND (s.removed_at IS NULL OR {seconds:s.removed_at -> {left}} < 0)""",
    "judged": """SELECT dag_id, since,
        CASE WHEN state IN ({transmitted}) AND was_listed = 1 THEN 1 ELSE 0 END AS sent,
        CASE WHEN state IN ({open}) OR (state IN ({transmitted}) AND was_listed = 0)
            THEN 1 ELSE 0 END AS in_doubt,
        CASE WHEN state = 'not_sent' OR (state = 'declined' AND reason = 'opted_out') THEN 1 ELSE 0 END
            AS stopped
    FROM late_texts""",
    "per_number": """SELECT COUNT(*) AS spells,
        SUM(CASE WHEN removed_at IS NULL THEN 1 ELSE 0 END) AS open_periods
    FROM listed GROUP BY number, key_id""",
    "arrivals": """SELECT {day:submitted_at} AS day, dag_id,
        CASE WHEN {seconds:{left} -> state_at} < 0 THEN 0 ELSE {seconds:{left} -> state_at} END AS late
    FROM {deliveries} WHERE state = 'delivered'""",
    "ranked_arrivals": """SELECT day, dag_id, late,
        ROW_NUMBER() OVER (PARTITION BY day, dag_id ORDER BY late) AS nth,
        COUNT(*) OVER (PARTITION BY day, dag_id) AS total
    FROM arrivals""",
}
"""Subqueries that views share. Each reads tables and earlier subqueries."""

_DAY = {
    "day": "the day, in UTC, that the text was submitted",
    "dag_id": "the DAG that sent it",
}
_CAMPAIGN = {
    "dag_id": "the DAG that sent; null in the row for replies or opt-outs without a known text",
    "run_id": "its run",
    "task_id": "its task, with all its mapped instances",
    "started_at": "when its first text left",
    "texts": "texts that the gateway accepted and that were not cancelled",
    "recipients": "different numbers that they went to",
}

VIEWS = (
    View(
        "delivery_by_day",
        "How many of the accepted texts arrived?",
        columns={
            **_DAY,
            "accepted": "texts that the gateway accepted and that were not cancelled",
            "delivered": "texts that arrived, as far as reports were read",
            "failed": "texts that were not transmitted, or could not be delivered",
            "still_open": "texts without a final state yet",
            "rate": "delivered / accepted",
        },
        parts=(),
        select="""SELECT {day:submitted_at} AS day, dag_id, COUNT(*) AS accepted,
    {delivered} AS delivered, {failed} AS failed, COUNT(*) - {delivered} - {failed} AS still_open,
    ROUND({delivered} * 1.0 / COUNT(*), 4) AS rate
FROM {deliveries} WHERE state IN ({taken}) GROUP BY {day:submitted_at}, dag_id""",
    ),
    View(
        "delivery_time_by_day",
        "How long did texts take to arrive, from their `send_at` or, without one, from their submission?",
        columns={
            **_DAY,
            "delivered": "texts that arrived",
            "avg_seconds": "the mean of their times; if a gateway states minutes, a time may be less than 0,"
            " and counts as 0",
            "median_seconds": "the time within which half of them arrived",
            "p95_seconds": "the time within which 95 of 100 arrived",
            "max_seconds": "the longest of their times",
        },
        parts=("arrivals", "ranked_arrivals"),
        select="""SELECT day, dag_id, COUNT(*) AS delivered, ROUND(AVG(late), 1) AS avg_seconds,
    ROUND(MIN(CASE WHEN nth * 100 >= total * 50 THEN late END), 1) AS median_seconds,
    ROUND(MIN(CASE WHEN nth * 100 >= total * 95 THEN late END), 1) AS p95_seconds,
    ROUND(MAX(late), 1) AS max_seconds
FROM ranked_arrivals GROUP BY day, dag_id""",
    ),
    View(
        "cost_by_day",
        "What did the texts cost? What did one delivered text cost, with the undelivered texts included?",
        columns={
            **_DAY,
            "texts": "texts that the gateway accepted, including texts that were cancelled later",
            "currency": "the unit of the amounts, which makes a row of its own for each",
            "cost": "the price of them",
            "refund": "the amount given back for cancelled texts",
            "net_cost": "cost - refund",
            "delivered": "texts that arrived, as far as reports were read",
            "cost_per_delivered": "net_cost / delivered; null if none arrived",
        },
        parts=(),
        select="""SELECT {day:submitted_at} AS day, dag_id, COUNT(*) AS texts, currency,
    ROUND(SUM(cost), 4) AS cost, ROUND(SUM(refund), 4) AS refund, ROUND(SUM(cost - refund), 4) AS net_cost,
    {delivered} AS delivered,
    ROUND(SUM(cost - refund) * 1.0 / NULLIF({delivered}, 0), 4) AS cost_per_delivered
FROM {deliveries} WHERE state IN ({paid}) GROUP BY {day:submitted_at}, dag_id, currency""",
    ),
    View(
        "replies_by_campaign",
        "Which texts got replies? A reply belongs to the text that the gateway names (`in_reply_to`). If the "
        "table lacks that text, the reply belongs to the last text that left for the number before.",
        columns={
            **_CAMPAIGN,
            "replies": "messages that came in reply",
            "by_id": "replies whose text the gateway named",
            "repliers": "different numbers that replied",
            "reply_rate": "repliers / recipients; null if there are none",
        },
        parts=("texts", "ids", "replies", "counted_replies"),
        select="""SELECT dag_id, run_id, task_id, MIN(left_at) AS started_at, SUM(text) AS texts,
    SUM(recipient) AS recipients, SUM(reply) AS replies, SUM(by_id) AS by_id, SUM(replier) AS repliers,
    ROUND(SUM(replier) * 1.0 / NULLIF(SUM(recipient), 0), 4) AS reply_rate
FROM (
    SELECT dag_id, run_id, task_id, left_at, 1 AS text, CASE WHEN nth = 1 THEN 1 ELSE 0 END AS recipient,
        0 AS reply, 0 AS by_id, 0 AS replier FROM texts
    UNION ALL SELECT dag_id, run_id, task_id, NULL, 0, 0, 1, by_id, CASE WHEN nth = 1 THEN 1 ELSE 0 END
        FROM counted_replies) AS events
GROUP BY dag_id, run_id, task_id""",
    ),
    View(
        "opt_outs_by_campaign",
        "After which text did people opt out? An opt-out belongs to the last text that left for the number "
        "before.",
        columns={
            **_CAMPAIGN,
            "opt_outs": "how often a number opted out",
            "still_out": "how many of these are on the list now",
            "opt_out_rate": "opt_outs / recipients; null if there are none",
        },
        parts=("texts", "listed", "asked"),
        select="""SELECT dag_id, run_id, task_id, MIN(left_at) AS started_at, SUM(text) AS texts,
    SUM(recipient) AS recipients, SUM(opt_out) AS opt_outs, SUM(is_out) AS still_out,
    ROUND(SUM(opt_out) * 1.0 / NULLIF(SUM(recipient), 0), 4) AS opt_out_rate
FROM (
    SELECT dag_id, run_id, task_id, left_at, 1 AS text, CASE WHEN nth = 1 THEN 1 ELSE 0 END AS recipient,
        0 AS opt_out, 0 AS is_out FROM texts
    UNION ALL SELECT t.dag_id, t.run_id, t.task_id, NULL, 0, 0, 1, a.is_out
        FROM asked a LEFT JOIN texts t ON t.number = a.number AND t.key_id = a.key_id
        AND {last_before:a.opted_out_at}) AS events
GROUP BY dag_id, run_id, task_id""",
    ),
    View(
        "texts_after_opt_out",
        "How long after an opt-out was the number texted? `sent` must be 0 in every row.",
        columns={
            "days_since": "whole days from the opt-out to the time of the text; 0 for the first 24 hours",
            "dag_id": "the DAG that sent it",
            "sent": "texts that left for a number that was on the list: **must be 0**",
            "in_doubt": "texts for which this is unknown: they may not have left, such as scheduled ones, "
            "or they left between the last load that saw the number listed and the first that did not",
            "stopped": "texts that the gateway declined because of the opt-out, or did not transmit",
        },
        parts=("listed", "periods", "late_texts", "judged"),
        select="""SELECT {days:since} AS days_since, dag_id, SUM(sent) AS sent, SUM(in_doubt) AS in_doubt,
    SUM(stopped) AS stopped
FROM judged WHERE sent + in_doubt + stopped > 0 GROUP BY {days:since}, dag_id""",
    ),
    View(
        "opt_out_check",
        "Was nobody texted after an opt-out? The view has one row; `sent` must be 0.",
        columns={
            "numbers": "numbers that were on the list at any time",
            "spells": "periods on the list: opted out, removed, opted out again",
            "out_now": "numbers that are on it now",
            "again": "numbers that were on it more than once",
            "sent": "texts that left for a number while it was on the list: **must be 0**",
            "in_doubt": "as above",
            "stopped": "as above",
        },
        parts=("listed", "periods", "late_texts", "judged", "per_number"),
        select="""SELECT n.numbers, n.spells, n.out_now, n.again, l.sent, l.in_doubt, l.stopped
FROM (SELECT COUNT(*) AS numbers, COALESCE(SUM(spells), 0) AS spells,
        COALESCE(SUM(CASE WHEN open_periods > 0 THEN 1 ELSE 0 END), 0) AS out_now,
        COALESCE(SUM(CASE WHEN spells > 1 THEN 1 ELSE 0 END), 0) AS again FROM per_number) AS n
    CROSS JOIN (SELECT COALESCE(SUM(sent), 0) AS sent, COALESCE(SUM(in_doubt), 0) AS in_doubt,
        COALESCE(SUM(stopped), 0) AS stopped FROM judged) AS l""",
    ),
)
"""Every view, in the order of the documentation page."""


@dataclass(frozen=True, slots=True)
class _ViewDialect:
    """The SQL of a database for the calculations of the views.

    :param day: the day of a moment, in UTC.
    :param seconds: the seconds between two moments.
    :param days: the whole days in seconds, which are no less than 0.
    :param ways: the statements that make a view; a later way is for views that the first cannot replace.
    """

    day: str
    seconds: str
    days: str
    ways: tuple[tuple[str, ...], ...]

    def words(self) -> dict[str, Any]:
        """Return the words of a query: ``{day:moment}``, ``{seconds:start -> end}``."""
        left = self.seconds.format(start="t.left_at", end="{moment}")
        next_left = self.seconds.format(start="t.next_at", end="{moment}")
        return {
            **_WORDS,
            # The windows in `texts` make MariaDB give it a key, so that no text is compared with every other.
            "last_before": _SqlFunction(
                f"{left} > -60 AND (t.next_at IS NULL OR {next_left} <= -60)", ("moment",)
            ),
            "day": _SqlFunction(self.day, ("moment",)),
            "seconds": _SqlFunction(self.seconds, ("start", "end")),
            "days": _SqlFunction(self.days, ("seconds",)),
        }


@dataclass(frozen=True, slots=True)
class _SqlFunction:
    """An SQL template whose arguments follow the colon, separated by arrows."""

    sql: str
    parameters: tuple[str, ...]

    def __format__(self, spec: str) -> str:
        arguments = spec.split(" -> ")
        return self.sql.format(**dict(zip(self.parameters, arguments, strict=True)))


_REPLACE = ("CREATE OR REPLACE VIEW {view} AS {query}",)
_DROP_AND_CREATE = ("DROP VIEW IF EXISTS {view}", "CREATE VIEW {view} AS {query}")

_VIEW_DIALECTS = {
    "postgres": _ViewDialect(
        day="CAST({moment} AT TIME ZONE 'UTC' AS DATE)",
        # Before PostgreSQL 14 the epoch is a double, which ROUND cannot cut to some decimal places.
        seconds="CAST(EXTRACT(EPOCH FROM ({end} - {start})) AS NUMERIC)",
        days="CAST(FLOOR({seconds} / 86400) AS INTEGER)",
        # A view below other views can only be replaced by one with the same columns, and more at the end.
        ways=(_REPLACE, _DROP_AND_CREATE),
    ),
    "mysql": _ViewDialect(
        day="DATE({moment})",
        seconds="(TIMESTAMPDIFF(MICROSECOND, {start}, {end}) / 1000000)",
        days="FLOOR({seconds} / 86400)",
        ways=(_REPLACE,),
    ),
    "sqlite": _ViewDialect(
        day="DATE({moment})",
        # SQLite counts milliseconds; as a fraction of days they are off by less than one.
        seconds="ROUND((JULIANDAY({end}) - JULIANDAY({start})) * 86400, 3)",
        days="CAST({seconds} / 86400 AS INTEGER)",
        ways=(_DROP_AND_CREATE,),
    ),
    "duckdb": _ViewDialect(
        # A cast would use the time zone of the session.
        day="CAST(MAKE_TIMESTAMP(EPOCH_US({moment})) AS DATE)",
        seconds="((EPOCH_US({end}) - EPOCH_US({start})) / 1000000.0)",
        days="CAST(FLOOR({seconds} / 86400) AS INTEGER)",
        ways=(_REPLACE,),
    ),
}
"""By connection type: the databases whose days and seconds are tested."""

_CANNOT_REPLACE = "42P16"
_DEPENDED_ON = "2BP01"


class ViewSet:
    """The views over some tables, as statements.

    :param conn_type: the type of the connection, which says which database.
    :param quote: quotes the parts of a name, and joins them with dots.
    :param prefix: the beginning of the views' names.
    :raises ConfigurationError: if the figures are not tested in the database.
    :raises InvalidMessage: if the prefix cannot begin a name, or a view would have the name of a table.
    """

    def __init__(self, conn_type: str, quote: Callable[..., str], tables: SourceTables, prefix: str) -> None:
        _check_kind(conn_type)
        self._dialect = _VIEW_DIALECTS[conn_type]
        self._quote = quote
        self.tables = tables
        self.prefix = prefix
        self._check_names()

    @property
    def views(self) -> tuple[View, ...]:
        """The views whose tables are given."""
        return tuple(view for view in VIEWS if self.tables.names.keys() >= set(view.tables))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the views."""
        return tuple(self.prefix + view.name for view in self.views)

    @property
    def ways(self) -> range:
        """The ways to make a view; a later one is for views that the first cannot replace."""
        return range(len(self._dialect.ways))

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table or a view, with its schema."""
        return self._quote(name) if self.tables.schema is None else self._quote(self.tables.schema, name)

    def statements(self, way: int = -1) -> Iterator[tuple[str, str]]:
        """Yield the name of a view and a statement that makes or replaces it, for every view."""
        tables = {word: self.qualified(name) for word, name in self.tables.names.items()}
        for view in self.views:
            query = view.query.format(**tables, **self._dialect.words())
            name = self.prefix + view.name
            for statement in self._dialect.ways[way]:
                yield name, statement.format(view=self.qualified(name), query=query)

    def _check_names(self) -> None:
        if not isinstance(self.prefix, str):
            check_identifier("view_prefix", self.prefix)
        for name in self.names:
            check_identifier("view_prefix", name)
            # Some databases ignore upper and lower case.
            if name.lower() in {table.lower() for table in self.tables.names.values()}:
                msg = f"The view {name} would have the name of a table. Give another `view_prefix`."
                raise InvalidMessage(msg)


def create_views(hook: DbApiHook, tables: SourceTables, prefix: str) -> tuple[str, ...]:
    """Make or replace the views whose tables are given, and return their names.

    :raises ConfigurationError: if the figures are untested in the database, or a table or column is missing.
    :raises InvalidMessage: if the prefix cannot begin a name, or a view would have the name of a table.
    :raises LoadFailed: if the database refuses a statement.
    """
    with closing(Database(hook, lambda refusal: _refused(refusal, prefix))) as database:
        views = ViewSet(hook.conn_type, database.quoted, tables, prefix)
        database.open()
        _check_tables(database, views)
        _create(database, views)
    return views.names


def _create(database: Database, views: ViewSet) -> None:
    for way in views.ways:
        try:
            database.transact(partial(_run, database, views, way))
        except LoadFailed as error:
            if error.code != _CANNOT_REPLACE or way == views.ways[-1]:
                raise
        else:
            return


def _run(database: Database, views: ViewSet, way: int) -> None:
    database.lock(f"{views.prefix}views")
    for name, statement in views.statements(way):
        database.execute(f"create the view {name}", statement)


def _check_tables(database: Database, views: ViewSet) -> None:
    """Check that the tables have the columns that the views read.

    :raises ConfigurationError: if a table or a column is missing.
    """
    found = {word: _columns(database, views, name) for word, name in views.tables.names.items()}
    missing = [word for word, columns in found.items() if columns is None]
    if missing:
        schema = f"{views.tables.schema}." if views.tables.schema else ""
        tables = " and ".join(f"{schema}{views.tables.names[word]} ({_DATASETS[word]})" for word in missing)
        msg = (
            f"There is no table {tables}, or the connection may not read it. Load it first: SmsToSqlOperator "
            "with that `dataset` and the same `schema` creates the table."
        )
        raise ConfigurationError(msg)
    for word, columns in found.items():
        lacking = [column for column in NEEDED_COLUMNS[word] if column not in (columns or ())]
        if lacking:
            msg = (
                f"The table {views.tables.names[word]} lacks {', '.join(lacking)}. Load it once more: "
                f"SmsToSqlOperator with dataset={_DATASETS[word]!r} adds what is missing."
            )
            raise ConfigurationError(msg)


def _columns(database: Database, views: ViewSet, name: str) -> set[str] | None:
    step = f"read the columns of {name}"
    try:
        return database.transact(lambda: database.columns(step, views.qualified(name)))
    except _DatabaseLost:
        raise
    except LoadFailed:
        return None


def _check_kind(conn_type: str) -> None:
    if conn_type not in _VIEW_DIALECTS:
        msg = (
            "The views are made in PostgreSQL, MySQL, MariaDB, SQLite and DuckDB, where their figures are "
            f"tested; the connection has the type {conn_type!r}. Another database may count days and times "
            "differently."
        )
        raise ConfigurationError(msg)


_RIGHTS = (
    "The connection's user needs SELECT on the tables, the right to create views in their schema, "
    "and to own those that it replaces."
)


class _DatabaseLost(LoadFailed):
    """The database cannot be connected to."""


def _refused(refusal: Refusal, prefix: str) -> LoadFailed:
    kind = _DatabaseLost if isinstance(refusal, NotOpened) else LoadFailed
    message = refusal.message(f"views {prefix}*", _hint(refusal))
    return kind(message, refusal.kind, refusal.code, is_permanent=refusal.needs_a_person)


def _hint(refusal: Refusal) -> str:
    if refusal.code == _DEPENDED_ON:
        return "Other views are built on it, and its columns changed: drop those first. The old views stand."
    return refusal.hint(_RIGHTS, "A repeat is safe.")
