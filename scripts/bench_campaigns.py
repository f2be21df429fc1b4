"""Campaigns: a text for each row of a query in PostgreSQL, by the operator or a plain loop, to the sandbox.

Each campaign runs in a process of its own, with its ledger in the same database. Only Linux tells its memory.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pendulum
import requests
import structlog
from jinja2 import Template

from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.sandbox.gateway import API_KEY
from airflow_provider_winsms.sending.composer import Composer
from airflow_provider_winsms.sending.plan import plan
from airflow_provider_winsms.sending.query_content import QueryContent, RowColumns
from airflow_provider_winsms.sql.query import Query
from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator
from scripts import process_memory, warehouse
from scripts.bench_sends import add_latency, execute, gateway_variable, sandbox, timed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.warehouse import Warehouse

TEXT = (
    "Hi {{ name }}, your parcel has arrived at the counter in Long Street. Please bring R{{ amount }}. "
    "Reply STOP to opt out."
)
NOTE = (
    "Planned: rows from the query to the plan with its digests, by CPU time. Memory is resident, above the "
    "start. The loop posts each row by itself, as each has its own text; its figure is of its first rows."
)
_QUERY = "SELECT id, number, name, amount FROM customers LIMIT"
_PEOPLE = """CREATE TABLE customers AS SELECT i AS id, '2782' || lpad(i::text, 7, '0') AS number,
    'Customer ' || left(md5(i::text), 8) AS name, (i / 100.0)::numeric(10, 2) AS amount
    FROM generate_series(1, {rows}) AS i"""


class Case(NamedTuple):
    """The number of rows, the latency in seconds, and how many rows the loop sends."""

    rows: int
    latency: float
    by_loop: int


CASES = (
    Case(100_000, 0.0, 5000),
    Case(100_000, 0.1, 200),
    Case(1_000_000, 0.0, 5000),
    Case(1_000_000, 0.1, 200),
)


class Figures(NamedTuple):
    """What one campaign took.

    :param planned_a_second: rows of which a plan was made in a second of CPU time.
    :param seconds: of the whole send.
    :param megabytes: resident memory above the start.
    :param loop_rows_a_second: rows that the loop sent in a second.
    """

    planned_a_second: float
    seconds: float
    megabytes: float
    loop_rows_a_second: float


def measured(cases: tuple[Case, ...] = CASES) -> Iterator[tuple[Case, Figures]]:
    """Yield the figures of each case."""
    with opened(max(case.rows for case in cases)) as environment:
        for case in cases:
            with sandbox() as url:
                add_latency(url, case.latency)
                command = [sys.executable, "-m", "scripts.bench_campaigns", url, *map(str, case)]
                variables = {**environment, **gateway_variable(url)}
                done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
            yield case, Figures(*json.loads(done.stdout))


@contextmanager
def opened(rows: int) -> Iterator[Mapping[str, str]]:
    """Yield the environment of processes that find the table ``customers`` of so many rows."""
    with tempfile.TemporaryDirectory(prefix="sms-bench-") as folder:
        home = Path(folder)
        with warehouse.opened("postgres", home) as database:
            enrol(database, rows)
            yield {
                **os.environ,
                "AIRFLOW_HOME": folder,
                "AIRFLOW_CONN_CUSTOMERS": json.dumps(database.connection),
            }


def enrol(database: Warehouse, rows: int) -> None:
    """Make the table ``customers``."""
    with closing(database.connect()) as connection:
        connection.execute(_PEOPLE.format(rows=rows))
        connection.commit()


def campaign(rows: int) -> SqlToSmsOperator:
    """Return the campaign to so many customers."""
    return SqlToSmsOperator(
        task_id="send",
        sql=f"{_QUERY} {rows}",
        sql_conn_id="customers",
        text=TEXT,
        reference_column="id",
        ledger_conn_id="customers",
    )


def planned_a_second(rows: int) -> float:
    """Return how many rows are planned in a second of CPU time."""
    hook = SmsHook.of("winsms_default")
    content = QueryContent(
        Query(sql_hook("customers"), f"{_QUERY} {rows}"), RowColumns("number", TEXT, reference="id")
    )
    began = time.process_time()
    messages = content.compose(Composer(hook.gateway, pendulum.now), logging.getLogger())
    plan(messages, hook.gateway).digest(KeyedHash("bench"))
    return rows / (time.process_time() - began)


def send_in_a_loop(url: str, rows: int) -> None:
    """Select, render and post, with ``requests`` only."""
    template = Template(TEXT)
    with closing(sql_hook("customers").get_conn()) as connection, requests.Session() as session:
        session.headers["AUTHORIZATION"] = API_KEY
        cursor = connection.cursor()
        cursor.execute(f"{_QUERY} {rows}")
        for _, number, name, amount in cursor.fetchall():
            body = {
                "message": template.render(name=name, amount=amount),
                "recipients": [{"mobileNumber": number}],
            }
            session.post(f"{url}/sms/outgoing/send", json=body, timeout=60).raise_for_status()


def main() -> None:
    """Measure one case, and print its figures as JSON."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    url, rows, _, by_loop = sys.argv[1:]
    count, few = int(rows), int(by_loop)
    planned_a_second(1000)
    operator: Any = campaign(count)
    start = process_memory.reset_peak()
    seconds = timed(lambda: execute(operator, url))
    megabytes = process_memory.peak() - start
    loop = timed(lambda: send_in_a_loop(url, few))
    sys.stdout.write(json.dumps(Figures(planned_a_second(count), seconds, megabytes, few / loop)))


if __name__ == "__main__":
    main()
