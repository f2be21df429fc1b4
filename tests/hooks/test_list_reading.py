"""A hook reads a list by offset and limit, however the gateway reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.exceptions import UnsupportedCapability
from tests.support.list_server import ListServer, NumberedHook, QueueHook, text

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ListServer]:
    with ListServer().running() as found:
        monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", found.connection)
        found.incoming = [text(each, each) for each in range(45)]
        found.scheduled = list(range(45))
        yield found


@pytest.mark.parametrize("limit", [1, 3, 7, 10])
def test_numbered_pages_give_every_row_once(server: ListServer, limit: int) -> None:
    hook = NumberedHook("winsms_default")
    for get in (hook.get_incoming, hook.get_scheduled):
        found: list[object] = []
        while len(found) < 45:
            page = get(len(found), limit)
            assert (page.offset, page.total) == (len(found), 45)
            assert 1 <= len(page.rows) <= limit
            found += [row.message_id for row in page.rows]
        assert found == list(range(45))
    assert all("page" in query for query in server.asked)


def test_lists_that_cannot_be_read_so_are_refused_by_name(server: ListServer) -> None:
    with pytest.raises(UnsupportedCapability, match="Queue lists each text of `incoming` once, as a queue"):
        QueueHook("winsms_default").get_incoming()
    with pytest.raises(UnsupportedCapability, match="Numbered does not offer short_code"):
        NumberedHook("winsms_default").get_short_code_incoming()
    assert server.asked == []
