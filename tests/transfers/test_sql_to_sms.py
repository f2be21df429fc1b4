"""A campaign: each row of a query gets its text. The outbox is the judge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG

from airflow_provider_winsms.exceptions import InvalidMessage, InvalidRows, NothingToSend, QueryFailed
from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator
from scripts import process_memory
from tests.support.databases import CONN_ID, with_extra
from tests.transfers.campaigns import ANN, BEN, CAT, DAN, TABLE, campaign, enrol, texts

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner


@pytest.fixture(params=["sqlite", "postgres", "mariadb", "duckdb", "portable"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def test_each_row_gets_its_own_text(database: Database, sandbox: Sandbox, runner: TaskRunner) -> None:
    enrol(database, (ANN, "Ann"), ("082 555 0101", "Ben"), (CAT, "Ben"))
    assert runner.run(campaign(database)).error is None
    assert texts(sandbox) == [(ANN, "Hi Ann"), (BEN, "Hi Ben"), (CAT, "Hi Ben")]
    assert runner.result["requests"] == 1


def test_a_query_without_rows_sends_nothing(database: Database, sandbox: Sandbox, runner: TaskRunner) -> None:
    enrol(database)
    assert isinstance(runner.run(campaign(database)).error, NothingToSend)
    assert runner.another().run(campaign(database, on_empty="skip")).state == "skipped"
    assert sandbox.requests() == []


def test_a_statement_without_rows_is_refused(
    database: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    if database.kind == "duckdb":
        pytest.skip("a statement of DuckDB that changes rows returns their number as a row")
    enrol(database, (ANN, "Ann"))
    error = runner.run(campaign(database, sql=f"DELETE FROM {database.named(TABLE)}")).error  # noqa: S608 - a test's own
    assert isinstance(error, QueryFailed)
    assert sandbox.requests() == []
    assert database.count(TABLE) == 1


def test_rows_that_are_mappings_are_rows(
    postgres: Database, sandbox: Sandbox, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrol(postgres, (ANN, "Ann"))
    with_extra(postgres, cursor="dictcursor").let_tasks_find_it(monkeypatch)
    assert runner.run(campaign(postgres)).error is None
    assert texts(sandbox) == [(ANN, "Hi Ann")]


def test_parameters_of_the_query_are_templated_and_not_shown(
    sqlite: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    enrol(sqlite, (ANN, "Ann"), (BEN, "Ben"))
    sql = f"SELECT number, name FROM {TABLE} WHERE number = :wanted AND name LIKE '%n%'"  # noqa: S608 - a test's own
    task = campaign(sqlite, sql=sql, sql_parameters={"wanted": "{{ params.wanted }}"}, params={"wanted": BEN})
    assert runner.run(task).error is None
    assert texts(sandbox) == [(BEN, "Hi Ben")]
    assert runner.rendered["sql"] == "a query of 1 recipient, not shown"
    assert runner.rendered["sql_parameters"] == "1 value, not shown"
    assert BEN not in json.dumps(runner.rendered)


def test_a_percent_sign_of_a_query_without_parameters_is_itself(
    postgres: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    enrol(postgres, (ANN, "Ann"), (BEN, "Ben"))
    sql = f"SELECT number, name FROM {postgres.named(TABLE)} WHERE name LIKE 'A%'"  # noqa: S608 - a test's own
    assert runner.run(campaign(postgres, sql=sql)).error is None
    assert texts(sandbox) == [(ANN, "Hi Ann")]


@pytest.mark.parametrize("is_mapped", [False, True])
def test_a_query_may_be_a_file_which_is_a_template(
    is_mapped: bool, sqlite: Database, sandbox: Sandbox, runner: TaskRunner, tmp_path: Path
) -> None:
    enrol(sqlite, (ANN, "Ann"), (BEN, "Ben"))
    (tmp_path / "people.sql").write_text(
        f"SELECT number, name FROM {TABLE} WHERE id = {{{{ params.wanted }}}}"  # noqa: S608 - a test's own
    )
    given: dict[str, Any] = {"sql_conn_id": CONN_ID, "text": "Hi {{ name }}", "params": {"wanted": 2}}
    with DAG("dag", schedule=None, template_searchpath=str(tmp_path)):
        task: Any = (
            SqlToSmsOperator.partial(task_id="send", **given).expand(sql=["people.sql"])
            if is_mapped
            else SqlToSmsOperator(task_id="send", sql="people.sql", **given)
        )
    runner.map_index = 0 if is_mapped else -1
    if not is_mapped:
        task.resolve_template_files()
    assert runner.run(task).error is None
    assert texts(sandbox) == [(BEN, "Hi Ben")]


def test_the_session_keeps_its_own_settings(
    postgres: Database, sandbox: Sandbox, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_extra(postgres, options="-c timezone=Asia/Tokyo").let_tasks_find_it(monkeypatch)
    sql = f"SELECT '{ANN}' AS number, current_setting('TimeZone') AS zone"
    assert runner.run(campaign(postgres, sql=sql, text="Now in {{ zone }}")).error is None
    assert texts(sandbox) == [(ANN, "Now in Asia/Tokyo")]


def test_a_value_that_looks_like_a_template_is_data(
    sqlite: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    enrol(sqlite, (ANN, "(( 7 * 7 )) (% if %)"))
    sql = f"SELECT number, replace(replace(name, '(', '{{'), ')', '}}') AS name FROM {TABLE}"  # noqa: S608 - a test's own
    assert runner.run(campaign(sqlite, sql="{% raw %}" + sql + "{% endraw %}")).error is None
    assert texts(sandbox) == [(ANN, "Hi {{ 7 * 7 }} {% if %}")]


def test_airflow_does_not_render_the_text(sqlite: Database, sandbox: Sandbox, runner: TaskRunner) -> None:
    enrol(sqlite, (ANN, "Ann"))
    for text in ("{{ ds }} {{ name }}", "{{ conn.winsms_default.password }}", "{{ range(3) }}"):
        error = runner.another().run(campaign(sqlite, text=text)).error
        assert isinstance(error, InvalidMessage)
        assert "returns no column" in str(error)
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ name", "line 1"),
        ("Hi\n{% if %}", "line 2"),
        ("{{ name | shout }}", "No filter named 'shout'"),
        ("{{ name is shouted }}", "No test named 'shouted'"),
        ("{% include 'other.txt' %}", "refers to another template"),
    ],
)
def test_a_wrong_template_is_an_error_of_the_dag(text: str, says: str) -> None:
    given: dict[str, Any] = {"task_id": "send", "sql": "SELECT 1", "sql_conn_id": CONN_ID, "text": text}
    for make in (SqlToSmsOperator, SqlToSmsOperator.partial):
        with pytest.raises(InvalidMessage, match=says):
            make(**given)


@pytest.mark.parametrize("given", [{}, {"text": "Hi", "text_column": "text"}])
def test_a_campaign_has_one_source_of_texts(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage, match="from the template `text` or from the column `text_column`"):
        SqlToSmsOperator(task_id="send", sql="SELECT 1", sql_conn_id=CONN_ID, **given)


def test_texts_may_be_ready(sqlite: Database, sandbox: Sandbox, runner: TaskRunner) -> None:
    enrol(sqlite, (ANN, "Hi {{ Ann }}"), (BEN, "Hi Ben"))
    assert runner.run(campaign(sqlite, text_column="name")).error is None
    assert texts(sandbox) == [(ANN, "Hi {{ Ann }}"), (BEN, "Hi Ben")]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"text": "Hi {{ nmae }}"}, "no column 'nmae' (of `text`). It returns: id, number, name."),
        ({"number_column": "phone"}, "no column 'phone' (of `number_column`)"),
        ({"reference_column": "customer"}, "no column 'customer' (of `reference_column`)"),
        ({"send_at_column": "due"}, "no column 'due' (of `send_at_column`)"),
        ({"text_column": "body"}, "no column 'body' (of `text_column`)"),
        ({"sql": "SELECT 1 AS name, 2 AS number, 3 AS name"}, "several columns of the same name: name."),
        ({"sql": "SELECT '27825559871' || 'Xylophone'"}, "It returns: (an expression)."),
    ],
)
def test_a_wrong_column_is_refused_by_its_name(
    given: dict[str, Any], says: str, sqlite: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    enrol(sqlite, (ANN, "Ann"))
    error = runner.run(campaign(sqlite, **given)).error
    assert isinstance(error, InvalidMessage)
    assert isinstance(error, AirflowFailException)
    assert says in str(error)
    assert "27825559871" not in str(error)
    assert sandbox.requests() == []


BAD: list[tuple[tuple[str | None, str | None], str]] = [
    (("27825559871x", "Xylophone"), "Row 2, column `number`: The number is not a phone number"),
    ((f"{ANN}, {BEN}", "Xylophone"), "Row 2, column `number`: The number is not a phone number"),
    ((None, "Xylophone"), "Row 2, column `number`: The number is empty"),
    ((BEN, None), "Row 2: The text would show a missing value, of `name`."),
    ((BEN, "\N{PARTY POPPER}"), "Row 2: The text holds characters"),
    ((BEN, "x" * 180), "Row 2: The text takes 2 segments and max_segments allows 1."),
]


@pytest.mark.parametrize(("person", "says"), BAD)
def test_an_invalid_row_is_named_by_its_place_and_its_column(
    person: Any,
    says: str,
    sqlite: Database,
    sandbox: Sandbox,
    runner: TaskRunner,
    capsys: pytest.CaptureFixture[str],
) -> None:
    enrol(sqlite, (ANN, "Ann"), person, (CAT, "Cat"))
    error = runner.run(campaign(sqlite, max_segments=1)).error
    assert isinstance(error, InvalidMessage)
    assert says in str(error)
    assert sandbox.outbox() == []
    assert runner.another().run(campaign(sqlite, max_segments=1, on_invalid="reject")).error is None
    assert texts(sandbox) == [(ANN, "Hi Ann"), (CAT, "Hi Cat")]
    said = capsys.readouterr().out
    assert says in said
    assert not any(secret in said for secret in (ANN, BEN, CAT, "27825559871", "Xylophone"))


def test_an_expression_that_fails_for_a_row_makes_it_invalid(
    sqlite: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    enrol(sqlite, (ANN, "Ann"), (BEN, "Ben"), (CAT, "Cat"))
    text = "{{ 6 // (id - 2) }} {{ name.__class__ if id == 3 else '' }}"
    error = runner.run(campaign(sqlite, text=text)).error
    assert isinstance(error, InvalidRows)
    assert [problem.partition(":")[0] for problem in error.problems] == ["Row 2", "Row 3"]
    assert "ZeroDivisionError" in error.problems[0]
    assert "SecurityError" in error.problems[1]
    assert sandbox.outbox() == []


def test_each_recipient_keeps_the_reference_of_its_row(
    sqlite: Database, runner: TaskRunner, sandbox: Sandbox
) -> None:
    enrol(sqlite, (ANN, "Ann"), ("nobody", "Ben"), (CAT, "Ann"), (DAN, "Ann"))
    task = campaign(
        sqlite,
        text="Hi",
        sql=f"SELECT number, nullif(id, 4) AS id FROM {TABLE} ORDER BY number",  # noqa: S608 - a test's own
        reference_column="id",
        on_invalid="reject",
        ledger_conn_id=CONN_ID,
    )
    assert runner.run(task).error is None
    rows = sqlite.execute("SELECT number, reference FROM sms_messages ORDER BY number")
    assert rows == [("", "2"), (ANN, "1"), (CAT, "3"), (DAN, None)]
    assert len(sandbox.outbox()) == 3


def test_each_text_is_sent_at_the_time_of_its_row(
    sqlite: Database, runner: TaskRunner, sandbox: Sandbox
) -> None:
    later = pendulum.from_timestamp(sandbox.now().timestamp()).add(hours=3).start_of("minute")
    enrol(sqlite, (ANN, later.isoformat()), (BEN, None), (CAT, later.isoformat()), (DAN, "2027-01-31T09:00"))
    given = {"text": "Hi", "send_at_column": "name", "on_invalid": "reject"}
    assert runner.run(campaign(sqlite, **given)).error is None
    assert runner.result["rejected"] == {"invalid": 1}
    sandbox.advance(2 * 3600)
    waiting = {row["mobileNumber"]: row["status"] == "INQUEUE" for row in sandbox.outbox()}
    assert waiting == {ANN: True, BEN: False, CAT: True}
    sandbox.advance(2 * 3600)
    assert not any(row["status"] == "INQUEUE" for row in sandbox.outbox())


def test_a_lost_row_of_a_driver_error_is_shown_nowhere(
    postgres: Database, sandbox: Sandbox, runner: TaskRunner, capfd: pytest.CaptureFixture[str]
) -> None:
    enrol(postgres, (ANN, "Xylophone 27825559871"))
    sql = f"SELECT number, name::int AS name FROM {postgres.named(TABLE)}"  # noqa: S608 - a test's own
    error = runner.run(campaign(postgres, sql=sql)).error
    assert isinstance(error, QueryFailed)
    assert error.code == "22P02"
    assert error.__cause__ is error.__context__ is None
    everything = "\n".join([str(error), *capfd.readouterr(), *runner.requests])
    assert "Xylophone" not in everything
    assert "27825559871" not in everything
    assert sandbox.requests() == []


def test_a_query_that_may_not_read_fails_for_good(sqlite: Database, runner: TaskRunner) -> None:
    runner.retries = 3
    error = runner.run(campaign(sqlite, sql="SELECT * FROM no_table")).error
    assert isinstance(error, QueryFailed)
    assert "The database could not run the query (OperationalError" in str(error)
    assert "correct `sql`" in str(error)


@pytest.mark.database
@pytest.mark.alone
@pytest.mark.skipif(not process_memory.is_known(), reason="the memory of a process is known on Linux only")
@pytest.mark.parametrize("kind", ["postgres", "mariadb", "sqlite"])
def test_rows_are_read_some_at_a_time(
    kind: str, request: pytest.FixtureRequest, runner: TaskRunner, sandbox: Sandbox
) -> None:
    """The rows of the query take 200 MB."""
    database: Database = request.getfixturevalue(kind)
    digits = f"WITH d AS ({' UNION ALL '.join(f'SELECT {each} AS n' for each in range(10))}) "
    wide = "printf('%2000d', 1)" if kind == "sqlite" else "repeat('x', 2000)"
    sql = f"{digits}SELECT '{ANN}' AS number, {wide} AS name FROM d AS a, d AS b, d AS c, d AS e, d AS f"  # noqa: S608 - a test's own
    sandbox.set_account(credit_balance=10)
    assert runner.run(campaign(database, sql=f"{sql} LIMIT 5000", text="Hi")).error is None
    before = process_memory.reset_peak()
    another = runner.another()
    assert another.run(campaign(database, sql=sql, text="Hi")).error is None
    assert another.result["duplicates"] == 99_999
    assert process_memory.peak() - before < 60
