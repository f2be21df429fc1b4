from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.lists import row
from tests.transfers.loads import run
from tests.transfers.test_unreadable_rows import WITHOUT_ID

if TYPE_CHECKING:
    from tests.support.databases import Database
    from tests.support.lists import Lists


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    bad=st.sets(st.integers(0, 150), max_size=6),
    newest_first=st.booleans(),
)
def test_wherever_unreadable_rows_are_all_others_are_loaded_each_time(
    counts: list[int], bad: set[int], newest_first: bool, lists: Lists, sqlite: Database
) -> None:
    sqlite.execute("DROP TABLE IF EXISTS {}replies")
    rows: list[Any] = []
    for count in counts:
        start = len(rows)
        rows += [WITHOUT_ID if n in bad else row(n + 1) for n in range(start, start + count)]
        lists.rows = rows[::-1] if newest_first else list(rows)
        result = run(sqlite)
        readable = [n + 1 for n in range(len(rows)) if n not in bad]
        assert sqlite.message_ids("replies") == readable
        assert result["unreadable"] == len(rows) - len(readable)
        assert result["requests"] <= 3 * (len(rows) // 10 + 1) + 64
