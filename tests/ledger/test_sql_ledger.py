from __future__ import annotations

import json
import traceback
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import (
    ClaimLost,
    ConfigurationError,
    IdempotencyConflict,
    InvalidMessage,
    LedgerUnavailable,
)
from airflow_provider_winsms.ledger.base import BatchDigest, RecipientDigest, RequestKey
from airflow_provider_winsms.ledger.database import id_text
from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from airflow_provider_winsms.messages import Message, RejectReason, ScheduledMessage
from tests.ledger.batches import (
    FIRST,
    HASHES,
    LATER,
    NOON,
    TEXT,
    accepted,
    batch,
    counts,
    declined,
    ledger,
    messages,
    number,
    record,
    sent,
)
from tests.support.racers import raced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Database


@pytest.fixture
def tables(database: Database) -> Iterator[SqlLedger]:
    """A ledger with a batch open."""
    with ledger(database) as found:
        found.open(batch())
        yield found


def states(database: Database) -> list[Any]:
    return database.execute("SELECT position, state, reason, message_id FROM {}sms_messages ORDER BY 1")


# Batches


def test_nothing_is_latest_before_a_batch_was_opened(database: Database) -> None:
    with ledger(database) as tables:
        assert tables.latest() is None


def test_a_batch_reads_back_as_it_was_written_in_another_process_too(database: Database) -> None:
    with ledger(database) as tables:
        wanted = batch()
        assert tables.open(wanted) is wanted
    with ledger(database) as later:
        assert later.latest() == wanted


@pytest.mark.usefixtures("tables")
def test_the_batch_that_was_written_first_is_returned(database: Database) -> None:
    with ledger(database) as other:
        wanted = batch(recipients=7)
        found = other.open(wanted)
    assert found is not wanted
    assert found == batch()


@pytest.mark.usefixtures("tables")
def test_a_key_differs_in_upper_and_lower_case(database: Database) -> None:
    with ledger(database, key=batch().key.upper()) as other:
        assert other.latest() is None


def test_a_later_generation_supersedes_the_claims_of_an_earlier(
    tables: SqlLedger, database: Database
) -> None:
    with ledger(database) as other:
        other.open(batch(generation=2))
        other.claim(FIRST, record(), messages())
        with pytest.raises(ClaimLost):
            tables.claim(FIRST, record(), messages())
        assert other.latest() == batch(generation=2)
    assert tables.find(FIRST) is None


# A batch that a later try took over, with another list


def test_a_try_whose_batch_was_taken_over_claims_and_decides_nothing(
    tables: SqlLedger, database: Database
) -> None:
    claim, in_doubt, second = record(), {0: declined(RejectReason.NOT_RECEIVED)}, RequestKey(1, 2)
    tables.claim(FIRST, claim, messages())
    with ledger(database) as later:
        later.latest()
        later.take_over()
        for refused in (
            lambda: tables.claim(second, record(), messages()),
            lambda: tables.renew(FIRST, claim, LATER),
            lambda: tables.mark_not_received(FIRST, claim, in_doubt),
            lambda: tables.open_round(2, {FIRST: [0]}),
            lambda: tables.find(FIRST),
            lambda: tables.revise(batch().digest),
        ):
            with pytest.raises(ClaimLost):
                refused()
        later.claim(second, record(owner="host:2:b"), messages())
        assert later.find(second) == record(owner="host:2:b")


def test_a_try_whose_batch_was_taken_over_still_records_what_it_learns(
    tables: SqlLedger, database: Database
) -> None:
    claim = record()
    tables.claim(FIRST, claim, messages())
    with ledger(database) as later:
        later.latest()
        later.take_over()
        tables.record(FIRST, claim, {0: accepted(7)})
        found = later.find(FIRST)
        assert found is not None
        assert found.ids == {0: 7}


def test_a_batch_that_was_taken_over_has_what_it_sends_from_then_on(
    tables: SqlLedger, database: Database
) -> None:
    revised = BatchDigest("u" * 64, "m" * 64, HASHES.key_id, 5, 2, 1)
    tables.take_over()
    tables.revise(revised)
    with ledger(database) as later:
        found = later.latest()
    assert found == replace(batch(), digest=revised, revision=1)


def test_a_released_claim_with_later_requests_behind_it_keeps_its_key(
    tables: SqlLedger, database: Database
) -> None:
    second = RequestKey(1, 2)
    tables.claim(FIRST, record(), messages())
    tables.claim(second, record(), messages())
    tables.release_claim(FIRST, record())
    with ledger(database) as later:
        later.latest()
        later.take_over()
        tables.release_claim(second, record())
        for key in (FIRST, second):
            found = later.find(key)
            assert found is not None
            assert found.resendable == dict.fromkeys(range(3), RejectReason.NOT_RECEIVED)
    assert counts(database) == [0, 6, 0, 0, 0, 0]


def test_a_batch_with_a_gap_is_not_taken_over(tables: SqlLedger, database: Database) -> None:
    tables.claim(FIRST, record(), messages())
    tables.release_claim(FIRST, record())
    tables.claim(RequestKey(1, 2), record(), messages())
    with ledger(database) as later:
        later.latest()
        with pytest.raises(IdempotencyConflict, match="have a gap"):
            later.take_over()
    assert tables.find(RequestKey(1, 2)) == record()


@pytest.mark.parametrize("options", [{}, {"privacy": "keyed_hash", "text": "keep"}], ids=["plain", "hashed"])
def test_a_claim_tells_its_recipients_and_which_of_their_times_are_their_own(
    database: Database, options: dict[str, Any]
) -> None:
    given = [*messages(2), *messages(1, "Another text", LATER.add(hours=1))]
    held = [replace(message, send_at=message.send_at or LATER) for message in given]
    with ledger(database, **options) as tables:
        tables.open(batch())
        tables.claim(FIRST, record(3, send_at=LATER), held)
        assert tables.recipient_digests(FIRST) == [
            RecipientDigest(
                tables.short_hash(recipient.number), tables.short_hash(message.text), message.send_at
            )
            for message in given
            for recipient in message.recipients
        ]


# Claims


def test_a_claim_is_found_as_it_was_made(tables: SqlLedger) -> None:
    claim = record(send_at=LATER)
    tables.claim(FIRST, claim, messages())
    assert tables.find(FIRST) == claim
    assert tables.find(RequestKey(1, 2)) is None


def test_a_claimed_request_cannot_be_claimed_again(tables: SqlLedger, database: Database) -> None:
    tables.claim(FIRST, record(), messages())
    with ledger(database) as other:
        other.latest()
        with pytest.raises(ClaimLost):
            other.claim(FIRST, record(owner="host:2:b"), messages())
    assert counts(database) == [0, 0, 3, 0, 0, 0]


def test_a_claim_may_be_written_twice_by_its_process(tables: SqlLedger, database: Database) -> None:
    tables.claim(FIRST, record(), messages())
    tables.claim(FIRST, record(), messages())
    assert counts(database) == [0, 0, 3, 0, 0, 0]


def test_positions_count_over_all_messages_of_a_request(tables: SqlLedger, database: Database) -> None:
    mixed = [*messages(1, "One"), *messages(2, "Two", LATER)]
    tables.claim(FIRST, record(), mixed)
    rows = database.execute("SELECT position, number, text FROM {}sms_messages ORDER BY 1")
    assert [tuple(row) for row in rows] == [
        (0, number(0), HASHES.of("One")),
        (1, number(0), HASHES.of("Two")),
        (2, number(1), HASHES.of("Two")),
    ]
    tables.record(FIRST, record(), {position: accepted(position + 1) for position in range(3)})
    assert [row[1] for row in states(database)] == ["accepted", "scheduled", "scheduled"]


def test_a_released_claim_leaves_nothing_and_can_be_made_again(tables: SqlLedger, database: Database) -> None:
    tables.claim(FIRST, record(), messages())
    tables.release_claim(FIRST, record())
    tables.release_claim(FIRST, record())
    assert tables.find(FIRST) is None
    assert states(database) == []
    assert counts(database) == [0, 0, 0, 0, 0, 0]
    tables.claim(FIRST, record(owner="host:2:b"), messages())


def test_what_was_answered_is_not_released(tables: SqlLedger) -> None:
    tables.release_claim(FIRST, sent(tables))
    assert tables.find(FIRST) is not None


def test_the_claim_of_another_process_is_not_released(tables: SqlLedger) -> None:
    tables.claim(FIRST, record(), messages())
    tables.release_claim(FIRST, record(owner="host:2:b"))
    assert tables.find(FIRST) is not None


def test_a_claim_is_renewed_unless_it_was_marked_as_not_received(tables: SqlLedger) -> None:
    tables.claim(FIRST, record(), messages())
    tables.renew(FIRST, record(), LATER)
    found = tables.find(FIRST)
    assert found is not None
    assert found.claimed_at == LATER
    tables.record(FIRST, record(), {0: declined(RejectReason.NOT_RECEIVED)})
    with pytest.raises(ClaimLost):
        tables.renew(FIRST, record(at=LATER), NOON)


_CLAIMING = """
import sys, time
from tests.support.databases import CONN_ID
from airflow.providers.common.compat.sdk import BaseHook
from airflow_provider_winsms.exceptions import ClaimLost
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from tests.ledger.batches import HASHES, KEY, batch, messages, record
with SqlLedger(BaseHook.get_connection(CONN_ID).get_hook(), KEY, HASHES, SqlOptions()) as ledger:
    ledger.open(batch())
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(1, 11):
        try:
            ledger.claim(RequestKey(1, number), record(20, owner=f"host:{sys.argv[1]}:a"), messages(20))
            print("won", number, flush=True)
        except ClaimLost:
            print("lost", number, flush=True)
"""


@pytest.mark.database
def test_of_two_processes_exactly_one_claims_each_request(database: Database) -> None:
    outcomes = [line for out in raced(_CLAIMING, 2) for line in out if line.startswith(("won", "lost"))]
    expected = [f"{word} {number}" for word in ("won", "lost") for number in range(1, 11)]
    assert sorted(outcomes) == sorted(expected)
    assert counts(database) == [0, 0, 200, 0, 0, 0]


# Outcomes


def test_receipts_are_found_in_another_process(tables: SqlLedger, database: Database) -> None:
    claim = record()
    tables.claim(FIRST, claim, messages())
    receipts = {0: accepted(100), 2: declined(RejectReason.OPTED_OUT)}
    claim.apply(receipts)
    tables.record(FIRST, claim, receipts)
    with ledger(database) as later:
        later.latest()
        assert later.find(FIRST) == claim
        assert claim.in_doubt == [1]
        rest = {1: accepted(101, "2.5")}
        claim.apply(rest)
        later.record(FIRST, claim, rest)
        later.record(FIRST, claim, rest)
    assert tables.find(FIRST) == claim
    assert counts(database) == [2, 1, 0, 0, Decimal("4.0"), 0]
    assert database.column("number", "sms_messages") == [number(0), number(1), number(2)]


def test_what_a_kill_cancelled_is_declined_and_refunded(tables: SqlLedger, database: Database) -> None:
    claim = sent(tables)
    claim.cancelling_at = LATER
    tables.mark_cancelling(FIRST, claim)
    assert tables.find(FIRST) == claim
    receipts = {0: declined(RejectReason.CANCELLED, "1.5")}
    claim.cancelling_at = None
    claim.apply(receipts)
    tables.record(FIRST, claim, receipts)
    assert tables.find(FIRST) == claim
    assert list(claim.resendable) == [0]
    assert [tuple(row) for row in states(database)] == [
        (0, "cancelled", "cancelled", "100"),
        (1, "accepted", None, "101"),
        (2, "accepted", None, "102"),
    ]
    assert counts(database) == [2, 0, 0, 1, Decimal("4.5"), Decimal("1.5")]


def test_a_tenth_adds_up_exactly(tables: SqlLedger, database: Database) -> None:
    for request in range(1, 31):
        key, claim = RequestKey(1, request), record(1)
        tables.claim(key, claim, messages(1))
        tables.record(key, claim, {0: accepted(request, "0.1")})
    assert counts(database) == [30, 0, 0, 0, Decimal("3.0"), 0]


def test_an_outcome_without_a_claim_is_an_error(tables: SqlLedger) -> None:
    with pytest.raises(LedgerUnavailable):
        tables.record(FIRST, record(), {0: accepted(1)})


def listed(message_id: int, position: int) -> ScheduledMessage:
    """Return a row of the gateway's list."""
    return ScheduledMessage(message_id, number(position), NOON, LATER, Decimal(1))


@pytest.mark.parametrize("privacy", ["none", "keyed_hash"])
@pytest.mark.parametrize(
    ("fields", "is_known"),
    [
        ({}, True),
        ({"number": number(2)}, False),
        ({"send_at": LATER.add(minutes=1)}, False),
        ({"send_at": LATER.in_timezone("Europe/Berlin")}, True),
        ({"number": ""}, True),
        ({"number": f"+{number(1)}"}, True),
        ({"send_at": None}, True),
        ({"message_id": 103}, False),
    ],
    ids=str,
)
def test_a_row_is_known_by_id_number_and_minute_as_far_as_they_can_be_read(
    fields: dict[str, Any], is_known: bool, privacy: Any, database: Database
) -> None:
    with ledger(database, privacy=privacy) as tables:
        tables.open(batch())
        tables.claim(FIRST, record(send_at=LATER), messages())
        tables.record(FIRST, record(send_at=LATER), {p: accepted(100 + p) for p in range(3)})
    with ledger(database, key="another", privacy=privacy) as other:
        other.open(batch(key="another"))
        row = replace(listed(101, 1), **fields)
        assert other.known_ids([row, listed(99, 0)]) == ({101} if is_known else set())


def test_a_row_is_not_known_by_an_id_of_another_connection(tables: SqlLedger, database: Database) -> None:
    tables.claim(FIRST, record(send_at=LATER), messages())
    tables.record(FIRST, record(send_at=LATER), {0: accepted(100)})
    assert tables.known_ids([listed(100, 0)]) == {100}
    with ledger(database, key="real") as other:
        other.open(replace(batch(key="real"), sms_conn_id="real"))
        assert other.known_ids([listed(100, 0)]) == set()


def test_a_text_that_was_sent_at_once_has_no_row(tables: SqlLedger) -> None:
    sent(tables)
    assert tables.known_ids([listed(100, 0)]) == set()


@pytest.mark.parametrize("privacy", ["none", "keyed_hash"])
def test_conflicts_are_with_other_requests_in_doubt_for_the_same_minute(
    database: Database, privacy: Any
) -> None:
    with ledger(database, privacy=privacy) as tables:
        tables.open(batch())
        tables.claim(FIRST, record(send_at=LATER), messages())
        wanted = [number(1), number(2), number(8)]
        assert tables.conflicts(FIRST, LATER, wanted) == set()
        assert tables.conflicts(RequestKey(1, 2), LATER, wanted) == {number(1), number(2)}
        assert tables.conflicts(RequestKey(1, 2), LATER.add(minutes=1), wanted) == set()
        tables.record(FIRST, record(send_at=LATER), {1: accepted(5)})
        assert tables.conflicts(RequestKey(1, 2), LATER, wanted) == {number(2)}


def test_with_keyed_hashes_no_number_and_no_text_is_kept(database: Database) -> None:
    with ledger(database, privacy="keyed_hash") as tables:
        tables.open(batch())
        sent(tables)
    rows = repr(database.execute("SELECT * FROM {}sms_messages"))
    assert number(0) not in rows
    assert TEXT not in rows
    assert HASHES.of(number(0)) in rows


def test_a_text_is_kept_if_that_is_asked_for(database: Database) -> None:
    odd = "Tab\t, line\n, back\\slash, quote ', emoji \U0001f600, \\N"
    with ledger(database, text="keep") as tables:
        tables.open(batch())
        tables.claim(FIRST, record(1), messages(1, odd))
        tables.record(FIRST, record(1), {0: accepted(1)})
    assert database.column("text", "sms_messages") == [odd]


# What goes wrong


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": ""},
        {"prefix": "sms-"},
        {"prefix": 'x"; DROP TABLE y; --'},
        {"prefix": "x" * 31},
        {"prefix": None},
        {"privacy": "some"},
        {"text": "none"},
    ],
)
def test_options_that_there_are_not_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        SqlOptions(**options)


def test_another_prefix_makes_other_tables(database: Database) -> None:
    with ledger(database, prefix="Marketing_") as tables:
        tables.open(batch())
        sent(tables)
    quote = "`" if database.kind == "mariadb" else '"'
    assert database.execute(f"SELECT COUNT(*) FROM {{}}{quote}Marketing_messages{quote}")[0][0] == 3  # noqa: S608 - a test's own name


def test_a_table_that_lacks_columns_is_refused_with_their_names(database: Database) -> None:
    database.execute("CREATE TABLE {}sms_requests (batch_id INTEGER)")
    with pytest.raises(ConfigurationError, match=r"sms_requests lacks .*: round, request, recipients"):
        ledger(database)


def assert_says_nothing(error: BaseException) -> None:
    told = "".join(traceback.format_exception(error, chain=True)) + repr(error.__dict__)
    chain: BaseException | None = error
    while chain is not None:
        told += str(chain)
        chain = chain.__cause__ or chain.__context__
    assert number(0) not in told
    assert TEXT not in told
    assert error.__context__ is None


def test_a_dropped_table_is_no_leak(tables: SqlLedger, database: Database) -> None:
    tables.claim(FIRST, record(), messages())
    if database.kind == "postgres":
        database.execute("DROP TABLE {}sms_messages CASCADE")
    else:
        database.execute("DROP TABLE {}sms_messages")
    with pytest.raises(LedgerUnavailable) as caught:
        tables.claim(RequestKey(1, 2), record(), messages())
    assert_says_nothing(caught.value)
    with pytest.raises(LedgerUnavailable) as caught:
        tables.record(FIRST, record(), {0: accepted(1)})
    assert_says_nothing(caught.value)


@pytest.mark.parametrize("database", ["postgres", "mariadb"], indirect=True)
def test_what_does_not_fit_is_no_leak_and_leaves_nothing(tables: SqlLedger, database: Database) -> None:
    tables.claim(FIRST, record(1), messages(1))
    with pytest.raises(LedgerUnavailable) as caught:
        tables.record(FIRST, record(1), {0: accepted(1, "1e12")})
    assert_says_nothing(caught.value)
    assert counts(database) == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize("message_id", ["", "x" * 65, "two\nlines", "\u00fcnique"])
def test_an_id_that_the_tables_cannot_hold_is_refused(message_id: str) -> None:
    with pytest.raises(InvalidMessage, match="printable ASCII"):
        id_text(message_id)


def test_a_text_that_is_too_long_is_no_leak(mariadb: Database) -> None:
    with ledger(mariadb, text="keep") as tables:
        tables.open(batch())
        mariadb.execute("ALTER TABLE sms_messages MODIFY text VARCHAR(20) NOT NULL")
        with pytest.raises(LedgerUnavailable, match="insert into the messages") as caught:
            tables.claim(FIRST, record(), messages(text=TEXT * 10))
        assert_says_nothing(caught.value)
        assert tables.find(FIRST) is None


def test_a_user_who_may_only_read_is_told_what_is_needed(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"reader_{postgres.schema}"
    with ledger(postgres) as tables:
        tables.open(batch())
    postgres.execute(f"CREATE ROLE {role}")
    try:
        postgres.execute(f"GRANT USAGE ON SCHEMA {postgres.schema} TO {role}")
        postgres.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {postgres.schema} TO {role}")
        extra = json.dumps({"options": f"-c search_path={postgres.schema} -c role={role}"})
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({**postgres.connection, "extra": extra}))
        with ledger(postgres) as reader:
            assert reader.latest() == batch()
            with pytest.raises(LedgerUnavailable, match="needs SELECT, INSERT, UPDATE and DELETE") as caught:
                reader.claim(FIRST, record(), messages())
            assert_says_nothing(caught.value)
    finally:
        postgres.execute(f"DROP OWNED BY {role}")
        postgres.execute(f"DROP ROLE {role}")


def test_a_database_that_is_away_is_an_error_that_passes(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", '{"conn_type": "postgres", "host": "127.0.0.1", "port": 1}')
    with pytest.raises(LedgerUnavailable, match="could not be opened"):
        ledger(postgres)


def test_a_lost_connection_to_postgresql_is_opened_again(postgres: Database) -> None:
    with ledger(postgres) as tables:
        tables.open(batch())
        tables.claim(FIRST, record(), messages())
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        tables.record(FIRST, record(), {0: accepted(1)})
        assert counts(postgres)[0] == 1


def test_a_lost_connection_to_mariadb_is_opened_again(mariadb: Database) -> None:
    with ledger(mariadb) as tables:
        tables.open(batch())
        for (process,) in mariadb.execute(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        ):
            mariadb.execute(f"KILL {process}")
        tables.claim(FIRST, record(), messages())
        assert counts(mariadb)[2] == 3


def test_rows_come_into_postgresql_through_copy(postgres: Database) -> None:
    with ledger(postgres) as tables:
        tables.open(batch())
        postgres.execute("CREATE TABLE {}seen (query TEXT)")
        postgres.execute(
            "CREATE FUNCTION {}see() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN "  # noqa: S608 - as above
            f"INSERT INTO {postgres.schema}.seen VALUES (current_query()); RETURN NULL; END $$"
        )
        postgres.execute(
            "CREATE TRIGGER see AFTER INSERT ON {}sms_messages "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {postgres.schema}.see()"
        )
        tables.claim(FIRST, record(1000), messages(1000))
    (seen,) = postgres.column("query", "seen")
    assert seen.startswith("COPY ")


def test_psycopg_2_copies_too(postgres: Database) -> None:
    psycopg2 = pytest.importorskip("psycopg2")

    hook = postgres.hook()
    dsn = {
        "dbname": postgres.connection["schema"],
        "host": postgres.connection["host"],
        "user": postgres.connection["login"],
        "password": postgres.connection["password"],
        "port": postgres.connection["port"],
        "options": f"-c search_path={postgres.schema}",
    }

    class OlderHook(type(hook)):  # type: ignore[misc]
        def get_conn(self) -> Any:
            return psycopg2.connect(**{name: value for name, value in dsn.items() if value is not None})

        def set_autocommit(self, conn: Any, autocommit: Any) -> None:
            conn.autocommit = autocommit

    odd = "Tab\t, line\n, back\\slash, \\N"
    with SqlLedger(OlderHook(hook.get_conn_id()), batch().key, HASHES, SqlOptions(text="keep")) as tables:
        tables.open(batch())
        tables.claim(FIRST, record(), messages(3, odd, LATER))
        tables.record(FIRST, record(), {0: accepted(1)})
    assert set(postgres.column("text", "sms_messages")) == {odd}
    assert counts(postgres) == [1, 0, 2, 0, Decimal("1.5"), 0]


def test_a_ledger_is_not_kept_where_keys_are_not_known_to_hold(sqlite: Database) -> None:
    hook = sqlite.hook()

    class OtherHook(type(hook)):  # type: ignore[misc]
        conn_type = "trino"

    with pytest.raises(ConfigurationError, match="'trino'"):
        SqlLedger(OtherHook(hook.get_conn_id()), "key", HASHES, SqlOptions())


def test_a_message_to_nobody_takes_no_position(tables: SqlLedger) -> None:
    tables.claim(FIRST, record(3), [Message("Nobody", ()), *messages()])
    assert tables.find(FIRST) == record(3)
