"""A merge looks up the rows that it changes, so its cost follows the staged rows and not the table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.transfers.loads import opened

if TYPE_CHECKING:
    from tests.support.databases import Database

_UPDATE_FROM = re.compile(r'UPDATE "(\w+)" .* FROM "(\w+)" WHERE ', re.DOTALL)


@pytest.mark.parametrize(
    ("dataset", "updated"),
    [("deliveries", ["replies"]), ("scheduled", ["replies"]), ("opt_outs", ["replies_history", "replies"])],
)
def test_sqlite_reads_the_staged_rows_and_looks_up_those_of_the_table(
    dataset: str, updated: list[str], sqlite: Database
) -> None:
    statements: list[str] = []
    with opened(sqlite, dataset) as (table, _):
        connection = table._database._connection
        connection.set_trace_callback(statements.append)
        table._merge.run()
        connection.set_trace_callback(None)
        found = {each[1]: each for statement in statements if (each := _UPDATE_FROM.match(statement))}
        assert list(found) == updated
        for target, update in found.items():
            plan = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {update.string}")]
            assert plan[0] == f"SCAN {update[2]}"
            assert re.fullmatch(
                rf"SEARCH {target} USING INDEX sqlite_autoindex_{target}_1 \(.*=\?\)", plan[1]
            )
            assert len(plan) == 2
