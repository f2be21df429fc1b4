"""Loads of tests: through the operator, into the table ``replies`` behind the connection ``warehouse``."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.messages import message_id_of
from airflow_provider_winsms.runtime import SYSTEM_CLOCK
from airflow_provider_winsms.sql.types import ColumnType
from airflow_provider_winsms.sql.values import read_amount, read_instant
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from airflow_provider_winsms.warehouse.datasets import DATASETS, DEFAULT_SIZES, LoadRun, LoadSizes
from airflow_provider_winsms.warehouse.mapping import PrivacyPolicy
from airflow_provider_winsms.warehouse.relations import TableName
from airflow_provider_winsms.warehouse.table import open_table
from tests.support.clock import standing_clock
from tests.support.databases import CONN_ID
from tests.support.variants import variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pytest

    from airflow_provider_winsms.sandbox import Sandbox
    from airflow_provider_winsms.warehouse.mapping import RowMapper
    from airflow_provider_winsms.warehouse.table import TargetTable
    from tests.support.databases import Database
    from tests.support.lists import Lists
    from tests.support.task_runner import TaskRunner

_READERS: dict[ColumnType, Callable[[Any], Any]] = {
    ColumnType.INSTANT: read_instant,
    ColumnType.AMOUNT: read_amount,
    ColumnType.ID: message_id_of,
}


def operator(
    database: Database | None,
    dataset: str = "incoming",
    *,
    began: datetime | None = None,
    sizes: LoadSizes = DEFAULT_SIZES,
    **kwargs: Any,
) -> SmsToSqlOperator:
    """Return a load.

    :param began: when it begins, if that is not now.
    """
    clock = SYSTEM_CLOCK if began is None else standing_clock(began)
    target = {"table": "replies", "schema": database.schema if database else None, "sql_conn_id": CONN_ID}
    kind = variant(SmsToSqlOperator, clock=clock, sizes=sizes)
    return kind(task_id="load", dataset=dataset, **{**target, **kwargs})


def run(
    database: Database,
    dataset: str = "incoming",
    *,
    run_id: str | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Load, and return what the task returns."""
    return operator(database, dataset, **kwargs).execute({"run_id": run_id} if run_id else {})


def opened(
    database: Database,
    dataset: str = "incoming",
    *,
    began: datetime | None = None,
    table: str = "replies",
    schema: str | None = None,
    sizes: LoadSizes = DEFAULT_SIZES,
) -> AbstractContextManager[tuple[TargetTable, RowMapper]]:
    load = LoadRun(began or datetime.now(UTC), None, "credits")
    name = TableName(table, schema or database.schema)
    personal = PrivacyPolicy("none", "keep", None)
    return open_table(database.hook(), DATASETS[dataset], name, load, personal, sizes=sizes)


def run_impatiently(
    database: Database, dataset: str = "incoming", *, sizes: LoadSizes = DEFAULT_SIZES
) -> dict[str, Any]:
    """Load with a hook that tries again without waiting."""
    hook = SmsHook.of("winsms_default")
    hook._transport = Transport(hook.endpoint, sleep=lambda _: None)
    with opened(database, dataset, sizes=sizes) as (table, mapper):
        source = operator(database, dataset, sizes=sizes)._source(DATASETS[dataset], hook)
        return source.load(table, mapper, is_whole=False).summary()


def stored(database: Database, dataset: str = "incoming", table: str = "replies") -> list[dict[str, Any]]:
    """Return the rows of a table by their keys, with ids, moments in UTC and amounts as Python has them."""
    columns = DATASETS[dataset].columns
    names = ", ".join(column.name for column in columns)
    keys = (f"LENGTH({key}), {key}" if key == "message_id" else key for key in DATASETS[dataset].key)
    order = ", ".join((*keys, "loaded_at"))
    found = database.execute(f"SELECT {names} FROM {{}}{table} ORDER BY {order}")  # noqa: S608 - our own names
    return [
        {
            column.name: None if value is None else _READERS.get(column.kind, lambda same: same)(value)
            for column, value in zip(columns, values, strict=True)
        }
        for values in found
    ]


def everything(database: Database, table: str = "replies") -> list[tuple[Any, ...]]:
    return sorted(database.execute(f"SELECT * FROM {{}}{table}"), key=repr)  # noqa: S608 - our own names


def create_table_that_refuses(database: Database, text: str, key: str = "PRIMARY KEY") -> None:
    """Create a table for replies in which no row may have that text."""
    columns = ", ".join(
        f"{column.name} {database.types[column.kind]}"
        + (f" {key}" if column.name == "message_id" else "")
        + (f" CHECK (text <> '{text}')" if column.name == "text" else "")
        for column in DATASETS["incoming"].columns
    )
    database.execute(f"CREATE TABLE {{}}replies ({columns})")


def arrive(gateway: Sandbox, count: int) -> list[int]:
    """Let replies come in, each with a number and a text of its own."""
    return list(gateway.add_incoming((f"2782{n:07}", f"Reply {n}") for n in range(count)))


def was_read_again(result: dict[str, Any]) -> bool:
    """Whether more was read than all rows and a beginning and an overlap."""
    return bool(result["rows_read"] > result["total"] + 2)


@contextmanager
def login_role(postgres: Database, name: str) -> Iterator[None]:
    """Let a user exist in PostgreSQL, who owns nothing in the end."""
    postgres.execute(f"CREATE ROLE {name} LOGIN")
    try:
        yield
    finally:
        postgres.execute(f"DROP OWNED BY {name}")
        postgres.execute(f"DROP ROLE {name}")


def beside_ledger(
    runner: TaskRunner, lists: Lists, database: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> TaskRunner:
    """Return a runner that knows the lists' gateway, the database, and a ledger of its own in a file."""
    connections = {
        "winsms_default": json.loads(lists.connection),
        CONN_ID: database.connection,
        "ledger": {"conn_type": "sqlite", "host": str(file)},
    }
    for conn_id, connection in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    return replace(runner, connections=connections)
