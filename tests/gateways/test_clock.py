"""How an answer tells the gateway's time: its ``Date``, or else its ``timeStamp``, or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.sandbox import Sandbox
from tests.gateways.calls import BALANCE
from tests.gateways.carriers import KEY, WHERE, Time
from tests.gateways.stub import Reply, Stub, answer, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.runtime import ClockReading

NOON = pendulum.datetime(2026, 3, 2, 12)
DATE = {"Date": "Mon, 02 Mar 2026 12:00:07 GMT"}
STAMP = {"creditBalance": 1, "timeStamp": "20260302140009250"}
NOTHING = {"creditBalance": 1}


def read(*replies: Reply, now: Callable[[], pendulum.DateTime] = lambda: NOON) -> ClockReading | None:
    time = Time()
    with (
        Stub(*replies) as stub,
        Transport(replace(WHERE, base_url=stub.base_url), sleep=time.sleep, clock=time.clock) as transport,
    ):
        return transport.read_clock(BALANCE, now)


def test_the_date_goes_before_the_stamp_as_its_zone_is_known() -> None:
    reading = read(answer(200, STAMP, headers=DATE))
    assert reading is not None
    assert reading.shown == datetime(2026, 3, 2, 12, 0, 7, tzinfo=UTC)
    assert (reading.resolution, reading.is_zone_known) == (timedelta(seconds=1), True)
    assert reading.clock == "the clock of WinSMS"


@pytest.mark.parametrize(
    "date", [None, "", "soon", "Mon, 99 Mar 2026 12:00:07 GMT", "2026-03-02T12:00:07Z", "Mon, 02 Mar 2026"]
)
def test_without_a_date_the_stamp_is_read_in_the_zone_of_the_connection(date: str | None) -> None:
    reading = read(answer(200, STAMP, headers={} if date is None else {"Date": date}))
    assert reading is not None
    assert reading.shown == datetime(2026, 3, 2, 12, 0, 9, 250_000, tzinfo=UTC)
    assert (reading.resolution, reading.is_zone_known) == (timedelta(0), False)


@pytest.mark.parametrize("stamp", [None, "", "2026-03-02T14:00:09", "20269902140009250", "1" * 16, [1], True])
def test_an_answer_that_tells_no_time_is_no_reading(stamp: Any) -> None:
    assert read(answer(200, NOTHING | {"timeStamp": stamp})) is None


def test_the_answer_of_a_cache_is_no_reading() -> None:
    assert read(answer(200, STAMP, headers={**DATE, "Age": "240"})) is None


def test_only_the_answer_that_counts_is_measured_and_from_its_own_request() -> None:
    moments = iter(NOON.add(seconds=second) for second in (0, 1, 60, 62))
    early = {"Date": "Mon, 02 Mar 2026 11:00:00 GMT"}
    reading = read(
        answer(503, {}, headers=early), answer(200, NOTHING, headers=DATE), now=lambda: next(moments)
    )
    assert reading is not None
    assert reading.shown == datetime(2026, 3, 2, 12, 0, 7, tzinfo=UTC)
    assert (reading.asked_at, reading.answered_at) == (NOON.add(seconds=60), NOON.add(seconds=62))


def test_a_wrong_key_is_still_named() -> None:
    with pytest.raises(ConfigurationError, match="Check the API key"):
        read(refusal(401))


@pytest.mark.parametrize("seconds", [0, 3600, 86400 * 40])
def test_the_sandbox_has_one_time_in_all_its_answers(seconds: float) -> None:
    with Sandbox(api_key=KEY, speed=0, now=NOON) as box:
        box.advance(seconds)
        with Transport(replace(WHERE, base_url=box.base_url)) as transport:
            reading = transport.read_clock(BALANCE, lambda: NOON)
    assert reading is not None
    assert reading.shown == NOON.add(seconds=int(seconds))
