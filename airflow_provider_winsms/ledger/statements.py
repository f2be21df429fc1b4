"""The statements of the ledger, as named text. Those that lock rows come first, in lock order.

Lock order: batches, requests, messages, rounds, reservations, spending, alerts. Each transaction that
changes a count first locks the row of its batch, by writing it. While it has this lock, no other such
transaction writes rows of the batch, so it may write them more than once. A transaction on several batches
locks them in the order of their ids. So the counts of a batch always agree with its rows, and no two such
transactions wait for each other in a circle. A transaction that changes no count may lock rows of messages
alone. One that reserves writes only reservations, only spending, or only alerts. It first locks the row with
the empty key.

New rows come by ``LedgerDatabase.insert``. They are locked until their transaction ends: a second row of the
same key waits, and is refused.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.ledger.schema import (
    CANCELLABLE,
    MESSAGES,
    OPEN_STATES,
    RESERVATIONS,
    state_list,
)
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.sql.statements import NamedStatement, integer_list, value_list

if TYPE_CHECKING:
    from collections.abc import Mapping

WORDS = {
    "here": "batch_id = :batch_id AND round = :round AND request = :request",
    "accepted_state": "CASE WHEN send_at IS NULL THEN 'accepted' ELSE 'scheduled' END",
    "cancellable": state_list(CANCELLABLE),
    "message_columns": ", ".join(f"m.{name}" for name in MESSAGES.column_names),
    "open": state_list(OPEN_STATES),
    "reservation_columns": ", ".join(RESERVATIONS.column_names),
    "resendable": ", ".join(f"'{reason}'" for reason in RejectReason if reason.may_be_sent_later),
    "shown": "b.updated_at >= :since AND b.dag_id = COALESCE(:dag_id, b.dag_id) "
    "AND b.run_id = COALESCE(:run_id, b.run_id)",
    "spending_scope": "sms_conn_id = :sms_conn_id AND dag_id = COALESCE(:dag_id, dag_id) "
    "AND run_id = COALESCE(:run_id, run_id)",
}
"""The words in the statements. The names of the tables are further ones."""

LISTS = (
    *map(value_list, ("batch_ids", "key_ids", "message_ids", "numbers", "states")),
    *map(integer_list, ("limit", "positions", "requests", "skipped")),
)
"""The parameters that are lists."""


# Locks on batches.

LOCK_BATCH = NamedStatement(
    "lock the batch", "UPDATE {batches} SET updated_at = :now WHERE batch_id = :batch_id"
)

LOCK_BATCH_IN_FORCE = NamedStatement(
    "lock the batch",
    """
    UPDATE {batches} SET updated_at = :now
    WHERE batch_id = :batch_id AND superseded_at IS NULL AND revision = COALESCE(:revision, revision)
    """,
)

SUPERSEDE_BATCHES = NamedStatement(
    "supersede a batch",
    """
    UPDATE {batches} SET superseded_at = :now
    WHERE key_digest = :key_digest AND generation < :generation AND superseded_at IS NULL
    """,
)

REVISE_BATCH = NamedStatement(
    "revise the batch",
    """
    UPDATE {batches} SET texts_digest = :texts_digest, numbers_digest = :numbers_digest,
        recipients = :recipients, requests = :request_count, duplicates = :duplicates
    WHERE batch_id = :batch_id
    """,
)

RAISE_REVISION = NamedStatement(
    "take the batch over", "UPDATE {batches} SET revision = revision + 1 WHERE batch_id = :batch_id"
)

# SQLite adds floats, and sums of tenths are not exact. So they are rounded.
ADD_TO_COUNTS = NamedStatement(
    "count the messages",
    """
    UPDATE {batches} SET accepted = accepted + :accepted, declined = declined + :declined,
        unknown = unknown + :unknown, cancelled = cancelled + :cancelled,
        cost = ROUND(cost + :cost, 4), refunded = ROUND(refunded + :refunded, 4), updated_at = :now
    WHERE batch_id = :batch_id
    """,
)


# Locks on requests.

RENEW_REQUEST = NamedStatement("renew a claim", "UPDATE {requests} SET claimed_at = :claimed_at WHERE {here}")

MARK_REQUEST_CANCELLING = NamedStatement(
    "mark a request", "UPDATE {requests} SET cancelling_at = :now WHERE {here}"
)

MARK_REQUEST_ANSWERED = NamedStatement(
    "record the outcome of a request", "UPDATE {requests} SET answered_at = :now WHERE {here}"
)

MARK_REQUEST_ANSWERED_AND_NOT_CANCELLING = NamedStatement(
    "record the outcome of a request",
    "UPDATE {requests} SET answered_at = :now, cancelling_at = NULL WHERE {here}",
)

DELETE_REQUEST = NamedStatement("delete a claim", "DELETE FROM {requests} WHERE {here}")


# Locks on messages, below that of their batch.

RENEW_MESSAGES = NamedStatement(
    "renew a claim", "UPDATE {messages} SET submitted_at = :claimed_at WHERE {here}"
)

ACCEPT_MESSAGES = NamedStatement(
    "write the outcome of a request",
    """
    UPDATE {messages} SET state = {accepted_state}, reason = NULL, cost = :cost, state_at = :now,
        message_id = {message_id}
    WHERE {here} AND state = 'unknown' AND position IN (:positions)
    """,
)

DECLINE_MESSAGES = NamedStatement(
    "write the outcome of a request",
    """
    UPDATE {messages} SET state = 'declined', reason = :reason, cost = :cost, state_at = :now,
        message_id = NULL
    WHERE {here} AND state = 'unknown' AND position IN (:positions)
    """,
)

UPDATE_MESSAGES = NamedStatement(
    "write the outcome of a request",
    """
    UPDATE {messages} SET state = :state, reason = :reason, cost = :cost, refund = :refund, state_at = :now,
        message_id = {message_id}
    WHERE {here} AND position IN (:positions)
    """,
)

MARK_REQUEST_MESSAGES_CANCELLING = NamedStatement(
    "mark messages",
    "UPDATE {messages} SET state = 'cancelling', state_at = :now WHERE {here} AND state IN ({cancellable})",
)

CANCEL_MESSAGES = NamedStatement(
    "mark messages",
    """
    UPDATE {messages} SET state = 'cancelled', refund = :refund, state_at = :now
    WHERE batch_id = :batch_id AND message_id IN :message_ids AND state IN ({cancellable}, 'cancelling')
    """,
)

DELETE_MESSAGES = NamedStatement("delete messages", "DELETE FROM {messages} WHERE {here}")


# Locks on messages alone: they change no count.

MARK_MESSAGES_CANCELLING = NamedStatement(
    "mark messages",
    """
    UPDATE {messages} SET state = 'cancelling', state_at = :now
    WHERE message_id IN :message_ids AND state IN ({cancellable})
    """,
)

MARK_MESSAGES_NOT_CANCELLED = NamedStatement(
    "mark messages",
    """
    UPDATE {messages} SET state = {accepted_state}, state_at = :now
    WHERE message_id IN :message_ids AND state = 'cancelling'
    """,
)

REPORT_MESSAGES_NOT_CANCELLED = NamedStatement(
    "mark messages",
    """
    UPDATE {messages} SET state = :state, state_at = :now
    WHERE message_id IN :message_ids AND state = 'cancelling'
    """,
)

REPORT_MESSAGES = NamedStatement(
    "write delivery states",
    """
    UPDATE {messages} SET state = :state, state_at = {state_at}
    WHERE message_id IN :message_ids AND state IN :states
    """,
)

FORGET_MESSAGE = NamedStatement(
    "forget a number",
    """
    UPDATE {messages} SET number = :number, text = :text, reference = NULL
    WHERE {here} AND position = :position
    """,
)


# Locks on reservations.

LOCK_RESERVATIONS = NamedStatement(
    "take the lock of the reservations",
    "UPDATE {reservations} SET reserved_at = :now WHERE key_digest = '' AND number = '' AND place = 0",
)

DELETE_EXPIRED_RESERVATIONS = NamedStatement(
    "delete expired reservations", "DELETE FROM {reservations} WHERE expires_at <= :now AND number <> ''"
)

DELETE_RESERVATIONS = NamedStatement(
    "delete reservations",
    "DELETE FROM {reservations} WHERE key_digest = :key_digest AND number IN :numbers",
)

FORGET_RESERVATION = NamedStatement(
    "forget a number",
    """
    UPDATE {reservations} SET number = :pseudonym
    WHERE key_digest = :key_digest AND number = :number AND place = :place
    """,
)


# Locks on spending, in transactions that lock nothing else.

LOCK_SPENDING = NamedStatement(
    "take the lock of the spending", "UPDATE {spending} SET reserved_at = :now WHERE key_digest = ''"
)

DELETE_RESERVED = NamedStatement(
    "delete what was reserved", "DELETE FROM {spending} WHERE key_digest = :key_digest"
)

SETTLE_RESERVED = NamedStatement(
    "settle what was reserved",
    "UPDATE {spending} SET settled_at = :now WHERE key_digest = :key_digest AND settled_at IS NULL",
)


# Locks on alerts, in transactions that lock nothing else.

LOCK_ALERTS = NamedStatement(
    "take the lock of the alerts", "UPDATE {alerts} SET raised_at = :now WHERE alert_id = ''"
)

TELL_ALERTS = NamedStatement(
    "count the alerts that were held back",
    "UPDATE {alerts} SET sent_in = :alert_id WHERE key_digest = :key_digest AND sent_in IS NULL",
)

UNTELL_ALERTS = NamedStatement(
    "withdraw an alert",
    "UPDATE {alerts} SET sent_in = NULL WHERE sent_in = :alert_id AND alert_id <> :kept_id",
)

DELETE_OLD_ALERTS = NamedStatement(
    "delete old alerts", "DELETE FROM {alerts} WHERE raised_at < :before AND alert_id <> ''"
)


# Reads of batches.

_READ_BATCH = """
    SELECT batch_key, dag_id, run_id, task_id, map_index, owner, texts_digest, numbers_digest, key_id,
        recipients, requests, duplicates, sms_conn_id, guarantee, max_tries, opened_at, generation, revision,
        currency
    FROM {batches}
    """

READ_BATCH = NamedStatement("read the batch", _READ_BATCH + "WHERE batch_id = :batch_id")

READ_LATEST_BATCH = NamedStatement(
    "read the batch", _READ_BATCH + "WHERE key_digest = :key_digest ORDER BY generation DESC LIMIT 1"
)

READ_REVISION = NamedStatement(
    "read the revision", "SELECT revision FROM {batches} WHERE batch_id = :batch_id"
)

READ_COST = NamedStatement(
    "read the cost of the batch", "SELECT cost, refunded FROM {batches} WHERE batch_id = :batch_id"
)

READ_CONNECTION = NamedStatement(
    "read the batch", "SELECT sms_conn_id FROM {batches} WHERE batch_id = :batch_id"
)

FIND_OTHER_KEYS = NamedStatement(
    "look for hashed numbers",
    """
    SELECT DISTINCT b.key_id FROM {batches} b WHERE b.key_id NOT IN :key_ids AND EXISTS (
        SELECT 1 FROM {messages} m WHERE m.batch_id = b.batch_id AND LENGTH(m.number) = 64)
    ORDER BY b.key_id
    """,
)
"""The keys, except some, under which numbers are hashed."""

READ_SENDERS = NamedStatement(
    "read the batches to load",
    """
    SELECT batch_id, dag_id, run_id, task_id, map_index, key_id FROM {batches}
    WHERE batch_id IN :batch_ids AND sms_conn_id = :sms_conn_id
    """,
)

FIND_REQUESTS_IN_USE = NamedStatement(
    "look for requests",
    """
    SELECT 1 AS found FROM {batches} b INNER JOIN {requests} r ON r.batch_id = b.batch_id
    WHERE b.key_digest = :key_digest AND b.generation = :generation AND NOT (b.max_tries <> :max_tries
        AND b.dag_id = :dag_id AND b.run_id = :run_id AND b.task_id = :task_id AND b.map_index = :map_index)
    LIMIT 1
    """,
)
"""Requests of the batch that another one supersedes, unless its task was cleared: that sends all again."""

FIND_LATER_REQUESTS = NamedStatement(
    "look for other plans",
    """
    SELECT 1 AS found FROM {batches} b
    WHERE b.batch_id = :batch_id AND (b.revision <> :revision OR EXISTS (
        SELECT 1 FROM {requests} r
        WHERE r.batch_id = b.batch_id AND r.round = :round AND r.request > :request))
    """,
)
"""Whether later requests depend on the plan of one request. Then another plan must not reuse its key."""


# Reads of requests.

FIND_GAPS = NamedStatement(
    "look for gaps",
    """
    SELECT round FROM {requests} WHERE batch_id = :batch_id
    GROUP BY round HAVING MAX(request) > COUNT(*) LIMIT 1
    """,
)

READ_REQUEST = NamedStatement(
    "read a request",
    """
    SELECT b.revision, r.recipients, r.claimed_at, r.process, r.send_at, r.cancelling_at
    FROM {requests} r INNER JOIN {batches} b ON b.batch_id = r.batch_id
    WHERE r.batch_id = :batch_id AND r.round = :round AND r.request = :request
    """,
)

READ_CLAIM = NamedStatement(
    "read a request", "SELECT process, claimed_at, cancelling_at FROM {requests} WHERE {here}"
)

READ_UNRESOLVED_REQUESTS = NamedStatement(
    "read the requests in doubt",
    """
    SELECT b.batch_id, b.dag_id, b.run_id, b.task_id, b.map_index, r.round, r.request,
        COUNT(*) AS recipients, r.claimed_at, r.send_at
    FROM {messages} m
    INNER JOIN {requests} r ON r.batch_id = m.batch_id AND r.round = m.round AND r.request = m.request
    INNER JOIN {batches} b ON b.batch_id = m.batch_id
    WHERE m.state = 'unknown' AND b.unknown > 0 AND b.superseded_at IS NULL
    GROUP BY b.batch_id, b.dag_id, b.run_id, b.task_id, b.map_index, r.round, r.request, r.claimed_at,
        r.send_at
    ORDER BY r.claimed_at, b.batch_id, r.round, r.request
    """,
)

COUNT_RECENT_BATCHES = NamedStatement(
    "count the recent batches", "SELECT COUNT(*) FROM {batches} b WHERE {shown}"
)

READ_RECENT_SENDERS = NamedStatement(
    "read the connections of recent batches", "SELECT DISTINCT b.sms_conn_id FROM {batches} b WHERE {shown}"
)

READ_RECENT_BATCHES = NamedStatement(
    "read the recent batches",
    """
    SELECT b.batch_id, b.dag_id, b.run_id, b.task_id, b.map_index, b.sms_conn_id, b.guarantee, b.recipients,
        b.cost, b.refunded, b.currency, b.opened_at
    FROM {batches} b WHERE {shown} ORDER BY b.opened_at DESC, b.batch_id LIMIT :limit OFFSET :skipped
    """,
)

READ_STATES_OF_BATCHES = NamedStatement(
    "count the states of batches",
    """
    SELECT m.batch_id, m.state, COUNT(*) FROM {messages} m
    WHERE m.batch_id IN :batch_ids AND m.round > 0
        AND (m.reason IS NULL OR m.reason NOT IN ({resendable}))
    GROUP BY m.batch_id, m.state
    """,
)

READ_REASONS = NamedStatement(
    "count the reasons",
    """
    SELECT m.reason, COUNT(*) FROM {messages} m INNER JOIN {batches} b ON b.batch_id = m.batch_id
    WHERE {shown} AND m.submitted_at >= :since AND m.state = 'declined' AND m.reason NOT IN ({resendable})
    GROUP BY m.reason
    """,
)

# With the first condition every planner uses the primary key. The connection is compared outside of the
# subquery: a planner that expects few rows of it would sort the whole table for each page.
READ_NEXT_REQUESTS = NamedStatement(
    "look for requests to load",
    """
    SELECT w.batch_id, w.round, w.request, w.recipients, b.sms_conn_id FROM (
        SELECT r.batch_id, r.round, r.request, r.recipients FROM {requests} r
        WHERE r.batch_id >= :batch_id
            AND (r.batch_id > :batch_id OR r.round > :round OR (r.round = :round AND r.request > :request))
            AND (r.claimed_at >= :since OR r.answered_at >= :since OR r.answered_at IS NULL)
            AND r.claimed_at <= :until
        ORDER BY r.batch_id, r.round, r.request LIMIT :limit
    ) w LEFT JOIN {batches} b ON b.batch_id = w.batch_id ORDER BY w.batch_id, w.round, w.request
    """,
)

READ_SIZES = NamedStatement(
    "look for requests to load",
    """
    SELECT batch_id, round, request, recipients FROM {requests}
    WHERE batch_id IN :batch_ids AND round = :round AND request IN (:requests)
    """,
)


# Reads of messages.

READ_MESSAGES = NamedStatement(
    "read the messages of a request",
    """
    SELECT position, CASE WHEN send_at IS NULL THEN 0 ELSE 1 END AS is_held, state, reason, message_id, cost,
        refund
    FROM {messages} WHERE {here} ORDER BY position
    """,
)

READ_RECIPIENTS = NamedStatement(
    "read the recipients of a request",
    """
    SELECT m.number, m.address_kind, m.text,
        CASE WHEN m.send_at = r.send_at THEN NULL ELSE m.send_at END AS own
    FROM {messages} m
    INNER JOIN {requests} r ON r.batch_id = m.batch_id AND r.round = m.round AND r.request = m.request
    WHERE m.batch_id = :batch_id AND m.round = :round AND m.request = :request
    ORDER BY m.position
    """,
)

READ_SENT_MESSAGES = NamedStatement(
    "look message ids up",
    """
    SELECT m.message_id, m.number, m.send_at, b.key_id
    FROM {messages} m INNER JOIN {batches} b ON b.batch_id = m.batch_id
    WHERE m.message_id IN :message_ids AND b.sms_conn_id = :sms_conn_id
    """,
)

READ_MESSAGE_IDS = NamedStatement(
    "read message ids",
    """
    SELECT message_id FROM {messages} WHERE batch_id = :batch_id AND state IN :states
    ORDER BY round, request, position
    """,
)

READ_STATES = NamedStatement(
    "read states", "SELECT message_id, state, cost FROM {messages} WHERE message_id IN :message_ids"
)

READ_BATCH_IDS = NamedStatement(
    "look for batches", "SELECT DISTINCT batch_id FROM {messages} WHERE message_id IN :message_ids"
)

FIND_CONFLICTS = NamedStatement(
    "look for conflicts",
    """
    SELECT m.number FROM {messages} m INNER JOIN {batches} b ON b.batch_id = m.batch_id
    WHERE m.number IN :numbers AND m.send_at >= :minute AND m.send_at < :next_minute AND (
        (m.state = 'unknown'
            AND NOT (m.batch_id = :batch_id AND m.round = :round AND m.request = :request))
        OR (m.reason = 'not_received' AND b.guarantee = 'at_least_once' AND m.batch_id <> :batch_id))
    """,
)

FIND_OTHER_FORMS = NamedStatement(
    "look for conflicts",
    """
    SELECT 1 AS found FROM {messages} m INNER JOIN {batches} b ON b.batch_id = m.batch_id
    WHERE m.send_at >= :minute AND m.send_at < :next_minute AND m.batch_id <> :batch_id
        AND (m.state = 'unknown' OR m.reason = 'not_received') AND m.number NOT LIKE :comparable
        AND (LENGTH(m.number) BETWEEN :least AND :most OR m.number LIKE :forgotten
            OR b.key_id <> COALESCE(NULLIF(:key_id, ''), b.key_id))
    LIMIT 1
    """,
)
"""Numbers whose stored form cannot be compared with those of a try."""

# The window is of all messages, not only of open ones. Otherwise, if few are open, a planner could read the
# whole table for each window.
READ_END_OF_WINDOW = NamedStatement(
    "look for open messages",
    """
    SELECT MAX(w.message_id) AS last_id FROM (
        SELECT message_id FROM {messages} WHERE message_id > :after ORDER BY message_id LIMIT :limit) w
    """,
)

# No planner makes a join of a subquery for one value. A join could begin with all messages of a connection.
READ_OPEN_MESSAGES = NamedStatement(
    "read open messages",
    """
    SELECT m.message_id, CASE WHEN m.submitted_at < :since THEN 1 ELSE 0 END AS may_be_forgotten
    FROM {messages} m WHERE m.message_id > :after AND m.message_id <= :last AND m.state IN ({open})
        AND COALESCE(m.send_at, m.submitted_at) >= :since AND COALESCE(m.send_at, m.submitted_at) <= :now
        AND (m.state <> 'not_found' OR COALESCE(m.send_at, m.submitted_at) >= :long_ago
            OR m.state_at >= :long_ago)
        AND (SELECT b.sms_conn_id FROM {batches} b WHERE b.batch_id = m.batch_id) = :sms_conn_id
    ORDER BY m.message_id
    """,
)

# A planner could begin a join with the batches, so they are read by their own statement.
_READ_DELIVERIES = """
    SELECT batch_id, round, request, position, message_id, number, address_kind, state, reason, cost, refund,
        currency, submitted_at, send_at, state_at, reference
    FROM {messages}
    """

READ_DELIVERIES = NamedStatement(
    "read messages to load",
    _READ_DELIVERIES + "WHERE batch_id IN :batch_ids AND round = :round AND request IN (:requests)",
)

READ_DELIVERIES_OF_IDS = NamedStatement(
    "read messages to load", _READ_DELIVERIES + "WHERE message_id IN :message_ids"
)

READ_MESSAGES_TO = NamedStatement(
    "look for a number",
    """
    SELECT {message_columns}, b.dag_id, b.run_id, b.task_id, b.map_index, b.sms_conn_id, b.key_id
    FROM {messages} m INNER JOIN {batches} b ON b.batch_id = m.batch_id
    WHERE m.number IN :numbers ORDER BY m.submitted_at, m.batch_id, m.round, m.request, m.position
    """,
)


# Reads of rounds.

READ_ROUNDS = NamedStatement(
    "read the rounds",
    """
    SELECT round, of_round, of_request, positions FROM {rounds} WHERE batch_id = :batch_id
    ORDER BY round, of_round, of_request
    """,
)

# Reads of decisions.

READ_DECISIONS = NamedStatement(
    "read the decisions", "SELECT content FROM {decisions} WHERE batch_id = :batch_id ORDER BY part"
)

# Reads of alerts.

FIND_ALERT_LOCK = NamedStatement(
    "find the lock of the alerts", "SELECT alert_id FROM {alerts} WHERE alert_id = ''"
)

FIND_ALERT = NamedStatement("find an alert", "SELECT sent_in FROM {alerts} WHERE alert_id = :alert_id")

READ_SENT_ALERTS = NamedStatement(
    "read the alerts that were sent",
    """
    SELECT raised_at FROM {alerts} WHERE key_digest = :key_digest AND sent_in = alert_id
        AND raised_at > :since ORDER BY raised_at
    """,
)

READ_HELD_ALERTS = NamedStatement(
    "count the alerts that were held back",
    """
    SELECT COUNT(*) AS alerts, MIN(raised_at) AS since FROM {alerts}
    WHERE sent_in = :alert_id AND alert_id <> :alert_id
    """,
)


# Reads of spending.

FIND_SPENDING_LOCK = NamedStatement(
    "find the lock of the spending", "SELECT key_digest FROM {spending} WHERE key_digest = ''"
)

READ_RESERVED = NamedStatement(
    "read what was reserved",
    """
    SELECT key_digest, amount FROM {spending} WHERE {spending_scope} AND key_digest <> ''
        AND reserved_at >= COALESCE(:begin, reserved_at) AND reserved_at < COALESCE(:end, :never)
        AND settled_at IS NULL
    """,
)

READ_COSTS = NamedStatement(
    "read what was spent",
    """
    SELECT key_digest, SUM(cost - refunded) AS net_cost FROM {batches} WHERE {spending_scope}
        AND opened_at >= COALESCE(:begin, opened_at) AND opened_at < COALESCE(:end, :never)
    GROUP BY key_digest
    """,
)


# Reads of reservations.

FIND_LOCK = NamedStatement(
    "look for the lock of the reservations",
    "SELECT 1 AS found FROM {reservations} WHERE key_digest = '' AND number = '' AND place = 0",
)

READ_RESERVATIONS = NamedStatement(
    "read the reservations of a batch",
    """
    SELECT number, MAX(place) + 1 AS next_place FROM {reservations} WHERE key_digest = :key_digest
    GROUP BY number
    """,
)

READ_RESERVATIONS_OF = NamedStatement(
    "look for a number",
    """
    SELECT {reservation_columns} FROM {reservations} WHERE number IN :numbers
    ORDER BY reserved_at, key_digest, place
    """,
)

READ_TEXTS_OF_KEY = NamedStatement(
    "read the texts of a batch",
    """
    SELECT m.number, SUM(CASE WHEN m.reason IN ({resendable}) THEN 0 ELSE 1 END) AS settled,
        COUNT(*) AS texts
    FROM {batches} b INNER JOIN {messages} m ON m.batch_id = b.batch_id
    WHERE b.key_digest = :key_digest AND m.round > 0 GROUP BY m.number
    """,
)
"""How many texts a key has to each number, with and without those that a later round sends again."""

# With a join, a planner could read all messages of each batch for each list of numbers.
READ_TEXTS_AROUND = NamedStatement(
    "count the texts of recipients",
    """
    SELECT m.number, COALESCE(m.send_at, m.submitted_at) AS due_at FROM {messages} m
    WHERE m.number IN :numbers AND m.state NOT IN ('declined', 'cancelled')
        AND COALESCE(m.send_at, m.submitted_at) > :since AND COALESCE(m.send_at, m.submitted_at) < :until
    """,
)

READ_TEXTS_OF_DAG_AROUND = NamedStatement(
    "count the texts of recipients",
    """
    SELECT m.number, COALESCE(m.send_at, m.submitted_at) AS due_at FROM {messages} m
    WHERE m.number IN :numbers AND m.state NOT IN ('declined', 'cancelled')
        AND COALESCE(m.send_at, m.submitted_at) > :since AND COALESCE(m.send_at, m.submitted_at) < :until
        AND (SELECT b.dag_id FROM {batches} b WHERE b.batch_id = m.batch_id) = :dag_id
    """,
)

READ_RESERVED_AROUND = NamedStatement(
    "count the reservations of recipients",
    """
    SELECT r.number, r.due_at FROM {reservations} r
    WHERE r.number IN :numbers AND r.key_digest <> :key_digest AND r.expires_at > :now
        AND r.due_at > :since AND r.due_at < :until AND r.dag_id = COALESCE(NULLIF(:dag_id, ''), r.dag_id)
        AND r.place >= (
            SELECT COUNT(*) FROM {messages} m
            WHERE m.number = r.number AND COALESCE(m.reason, '') NOT IN ({resendable})
                AND (SELECT b.key_digest FROM {batches} b WHERE b.batch_id = m.batch_id) = r.key_digest)
    """,
)
"""The reservations of other keys for texts that have no row yet, or that a later round sends again."""


_RUN = 32
"""The positions whose message ids a statement tries one after the other."""


def with_message_ids(
    statement: NamedStatement, message_ids: Mapping[int, str | None]
) -> tuple[NamedStatement, dict[str, str | None]]:
    """Return a statement that gives each position its message id, and the parameters with these ids.

    The statement has parameters for whole runs of positions, so that many requests share one text.
    """
    runs = tuple(sorted({position // _RUN for position in message_ids}))
    parameters = {f"message_id_{place}": message_ids.get(place) for run in runs for place in _positions(run)}
    return _by_position(statement, runs), parameters


@lru_cache(maxsize=64)
def _by_position(statement: NamedStatement, runs: tuple[int, ...]) -> NamedStatement:
    cases = [
        f"WHEN position <= {_positions(run)[-1]} THEN CASE position "
        f"{' '.join(f'WHEN {place} THEN :message_id_{place}' for place in _positions(run))} END"
        for run in runs
    ]
    return statement.with_word("message_id", f"CASE {' '.join(cases)} END")


def _positions(run: int) -> range:
    return range(run * _RUN, (run + 1) * _RUN)


def with_times(statement: NamedStatement, times: Mapping[str, Any]) -> tuple[NamedStatement, dict[str, Any]]:
    """Return a statement that gives each message id its time, and the parameters with both."""
    parameters = {
        name: value
        for index, (message_id, time) in enumerate(times.items())
        for name, value in ((f"message_id_{index}", message_id), (f"state_at_{index}", time))
    }
    return _by_message_id(statement, len(times)), parameters


@lru_cache(maxsize=16)
def _by_message_id(statement: NamedStatement, count: int) -> NamedStatement:
    cases = " ".join(f"WHEN :message_id_{index} THEN :state_at_{index}" for index in range(count))
    return statement.with_word("state_at", f"CASE message_id {cases} END")
