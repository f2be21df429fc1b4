"""A wait outlives its process as JSON, and nothing else than a whole and right one is read."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_winsms.delivery.packed_ids import unpack
from airflow_provider_winsms.delivery.wait import IDS_IN_A_WAIT, DeliveryWait, id_source
from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.ledger.base import LedgerAddress

SECRET = "k" * 20

TIMES = (
    *("begins_at", "shortest_pause", "longest_pause", "first_at", "end_at", "grace_until"),
    "not_found_holds",
)

XCOM = {"key": "ids", "dag_id": "dag", "run_id": "run", "task_id": "task", "map_index": -1}
"""Where an XCom is."""

WRONG_XCOMS = [{"xcom": xcom} for xcom in ({}, {**XCOM, "key": 1}, {**XCOM, "session": SECRET}, [XCOM])]

WRONG: dict[str, tuple[Any, ...]] = {
    "sms_conn_id": ("", 5, "my conn", f"winsms://:{SECRET}@host", None),
    "source": (
        {},
        {"ids": "x"},
        "x",
        None,
        {"message_ids": [1]},
        {"batch": 1},
        {"batch": "b", "xcom": {}},
        *WRONG_XCOMS,
    ),
    "min_delivered": (95, 1.01, -0.1, math.nan, "0.95", True, None, timedelta(1)),
    "ledger": ("warehouse", ["warehouse"], [1, 2], ["warehouse", "sms_", SECRET]),
    "currency": (5, None, ["credits"]),
    **dict.fromkeys(TIMES, (-1, math.nan, math.inf, "1", True, None, timedelta(1))),
}
"""For each fact of a wait, values that are wrong."""

RIGHT: dict[str, Any] = {
    **dict.fromkeys(WRONG, 0.0),
    "sms_conn_id": "winsms_default",
    "source": {"batch": "b"},
    "ledger": ["warehouse", "sms_"],
    "currency": "credits",
}


@pytest.mark.parametrize("ledger", [None, LedgerAddress("warehouse", "sms_")])
@pytest.mark.parametrize("ids", [[7, 3], [*range(2 * IDS_IN_A_WAIT)]])
def test_a_wait_that_was_stored_is_read_as_it_was(ledger: LedgerAddress | None, ids: list[int]) -> None:
    times: dict[str, Any] = {name: index + 0.5 for index, name in enumerate(TIMES)}
    source = id_source(ids, XCOM)
    wait = DeliveryWait(
        sms_conn_id="winsms_default",
        source=source,
        min_delivered=0.5,
        ledger=ledger,
        currency="credits",
        **times,
    )
    assert DeliveryWait.from_json(json.loads(json.dumps(wait.to_json()))) == wait


def test_few_ids_are_in_the_wait_and_many_are_where_it_says() -> None:
    few, many = range(IDS_IN_A_WAIT), range(IDS_IN_A_WAIT + 1)
    assert unpack(id_source(few, XCOM)["message_ids"]) == [*few]
    assert id_source(many, XCOM) == {"xcom": XCOM}


def test_the_table_has_every_fact() -> None:
    assert WRONG.keys() == RIGHT.keys() == {field.name for field in fields(DeliveryWait)}
    assert DeliveryWait.from_json(RIGHT).to_json() == RIGHT


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]])
def test_a_wrong_fact_is_named_and_no_secret_is_shown(name: str, value: Any) -> None:
    with pytest.raises(InvalidMessage, match=name) as caught:
        DeliveryWait.from_json({**RIGHT, name: value})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", RIGHT)
def test_a_missing_fact_is_named(name: str) -> None:
    with pytest.raises(InvalidMessage, match=f"lacks {name}"):
        DeliveryWait.from_json({key: value for key, value in RIGHT.items() if key != name})


def test_a_fact_of_another_name_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidMessage, match="may hold only sms_conn_id, source") as caught:
        DeliveryWait.from_json({**RIGHT, SECRET: 1})
    assert SECRET not in str(caught.value)


def test_a_batch_without_a_ledger_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="which needs a ledger"):
        DeliveryWait.from_json({**RIGHT, "ledger": None})


@pytest.mark.parametrize("value", [None, [], "wait", 5, {}])
def test_what_is_no_wait_is_refused(value: Any) -> None:
    with pytest.raises(InvalidMessage, match="lacks sms_conn_id, source"):
        DeliveryWait.from_json(value)
