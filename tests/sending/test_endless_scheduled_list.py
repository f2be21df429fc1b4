"""The list of scheduled texts, read to look up a lost answer: it ends; a false total proves no absence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.gateways.endpoint import Endpoint
from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.sandbox.scripts import Listing, ListQuery
from airflow_provider_winsms.sending.scheduled_list import read_scheduled
from tests.gateways.carriers import GATEWAY
from tests.support.lists import waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox import Sandbox

IDS = [1, 2, 3, 4, 5]

TOTALS: dict[str, Callable[[int], int]] = {
    "10**18": lambda _: 10**18,
    "2**63-1": lambda _: 2**63 - 1,
    "growing": lambda offset: 2 * offset + 5000,
}
PAGES: dict[str, Callable[[int, int], list[int]]] = {
    "that end": lambda offset, limit: IDS[offset:][:limit],
    "repeated": lambda _, limit: IDS[:limit],
    "short": lambda offset, _: IDS[offset % 5 :][:1],
}


@pytest.mark.parametrize("pages", PAGES)
@pytest.mark.parametrize("total", TOTALS)
def test_a_list_with_a_false_total_is_read_and_proves_nothing(
    total: str, pages: str, sandbox: Sandbox
) -> None:
    def page(asked: ListQuery) -> Listing:
        found = PAGES[pages](asked.offset, asked.limit)
        return Listing(list(map(waiting, found)), TOTALS[total](asked.offset))

    sandbox.script("getScheduledMessages", page)
    endpoint = Endpoint("winsms_default", GATEWAY, sandbox.base_url, sandbox.api_key)
    with Transport(endpoint) as transport:
        rows, is_complete = read_scheduled(transport.execute, GATEWAY)
    assert not is_complete
    assert {row.message_id for row in rows} >= ({1} if pages == "short" else set(IDS))
    assert len(sandbox.requests()) <= 60
