"""The CPU time of a load's client by part: without requests, and without a database."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import requests

from airflow_provider_winsms.gateways.endpoint import Endpoint
from airflow_provider_winsms.gateways.json_numbers import decode
from airflow_provider_winsms.gateways.responses import Answer, read_answer
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.sql.dialects import DIALECTS
from airflow_provider_winsms.warehouse.datasets import INCOMING, LoadRun
from airflow_provider_winsms.warehouse.mapping import PrivacyPolicy, RowMapper
from airflow_provider_winsms.warehouse.reader import IdSet
from scripts.bulk_gateways import API_KEY, BulkGateways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PAGE = 1000
_ROUNDS = 5
_GATEWAY = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")
_ENDPOINT = Endpoint("bench", _GATEWAY, "https://gateway.example", API_KEY)
_LOAD = LoadRun(datetime(2026, 1, 1, tzinfo=UTC), "bench", "credits")


class _Database(NamedTuple):
    """What a mapper asks of a database."""

    dialect: Any


def seconds(rows: int) -> Iterator[tuple[str, float]]:
    """Yield each part with the CPU seconds that it takes for so many rows: the least of some rounds."""
    bodies = list(_bodies(rows))
    pages = [_read(offset, body) for offset, body in bodies]
    yield "json alone, for comparison", _least(lambda: [decode(body) for _, body in bodies])
    yield (
        "read pages with care, as odd ones are",
        _least(lambda: [_read(*each, with_care=True) for each in bodies]),
    )
    yield "read usual pages", _least(lambda: [_read(*each) for each in bodies])
    for kind, dialect in DIALECTS.items():
        database: Any = _Database(dialect)
        mapper = RowMapper(INCOMING, _LOAD, database, PrivacyPolicy("none", "keep", None))
        chunks = [mapper.chunk(page.rows) for page in pages]
        yield f"map and encode rows: {kind}", _least(_mapped, mapper, pages)
    yield "note and count ids", _least(_noted, [chunk.keys for chunk in chunks])


def _bodies(rows: int) -> Iterator[tuple[int, bytes]]:
    with BulkGateways(rows) as gateways:
        url = f"{gateways.of(rows).box.base_url}/sms/incoming"
        for offset in range(0, rows, _PAGE):
            window = {"offset": offset, "limit": _PAGE}
            yield offset, requests.get(url, window, headers={"AUTHORIZATION": API_KEY}, timeout=60).content


def _read(offset: int, body: bytes, *, with_care: bool = False) -> Any:
    call = _GATEWAY.incoming(offset, _PAGE)
    return read_answer(replace(call, read=None) if with_care else call, Answer(200, {}, body), _ENDPOINT)


def _mapped(mapper: RowMapper, pages: Sequence[Any]) -> None:
    for page in pages:
        mapper.chunk(page.rows)


def _noted(keys: Sequence[Sequence[int]]) -> None:
    ids = IdSet()
    for each in keys:
        ids.add(each)
    ids.count()


def _least(work: Callable[..., object], *arguments: Any) -> float:
    taken = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        work(*arguments)
        taken.append(time.process_time() - began)
    return min(taken)
