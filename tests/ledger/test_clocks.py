"""The clock of the database that keeps a ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.exceptions import ClocksDiffer
from airflow_provider_winsms.operators.sms import GuaranteeName, SmsSendOperator
from tests.ledger.batches import ledger
from tests.support.databases import with_extra

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner


def test_a_server_on_this_machine_agrees_with_it_and_a_file_has_no_clock(database: Database) -> None:
    with ledger(database) as tables:
        reading = tables.read_clock()
    if database.kind == "sqlite":
        assert reading is None
        return
    assert reading is not None
    assert abs(reading.least_difference) < timedelta(seconds=1)
    assert reading.answered_at - reading.asked_at < timedelta(seconds=10)


@pytest.mark.parametrize("zone", ["UTC", "Africa/Johannesburg", "America/St_Johns"])
def test_the_zone_of_the_session_changes_nothing(
    zone: str, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_options(postgres, f"-c search_path={postgres.schema} -c timezone={zone}", monkeypatch)
    with ledger(postgres) as tables:
        reading = tables.read_clock()
    assert reading is not None
    assert reading.least_difference == timedelta(0)


@pytest.mark.parametrize(
    ("guarantee", "seconds", "is_refused"),
    [
        ("exactly_once", 0, False),
        ("exactly_once", 10, False),
        ("exactly_once", -10, False),
        ("exactly_once", 20, True),
        ("exactly_once", -20, True),
        ("exactly_once", 300, True),
        ("exactly_once", -300, True),
        ("exactly_once", 7200, True),
        ("at_most_once", 300, False),
        ("at_least_once", -300, False),
    ],
)
def test_a_held_send_is_refused_where_the_database_has_another_time(
    guarantee: GuaranteeName,
    seconds: int,
    is_refused: bool,
    postgres: Database,
    sandbox: Sandbox,
    runner: TaskRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shift_clock(postgres, seconds, monkeypatch)
    runner.retries = 1
    result = runner.run(
        SmsSendOperator(
            task_id="send", text="Hallo", to=["27825550101"], guarantee=guarantee, ledger_conn_id="warehouse"
        )
    )
    if is_refused:
        assert isinstance(result.error, ClocksDiffer)
        assert "the clock of the ledger's database showed" in str(result.error)
        assert result.state == "up_for_retry"
        assert sandbox.outbox() == []
    else:
        assert result.error is None
        assert len(sandbox.outbox()) == 1


def shift_clock(postgres: Database, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a function with the name of PostgreSQL's own stand before it."""
    postgres.execute(
        "CREATE FUNCTION {}clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
        f"$$ SELECT pg_catalog.clock_timestamp() + interval '{seconds} seconds' $$"
    )
    set_options(postgres, f"-c search_path={postgres.schema},pg_catalog", monkeypatch)


def set_options(postgres: Database, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_extra(postgres, options=options).let_tasks_find_it(monkeypatch)
