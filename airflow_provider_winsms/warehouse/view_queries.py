"""The queries of the views, for the first questions that people ask, as data.

A query is SQL with words in braces: tables, of which ``{deliveries}`` needs an alias; expressions that many
queries share; and the calculations that databases spell differently: ``{day:instant}``,
``{seconds:start -> end}`` and ``{days:seconds}``.

No view shows a number or a text. Two numbers are joined if both were hashed with the same key, or neither was
hashed. So hashed numbers answer every question too.

A gateway may state minutes: a text that left in the minute of a reply or an opt-out counts as before it. A
published column of a view is neither renamed nor dropped; new ones are added at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from sqlalchemy import literal_column

from airflow_provider_winsms.ledger.schema import ACCEPTED_STATES, MessageState, state_list
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.sql.compiler import compiled
from airflow_provider_winsms.sql.functions import day_of, seconds_between, whole_days_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

    from sqlalchemy import Dialect
    from sqlalchemy.sql.elements import ColumnElement

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
    "messages": (
        "batch_id",
        "round",
        "message_id",
        "number",
        "state",
        "reason",
        "cost",
        "refund",
        "currency",
        "submitted_at",
        "send_at",
        "state_at",
    ),
    "batches": ("batch_id", "dag_id", "run_id", "task_id", "key_id"),
    "incoming": ("number", "number_key_id", "received_at", "in_reply_to"),
    "opt_outs": _OPT_OUT_COLUMNS,
    "history": _OPT_OUT_COLUMNS,
}
"""The columns that the views read, by the word for the table in their SQL."""

# A load leaves out recipients that were never submitted, too. A number is shorter than its hash.
DELIVERIES_OF_LEDGER = """(SELECT m.batch_id, m.message_id, b.dag_id, b.run_id, b.task_id, m.number,
        CASE WHEN LENGTH(m.number) = 64 THEN b.key_id END AS number_key_id, m.state, m.reason, m.cost,
        m.refund, m.currency, m.submitted_at, m.send_at, m.state_at
    FROM {messages} m INNER JOIN {batches} b ON b.batch_id = m.batch_id WHERE m.round > 0{and_if})"""
"""The rows of the dataset ``deliveries``, as a subquery of a ledger's tables. ``{and_if}`` is a condition."""


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
        parts = ",\n".join(f"{name}$ AS ({PARTS[name]})" for name in self.parts)
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
    "declined": "SUM(CASE WHEN state = 'declined' THEN 1 ELSE 0 END)",
    "opted_out": "SUM(CASE WHEN state = 'declined' AND reason = 'opted_out' THEN 1 ELSE 0 END)",
    "do_not_contact": "SUM(CASE WHEN state = 'declined' AND reason = 'do_not_contact' THEN 1 ELSE 0 END)",
    "bad_number": "SUM(CASE WHEN state = 'declined' AND reason = 'bad_number' THEN 1 ELSE 0 END)",
    "sent_again": ", ".join(f"'{reason}'" for reason in RejectReason if reason.may_be_sent_later),
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
    FROM {deliveries} d WHERE state IN ({taken})""",
    "ids": """SELECT message_id, dag_id, run_id, task_id FROM (
        SELECT message_id, dag_id, run_id, task_id,
            ROW_NUMBER() OVER (PARTITION BY message_id {in_turn}) AS nth
        FROM {deliveries} d WHERE message_id IS NOT NULL) AS numbered WHERE nth = 1""",
    "replies": """SELECT COALESCE(m.dag_id, t.dag_id) AS dag_id, COALESCE(m.run_id, t.run_id) AS run_id,
        COALESCE(m.task_id, t.task_id) AS task_id, i.number, COALESCE(i.number_key_id, '') AS key_id,
        CASE WHEN m.message_id IS NULL THEN 0 ELSE 1 END AS by_id
    FROM {incoming} i LEFT JOIN ids$ m ON m.message_id = i.in_reply_to
    LEFT JOIN texts$ t ON m.message_id IS NULL AND t.number = i.number
        AND t.key_id = COALESCE(i.number_key_id, '') AND {last_before:i.received_at}""",
    "counted_replies": """SELECT dag_id, run_id, task_id, by_id,
        ROW_NUMBER() OVER (PARTITION BY dag_id, run_id, task_id, number, key_id ORDER BY by_id) AS nth
    FROM replies$""",
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
    FROM listed$""",
    # A load that missed a number once makes two validity periods of one opt-out.
    "asked": """SELECT number, key_id, MIN(opted_out_at) AS opted_out_at,
        COALESCE(opted_out_at, first_seen_at) AS began,
        MAX(CASE WHEN removed_at IS NULL THEN 1 ELSE 0 END) AS is_out
    FROM listed$ GROUP BY number, key_id, COALESCE(opted_out_at, first_seen_at)""",
    "late_texts": """SELECT d.dag_id, d.state, d.reason, {seconds:s.began -> {left}} AS since,
        CASE WHEN s.removed_at IS NULL OR {seconds:s.last_seen_at -> {left}} <= 0 THEN 1 ELSE 0 END
            AS was_listed
    FROM {deliveries} d INNER JOIN periods$ s ON s.number = d.number
        AND s.key_id = COALESCE(d.number_key_id, '') AND {seconds:s.began -> {left}} >= 60
        AND (s.next_began IS NULL OR {seconds:s.next_began -> {left}} < 60)
        AND (s.removed_at IS NULL OR {seconds:s.removed_at -> {left}} < 0)""",
    "judged": """SELECT dag_id, since,
        CASE WHEN state IN ({transmitted}) AND was_listed = 1 THEN 1 ELSE 0 END AS sent,
        CASE WHEN state IN ({open}) OR (state IN ({transmitted}) AND was_listed = 0)
            THEN 1 ELSE 0 END AS in_doubt,
        CASE WHEN state = 'not_sent' OR (state = 'declined' AND reason = 'opted_out') THEN 1 ELSE 0 END
            AS stopped
    FROM late_texts$""",
    "per_number": """SELECT COUNT(*) AS spells,
        SUM(CASE WHEN removed_at IS NULL THEN 1 ELSE 0 END) AS open_periods
    FROM listed$ GROUP BY number, key_id""",
    "arrivals": """SELECT {day:submitted_at} AS day, dag_id,
        CASE WHEN {seconds:{left} -> state_at} < 0 THEN 0 ELSE {seconds:{left} -> state_at} END AS late
    FROM {deliveries} d WHERE state = 'delivered'""",
    "ranked_arrivals": """SELECT day, dag_id, late,
        ROW_NUMBER() OVER (PARTITION BY day, dag_id ORDER BY late) AS nth,
        COUNT(*) OVER (PARTITION BY day, dag_id) AS total
    FROM arrivals$""",
}
"""Subqueries that views share. Each reads tables and earlier subqueries.

In the SQL a dollar sign ends their names. No name of a table may have one.
"""

_DAY = {
    "day": "the day that the text was submitted",
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
FROM {deliveries} d WHERE state IN ({taken}) GROUP BY {day:submitted_at}, dag_id""",
    ),
    View(
        "declined_by_day",
        "How many texts were declined, and why? A text that is sent again counts once.",
        columns={
            **_DAY,
            "texts": "submitted texts, except cancelled ones and declined ones that may be sent again",
            "declined": "texts that were declined for good",
            "opted_out": "of these, because of an opt-out",
            "do_not_contact": "because of an industry-wide do-not-contact list",
            "bad_number": "because of the number",
            "other_reasons": "for another reason",
            "declined_rate": "declined / texts",
            "opted_out_rate": "opted_out / texts",
        },
        parts=(),
        select="""SELECT {day:submitted_at} AS day, dag_id, COUNT(*) AS texts, {declined} AS declined,
    {opted_out} AS opted_out, {do_not_contact} AS do_not_contact, {bad_number} AS bad_number,
    {declined} - {opted_out} - {do_not_contact} - {bad_number} AS other_reasons,
    ROUND({declined} * 1.0 / COUNT(*), 4) AS declined_rate,
    ROUND({opted_out} * 1.0 / COUNT(*), 4) AS opted_out_rate
FROM {deliveries} d WHERE state <> 'cancelled' AND (reason IS NULL OR reason NOT IN ({sent_again}))
GROUP BY {day:submitted_at}, dag_id""",
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
FROM ranked_arrivals$ GROUP BY day, dag_id""",
    ),
    View(
        "cost_by_day",
        "What did the texts cost? What did one delivered text cost, with the undelivered texts included?",
        columns={
            **_DAY,
            "texts": "texts that the gateway accepted, including texts that were cancelled later",
            "currency": "the unit of the amounts, which makes a row of its own for each",
            "cost": "what was charged for them",
            "refund": "the amount given back for cancelled texts",
            "net_cost": "cost - refund: the `cost` in the results of the sends",
            "delivered": "texts that arrived, as far as reports were read",
            "cost_per_delivered": "net_cost / delivered; null if none arrived",
        },
        parts=(),
        select="""SELECT {day:submitted_at} AS day, dag_id, COUNT(*) AS texts, currency,
    ROUND(SUM(cost), 4) AS cost, ROUND(SUM(refund), 4) AS refund, ROUND(SUM(cost - refund), 4) AS net_cost,
    {delivered} AS delivered,
    ROUND(SUM(cost - refund) * 1.0 / NULLIF({delivered}, 0), 4) AS cost_per_delivered
FROM {deliveries} d WHERE state IN ({paid}) GROUP BY {day:submitted_at}, dag_id, currency""",
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
        0 AS reply, 0 AS by_id, 0 AS replier FROM texts$
    UNION ALL SELECT dag_id, run_id, task_id, NULL, 0, 0, 1, by_id, CASE WHEN nth = 1 THEN 1 ELSE 0 END
        FROM counted_replies$) AS events
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
        0 AS opt_out, 0 AS is_out FROM texts$
    UNION ALL SELECT t.dag_id, t.run_id, t.task_id, NULL, 0, 0, 1, a.is_out
        FROM asked$ a LEFT JOIN texts$ t ON t.number = a.number AND t.key_id = a.key_id
        AND {last_before:a.opted_out_at}) AS events
GROUP BY dag_id, run_id, task_id""",
    ),
    View(
        "opt_outs_by_day",
        "How many people opted out?",
        columns={
            "day": "the day of the opt-out; without its time, the day of the first load that saw it",
            "opt_outs": "how often a number opted out",
            "still_out": "how many of these are on the list now",
        },
        parts=("listed", "asked"),
        select="""SELECT {day:began} AS day, COUNT(*) AS opt_outs, SUM(is_out) AS still_out
FROM asked$ GROUP BY {day:began}""",
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
FROM judged$ WHERE sent + in_doubt + stopped > 0 GROUP BY {days:since}, dag_id""",
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
        COALESCE(SUM(CASE WHEN spells > 1 THEN 1 ELSE 0 END), 0) AS again FROM per_number$) AS n
    CROSS JOIN (SELECT COALESCE(SUM(sent), 0) AS sent, COALESCE(SUM(in_doubt), 0) AS in_doubt,
        COALESCE(SUM(stopped), 0) AS stopped FROM judged$) AS l""",
    ),
)
"""Every view, in the order of the documentation page."""


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a query whose arguments follow the colon, separated by arrows."""

    sql_of: Callable[..., str]

    def __format__(self, arguments: str) -> str:
        return self.sql_of(*arguments.split(" -> "))


def words_for(dialect: Dialect, zone: tzinfo = UTC) -> dict[str, Any]:
    """Return the words of a query in the SQL of a database, except the names of the tables.

    :param zone: the time zone of days.
    """

    def word(function: Callable[..., ColumnElement[Any]]) -> _Word:
        return _Word(lambda *arguments: compiled(function(*map(literal_column, arguments)), dialect)[0])

    seconds = word(seconds_between)

    def last_before(instant: str) -> str:
        # The windows in `texts` make MariaDB give it a key, so that no text is compared with every other.
        until_next = seconds.sql_of("t.next_at", instant)
        return f"{seconds.sql_of('t.left_at', instant)} > -60 AND (t.next_at IS NULL OR {until_next} <= -60)"

    return {
        **_WORDS,
        "day": word(lambda instant: day_of(instant, zone)),
        "seconds": seconds,
        "days": word(whole_days_in),
        "last_before": _Word(last_before),
    }
