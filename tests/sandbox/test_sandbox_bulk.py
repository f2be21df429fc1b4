"""Lists and statuses by the million are cut and counted like short ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.sandbox.bulk import BulkRows, statuses

if TYPE_CHECKING:
    from tests.sandbox.sandbox_api import Api

ROWS = 2500


@pytest.mark.parametrize("prepared", [0, 999, 1000, ROWS])
def test_rows_are_the_same_however_they_are_cut_and_whenever_they_are_encoded(
    api: Api, prepared: int
) -> None:
    bulk = BulkRows(lambda index: json.dumps({"index": index, "text": "M\u00f4re" * (index % 3)}))
    bulk.prepare(prepared)
    api.box.script("getIncomingMessages", bulk.script(lambda: ROWS))
    for offset, limit in ((0, 1), (0, 1000), (1, 1000), (998, 3), (1999, 501), (ROWS, 10), (ROWS + 9, 1)):
        page = api.get("/sms/incoming", offset=offset, limit=limit)
        indexes = range(offset, min(offset + limit, ROWS))
        assert [row["index"] for row in page["incomingMessages"]] == list(indexes)
        assert page["resultsTotalAvailable"] == ROWS
        assert api.box.requests()[-1]["rows"] == len(indexes)


def test_a_whole_list_is_one_answer_and_may_grow(api: Api) -> None:
    totals = iter([0, 1, ROWS])
    api.box.script("getOptoutMessages", BulkRows(str).script(lambda: next(totals)))
    for expected in (0, 1, ROWS):
        assert api.get("/sms/incoming/optout")["incomingOptoutMessages"] == list(range(expected))


def test_every_text_has_the_state_of_the_moment(api: Api) -> None:
    states = iter(['"statusErrorCode":"SENT"', '"statusDelivered":true'])
    api.box.script("smsStatus", statuses(lambda: next(states)))
    assert api.status(7, 10**12) == [
        {"apiMessageId": 7, "statusErrorCode": "SENT"},
        {"apiMessageId": 10**12, "statusErrorCode": "SENT"},
    ]
    assert api.status(7) == [{"apiMessageId": 7, "statusDelivered": True}]
