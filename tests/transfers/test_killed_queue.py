"""A load of a queue that is killed, at any point: no text is lost, and none is there twice."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.support.databases import CONN_ID
from tests.support.list_server import ListServer, text
from tests.transfers.load_process import Order, loaders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Database
    from tests.transfers.load_process import Loaders

pytestmark = pytest.mark.database

TEXTS = 8
"""They come in three blocks."""

STRIDES = {"sqlite": 4, "postgres": 4, "mariadb": 5}
"""Every n-th step is tried."""


@pytest.fixture(scope="module")
def processes() -> Iterator[Loaders]:
    with loaders() as found:
        yield found


@pytest.fixture(params=STRIDES)
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def test_a_load_that_is_killed_at_any_step_and_the_next_one_have_each_text_once(
    database: Database, processes: Loaders
) -> None:
    with ListServer().running() as server:
        task = {"dataset": "incoming", "sql_conn_id": CONN_ID, "table": "loaded", "schema": database.schema}
        environment = {**database.environment, "AIRFLOW_CONN_WINSMS_DEFAULT": server.connection}
        order = Order(task, environment, has_queue=True)
        said: list[str] = []
        for step in count(1, STRIDES[database.kind]):
            news = [f"Text {step:03} {each}" for each in range(TEXTS)]
            said += news
            server.queue += [text(None, each % 60, words) for each, words in enumerate(news)]
            (ending,) = processes.run(replace(order, dies_before=step))
            assert set(found(database)) | {each["text"] for each in server.queue} == set(said)
            (after,) = processes.run(order)
            assert after.error == ""
            assert found(database) == said
            # Nothing acknowledges the last block.
            server.queue.clear()
            if not ending.was_killed:
                break
        assert step > 20, "There were more steps."


def found(database: Database) -> list[str]:
    """Return the texts in the table, if it is there."""
    if "loaded" not in set(database.tables()):
        return []
    rows = database.execute(f"SELECT text FROM {database.named('loaded')} ORDER BY text")  # noqa: S608 - our own name
    return [row[0] for row in rows]
