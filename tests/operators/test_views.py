"""The operator that makes views: through Airflow's task runner, into real databases."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.common.sql.operators.sql import SQLCheckOperator

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, LoadFailed
from airflow_provider_winsms.operators.sms import SmsRefreshStatusOperator, SmsSendOperator
from airflow_provider_winsms.operators.views import SmsViewsOperator
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from airflow_provider_winsms.warehouse.view_queries import PARTS, VIEWS
from airflow_provider_winsms.warehouse.views import SourceTables, create_views
from scripts.demo_history import COLUMNS
from tests.ledger.batches import ledger
from tests.support.clock import clock_of
from tests.support.databases import CONN_ID
from tests.support.lists import listing, row
from tests.support.variants import variant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.runtime import Clock
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "questions.md").read_text()
NAMES = [f"sms_{view.name}" for view in VIEWS]
ANN = "27825550101"
ALL_TABLES = {"deliveries": "deliveries", "incoming": "incoming", "opt_outs": "opt_outs"}


@pytest.fixture(
    params=[
        "sqlite",
        "postgres_by_path",
        pytest.param("mariadb", marks=pytest.mark.database),
        pytest.param("duckdb", marks=pytest.mark.database),
    ]
)
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database, of each kind, behind the connection ``warehouse``."""
    found: Database = request.getfixturevalue(request.param)
    return found


def at(database: Database, runner: TaskRunner) -> TaskRunner:
    return replace(runner, connections={**runner.connections, CONN_ID: database.connection})


def make_tables(database: Database, *, without: str = "", lacking: str = "") -> None:
    for table, columns in COLUMNS.items():
        if table == without:
            continue
        kinds = ", ".join(
            f"{name} {database.types[kind]}" for name, kind in columns.items() if name != lacking
        )
        database.execute(f"CREATE TABLE {{}}{table} ({kinds})")


def views(**given: Any) -> SmsViewsOperator:
    return SmsViewsOperator(**{"task_id": "views", "sql_conn_id": CONN_ID, **ALL_TABLES, **given})


def answers(database: Database) -> dict[str, int]:
    """Return how many rows each view has."""
    return {name: database.count(name) for name in NAMES}


EMPTY = {**dict.fromkeys(NAMES, 0), "sms_opt_out_check": 1}


def write_text(database: Database, submitted_at: datetime) -> None:
    """Write one accepted text into the table ``deliveries``."""
    cells = {"dag_id": "offers", "state": "delivered", "batch_id": "a", "run_id": "r", "task_id": "t"}
    cells |= {"number": "27825550101", "currency": "credits"}
    names = ", ".join([*cells, "submitted_at", "state_at", "cost", "refund"])
    moment = submitted_at.isoformat() if database.kind in {"sqlite", "duckdb"} else f"{submitted_at:%F %T}"
    texts = ", ".join(f"'{cell}'" for cell in [*cells.values(), moment, moment])
    database.execute(f"INSERT INTO {{}}deliveries ({names}) VALUES ({texts}, 1, 0)")  # noqa: S608 - ours


@pytest.mark.parametrize(
    ("time_zone", "day"),
    [("UTC", "2026-03-28"), ("Africa/Johannesburg", "2026-03-29"), ("America/New_York", "2026-03-28")],
)
def test_a_day_is_one_of_the_time_zone_and_a_second_run_changes_it(
    database: Database, runner: TaskRunner, time_zone: str, day: str
) -> None:
    make_tables(database)
    write_text(database, datetime(2026, 3, 28, 22, 30, tzinfo=UTC))
    runner = at(database, runner)
    for first in ("Europe/Warsaw", time_zone):
        assert runner.run(views(time_zone=first)).error is None
    for name in ("delivery_by_day", "cost_by_day", "delivery_time_by_day", "declined_by_day"):
        assert [str(found) for found in database.column("day", f"sms_{name}")] == [day]


@pytest.mark.parametrize("time_zone", ["Mars/Olympus", "", None, 2])
def test_a_wrong_time_zone_is_refused_where_the_dag_is_read(time_zone: Any) -> None:
    with pytest.raises(InvalidMessage, match="time_zone"):
        views(time_zone=time_zone)


def test_the_views_are_made_and_named(database: Database, runner: TaskRunner) -> None:
    make_tables(database)
    runner = at(database, runner)
    assert runner.run(views()).error is None
    assert runner.result == {"schema": None, "views": NAMES}
    assert answers(database) == EMPTY


@pytest.mark.parametrize("names", [[*PARTS][start : start + 3] for start in range(0, len(PARTS), 3)])
def test_tables_may_have_the_names_of_the_parts_of_a_query(
    database: Database, runner: TaskRunner, names: list[str]
) -> None:
    make_tables(database)
    given = dict(zip(ALL_TABLES, names, strict=True))
    for table, name in {**given, "opt_outs_history": f"{given['opt_outs']}_history"}.items():
        database.execute(f"ALTER TABLE {{}}{table} RENAME TO {name}")
    assert at(database, runner).run(views(**given)).error is None
    assert answers(database) == EMPTY


def test_to_make_them_again_changes_nothing(database: Database, runner: TaskRunner) -> None:
    make_tables(database)
    runner = at(database, runner)
    for _ in range(3):
        assert runner.run(views()).error is None
    assert answers(database) == EMPTY


def test_they_are_made_again_when_the_tables_have_more_columns(
    database: Database, runner: TaskRunner
) -> None:
    make_tables(database)
    runner = at(database, runner)
    runner.run(views())
    for table in COLUMNS:
        database.execute(f"ALTER TABLE {{}}{table} ADD COLUMN raw TEXT")
    assert answers(database) == EMPTY
    assert runner.run(views()).error is None
    assert answers(database) == EMPTY


def test_views_of_an_older_version_are_replaced(database: Database, runner: TaskRunner) -> None:
    make_tables(database)
    database.execute("CREATE VIEW {}sms_cost_by_day AS SELECT 1 AS renamed, 2 AS gone")
    assert at(database, runner).run(views()).error is None
    assert answers(database) == EMPTY


def test_a_view_that_others_are_built_on_is_kept_and_named(
    postgres_by_path: Database, runner: TaskRunner
) -> None:
    make_tables(postgres_by_path)
    postgres_by_path.execute("CREATE VIEW {}sms_cost_by_day AS SELECT 1 AS renamed")
    ours = postgres_by_path.named("sms_cost_by_day")
    postgres_by_path.execute(f"CREATE VIEW {{}}theirs AS SELECT * FROM {ours}")  # noqa: S608 - ours
    error = at(postgres_by_path, runner).run(views()).error
    assert isinstance(error, LoadFailed)
    assert "Other views are built on it" in str(error)
    assert postgres_by_path.execute("SELECT renamed FROM {}theirs") == [(1,)]


def test_a_table_that_is_missing_is_named_with_what_to_do(database: Database, runner: TaskRunner) -> None:
    make_tables(database, without="opt_outs_history")
    error = at(database, runner).run(views()).error
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, AirflowFailException)
    assert re.match(r"There is no table opt_outs_history \(opt_outs\).*SmsToSqlOperator", str(error))


def test_a_column_that_is_missing_is_named_with_what_to_do(database: Database, runner: TaskRunner) -> None:
    make_tables(database, lacking="number_key_id")
    error = at(database, runner).run(views()).error
    assert isinstance(error, ConfigurationError)
    assert re.match(r"The table deliveries lacks number_key_id\..*dataset='deliveries'", str(error))


def test_without_the_opt_outs_their_views_are_left_out(database: Database, runner: TaskRunner) -> None:
    make_tables(database, without="opt_outs")
    runner = at(database, runner)
    assert runner.run(views(opt_outs=None)).error is None
    assert runner.result["views"] == NAMES[:5]


OF_LEDGER = {"deliveries": None, "incoming": None, "opt_outs": None, "ledger_prefix": "sms_"}
LEDGERS = [
    "sqlite",
    pytest.param("postgres_by_path", id="postgres"),
    pytest.param("mariadb", marks=pytest.mark.database),
]


@pytest.fixture
def of_sends(request: pytest.FixtureRequest) -> Database:
    """A database with an empty ledger, behind the connection ``warehouse``."""
    found: Database = request.getfixturevalue(request.param)
    ledger(found).close()
    return found


each_ledger = pytest.mark.parametrize("of_sends", LEDGERS, indirect=True)


@each_ledger
def test_over_a_ledger_the_views_on_its_texts_are_made(of_sends: Database, runner: TaskRunner) -> None:
    runner = at(of_sends, runner)
    for _ in range(2):
        assert runner.run(views(**OF_LEDGER)).error is None
        assert runner.result == {"schema": None, "views": NAMES[:4]}
        ledger(of_sends).close()
    assert {name: of_sends.count(name) for name in NAMES[:4]} == dict.fromkeys(NAMES[:4], 0)


@each_ledger
def test_the_source_of_the_texts_may_change(of_sends: Database, runner: TaskRunner) -> None:
    make_tables(of_sends)
    runner = at(of_sends, runner)
    for source in ({}, {"deliveries": None, "ledger_prefix": "sms_"}, {}):
        assert runner.run(views(**source)).error is None
        assert answers(of_sends) == EMPTY


def test_a_ledger_may_be_named_with_its_schema(postgres_by_path: Database, runner: TaskRunner) -> None:
    ledger(postgres_by_path).close()
    runner = at(postgres_by_path, runner)
    assert runner.run(views(**OF_LEDGER, schema=postgres_by_path.schema)).error is None
    assert runner.result == {"schema": postgres_by_path.schema, "views": NAMES[:4]}


def test_a_ledger_that_is_missing_is_named_with_what_to_do(sqlite: Database, runner: TaskRunner) -> None:
    error = at(sqlite, runner).run(views(**OF_LEDGER)).error
    assert isinstance(error, ConfigurationError)
    assert "There is no table sms_messages (ledger) and sms_batches (ledger)" in str(error)
    assert "The first send with that `ledger_prefix` creates" in str(error)


def test_a_ledger_of_an_older_version_is_refused_by_its_columns(sqlite: Database, runner: TaskRunner) -> None:
    ledger(sqlite).close()
    sqlite.execute("ALTER TABLE sms_messages RENAME COLUMN currency TO unit")
    error = at(sqlite, runner).run(views(**OF_LEDGER)).error
    assert isinstance(error, ConfigurationError)
    assert str(error).startswith(
        "The table sms_messages lacks currency. The next send with that ledger fails"
    )


@pytest.mark.parametrize("given", [{"ledger_prefix": "sms_"}, {"deliveries": None}], ids=["both", "neither"])
def test_texts_have_one_source(sqlite: Database, runner: TaskRunner, given: dict[str, Any]) -> None:
    later = {name: f"{{{{ {value!r} }}}}" if value else None for name, value in given.items()}
    error = at(sqlite, runner).run(views(**{**later, "schema": "{{ 'main' }}"})).error
    assert isinstance(error, InvalidMessage)
    assert "Give either `deliveries`" in str(error)


def test_each_field_is_templated(sqlite: Database, runner: TaskRunner) -> None:
    make_tables(sqlite)
    given = {name: f"{{{{ '{table}' }}}}" for name, table in ALL_TABLES.items()}
    templated = views(
        **given, sql_conn_id="{{ 'warehouse' }}", view_prefix="{{ ti.task_id }}_", schema="{{ 'main' }}"
    )
    runner = at(sqlite, runner)
    assert runner.run(templated).error is None
    assert runner.result == {"schema": "main", "views": [f"views_{view.name}" for view in VIEWS]}


def test_the_views_stand_beside_the_tables_in_their_schema(postgres: Database, runner: TaskRunner) -> None:
    make_tables(postgres)
    assert at(postgres, runner).run(views(schema=postgres.schema)).error is None
    assert answers(postgres) == EMPTY


def test_what_the_database_refuses_is_told_without_its_words(database: Database, runner: TaskRunner) -> None:
    make_tables(database)
    database.execute("CREATE TABLE {}sms_cost_by_day (secret_27825550101 INTEGER)")
    error = at(database, runner).run(views()).error
    assert isinstance(error, LoadFailed)
    assert "could not create the view sms_cost_by_day" in str(error)
    assert error.__cause__ is error.__context__ is None
    assert not re.search(r"27825550101|is not a view|DROP TABLE|is not VIEW", str(error))


def test_a_user_who_may_only_read_is_told_what_is_needed(
    postgres: Database, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tables(postgres)
    role = f"reader_{postgres.schema}"
    postgres.execute(f"CREATE ROLE {role}")
    try:
        postgres.execute(f"GRANT USAGE ON SCHEMA {postgres.schema} TO {role}")
        postgres.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {postgres.schema} TO {role}")
        postgres.connection["extra"] = json.dumps({"options": f"-c role={role}"})
        postgres.let_tasks_find_it(monkeypatch)
        error = at(postgres, runner).run(views(schema=postgres.schema)).error
    finally:
        postgres.execute(f"DROP OWNED BY {role}")
        postgres.execute(f"DROP ROLE {role}")
    assert isinstance(error, LoadFailed)
    assert "needs SELECT on the tables, the right to create views" in str(error)


def test_a_database_that_cannot_be_opened_is_no_missing_table(runner: TaskRunner, tmp_path: Path) -> None:
    nowhere = {"conn_type": "sqlite", "host": str(tmp_path / "no" / "such" / "folder.db")}
    error = replace(runner, connections={CONN_ID: nowhere}).run(views()).error
    assert isinstance(error, LoadFailed)
    assert "could not be opened" in str(error)


def test_a_connection_of_something_else_is_refused(runner: TaskRunner) -> None:
    error = runner.run(views(sql_conn_id="winsms_default")).error
    assert isinstance(error, ConfigurationError)


def test_a_database_that_nobody_tried_is_refused(portable: Database, runner: TaskRunner) -> None:
    make_tables(portable)
    error = at(portable, runner).run(views(schema=portable.schema)).error
    assert isinstance(error, ConfigurationError)
    assert "the connection has the type 'portable'" in str(error)


@pytest.mark.parametrize("kind", ["sqlite", "postgres_by_path", "mariadb"])
def test_two_that_make_them_at_once_both_succeed(kind: str, request: pytest.FixtureRequest) -> None:
    """Without DuckDB, whose file belongs to one process."""
    database: Database = request.getfixturevalue(kind)
    make_tables(database)
    tables = SourceTables(**ALL_TABLES)
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(create_views, database.hook(), tables, "sms_") for _ in range(8)]
    assert [list(each.result()) for each in made] == [NAMES] * 8
    assert answers(database) == EMPTY


@pytest.mark.parametrize("table", ["deliveries", "incoming"])
def test_a_table_with_masked_numbers_is_refused_by_name_and_gets_no_view(
    database: Database, table: str, runner: TaskRunner, sandbox: Sandbox, tmp_path: Path
) -> None:
    """People with the same mask would count as one, and an opt-out would find no text."""
    sends = {"conn_type": "sqlite", "host": str(tmp_path / "ledger-of-sends.db")}
    runner = with_key(at(database, runner), ledger=sends)
    send_and_load(runner, sandbox, "none", "ledger")
    if table == "incoming":
        database.execute("DROP TABLE {}incoming")
    for dataset, given in {"deliveries": {"ledger_conn_id": "ledger"}, "incoming": {}}.items():
        privacy = "masked" if dataset == table else "none"
        assert (
            runner.another().run(load_of(dataset, clock_of(sandbox), privacy=privacy, **given)).error is None
        )
    error = runner.another().run(views()).error
    assert isinstance(error, ConfigurationError)
    assert f"The table {table} has masked numbers, which the views cannot compare." in str(error)
    with pytest.raises(Exception, match=NAMES[0]):
        database.count(NAMES[0])


each_privacy = pytest.mark.parametrize("privacy", ["none", "keyed_hash"])


@each_privacy
def test_the_views_answer_for_what_was_sent_and_loaded(
    database: Database, privacy: Any, runner: TaskRunner, sandbox: Sandbox, tmp_path: Path
) -> None:
    sends = {"conn_type": "sqlite", "host": str(tmp_path / "ledger-of-sends.db")}
    runner = with_key(at(database, runner), ledger=sends)
    send_and_load(runner, sandbox, privacy, "ledger")
    load = load_of("deliveries", clock_of(sandbox), privacy=privacy, ledger_conn_id="ledger")
    for task in (load, views()):
        assert runner.another().run(task).error is None
    check_answers(database)


@each_privacy
@each_ledger
def test_the_views_answer_for_what_was_sent_with_a_ledger(
    of_sends: Database, privacy: Any, runner: TaskRunner, sandbox: Sandbox
) -> None:
    runner = with_key(at(of_sends, runner))
    send_and_load(runner, sandbox, privacy, CONN_ID)
    refresh = variant(SmsRefreshStatusOperator, clock=clock_of(sandbox))
    for task in (
        refresh(task_id="refresh", ledger_conn_id=CONN_ID),
        views(deliveries=None, ledger_prefix="sms_"),
    ):
        assert runner.another().run(task).error is None
    check_answers(of_sends)


def with_key(runner: TaskRunner, **more: Any) -> TaskRunner:
    gateway = {
        **runner.connections["winsms_default"],
        "extra": json.dumps({"hash_secret": "0123456789abcdef"}),
    }
    return replace(runner, connections={**runner.connections, "winsms_default": gateway, **more})


def send_and_load(runner: TaskRunner, sandbox: Sandbox, privacy: Any, ledger_conn_id: str) -> None:
    """Send to three, of whom one replies and one opts out; to these two again; and load the two lists."""
    replies, leaves, is_silent = "27825550101", "27825550102", "27825550103"

    def send(task_id: str, *to: str) -> None:
        operator = SmsSendOperator(
            task_id=task_id, text="Hallo", to=to, ledger_conn_id=ledger_conn_id, ledger_privacy=privacy
        )
        assert runner.another().run(operator).error is None
        sandbox.advance(3600)

    send("first", replies, leaves, is_silent)
    sandbox.incoming(replies, "Yes")
    sandbox.incoming(leaves, "STOP")
    sandbox.advance(3600)
    send("second", replies, leaves)
    for dataset in ("incoming", "opt_outs"):
        load = load_of(dataset, clock_of(sandbox), privacy=privacy)
        assert runner.another().run(load).error is None


def check_answers(database: Database) -> None:
    def shown(columns: str, view: str) -> list[tuple[Any, ...]]:
        return sorted(database.execute(f"SELECT {columns} FROM {{}}sms_{view} ORDER BY 1"))  # noqa: S608 - ours

    assert shown("task_id, texts, recipients, replies, by_id", "replies_by_campaign") == [
        ("first", 3, 3, 2, 2),
        ("second", 1, 1, 0, 0),
    ]
    assert shown("task_id, opt_outs, still_out", "opt_outs_by_campaign") == [
        ("first", 1, 1),
        ("second", 0, 0),
    ]
    assert shown("spells, out_now, sent, in_doubt, stopped", "opt_out_check") == [(1, 1, 0, 0, 1)]
    declined = "SUM(texts), SUM(declined), SUM(opted_out), SUM(other_reasons)"
    assert shown(declined, "declined_by_day") == [(5, 1, 1, 0)]
    assert shown("SUM(accepted), SUM(delivered)", "delivery_by_day") == [(4, 4)]


@pytest.mark.parametrize("privacy", ["none", "keyed_hash"])
@pytest.mark.parametrize("spelt", ["+27825550101", "082 555 0101", "0027 82 555 0101", "27825550101.0"])
def test_a_text_after_an_opt_out_is_found_however_the_gateway_spells_the_number(
    sqlite: Database,
    spelt: str,
    privacy: Any,
    runner: TaskRunner,
    sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    clock = clock_of(sandbox)
    key = json.dumps({"hash_secret": "0123456789abcdef"})
    with listing() as lists:
        connections = {
            "winsms_default": {**runner.connections["winsms_default"], "extra": key},
            "lists": {**json.loads(lists.connection), "extra": key},
            CONN_ID: sqlite.connection,
            "ledger": {"conn_type": "sqlite", "host": str(tmp_path / "ledger-of-sends.db")},
        }
        runner = replace(runner, connections=connections)
        opted_out_at = clock.now().in_timezone("Africa/Johannesburg").strftime("%Y%m%d%H%M")
        lists.opt_outs = [row(1, spelt, "STOP", receiveTime=opted_out_at)]
        sandbox.advance(3600)
        run = [
            SmsSendOperator(
                task_id="send", text="Hi", to=ANN, ledger_conn_id="ledger", ledger_privacy=privacy
            ),
            load_of("deliveries", clock, ledger_conn_id="ledger", privacy=privacy),
            load_of("opt_outs", clock, sms_conn_id="lists", privacy=privacy),
            views(incoming=None),
        ]
        assert [runner.another().run(operator).error for operator in run] == [None] * 4
    assert list(sqlite.execute("SELECT numbers, sent FROM {}sms_opt_out_check")) == [(1, 1)]
    if privacy == "none":
        assert list(sqlite.execute("SELECT number FROM {}opt_outs")) == [(ANN,)]


def load_of(dataset: str, clock: Clock, **given: Any) -> SmsToSqlOperator:
    load = variant(SmsToSqlOperator, clock=clock)
    return load(task_id=dataset, dataset=dataset, table=dataset, sql_conn_id=CONN_ID, **given)


def blocks() -> Iterator[str]:
    yield from re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_what_the_page_shows_makes_the_views_and_checks_them(sqlite: Database, runner: TaskRunner) -> None:
    make_tables(sqlite)
    ledger(sqlite).close()
    runner = at(sqlite, runner)
    names = {"SmsViewsOperator": SmsViewsOperator, "SQLCheckOperator": SQLCheckOperator}
    for code in blocks():
        assert runner.another().run(eval(code, names)).error is None  # noqa: S307 - the page's own code
    assert answers(sqlite) == EMPTY


def test_the_check_that_is_shown_fails_once_somebody_was_texted(sqlite: Database, runner: TaskRunner) -> None:
    make_tables(sqlite)
    sqlite.execute(
        "INSERT INTO deliveries (dag_id, number, state, submitted_at) "
        "VALUES ('dag', '1', 'delivered', '2026-03-02T10:00:00+00:00')"
    )
    spell = "INSERT INTO opt_outs_history (number, opted_out_at) VALUES ('1', '2026-03-01T10:00:00+00:00')"
    sqlite.execute(spell)
    runner = at(sqlite, runner)
    create, _, check = (eval(code, {**globals()}) for code in blocks())  # noqa: S307 - as above
    runner.run(create)
    assert runner.another().run(check).error is not None
