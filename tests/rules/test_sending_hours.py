"""A text goes out within the sending hours only. The sandbox's clock and its outbox are the judges."""

from __future__ import annotations

import pickle
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import InvalidMessage, RefusedByRule
from airflow_provider_winsms.rules import OptOuts, SendingHours
from airflow_provider_winsms.sandbox import Sandbox
from tests.conftest import API_KEY
from tests.support.send_world import GUARANTEES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.send_world import SendWorld

SAST = "Africa/Johannesburg"
MANY = [f"2782555{at:04}" for at in range(100)]
LATE, CLOSED = "2026-11-30T19:50", "2026-11-30T20:30"  # a Monday
OPENING = "2026-12-01T08:00"
SKIP = SendingHours.za_marketing(on_closed="skip")


def sast(text: str) -> pendulum.DateTime:
    found = pendulum.parse(text, tz=SAST)
    assert isinstance(found, pendulum.DateTime)
    return found


@pytest.fixture
def now() -> str:
    return LATE


@pytest.fixture
def sandbox(now: str) -> Iterator[Sandbox]:
    """An account at a time of South Africa."""
    with Sandbox(api_key=API_KEY, speed=0, credits=1000, now=sast(now)) as box:
        yield box


at = pytest.mark.parametrize


def goes_out(sandbox: Sandbox) -> dict[str, int]:
    """Return how many texts go out at each minute, in South Africa."""
    counts: dict[str, int] = {}
    for row in sandbox.outbox():
        time = row["scheduledTime"] or sandbox.now().strftime("%Y%m%d%H%M")
        counts[time] = counts.get(time, 0) + 1
    return counts


def minute(text: str) -> str:
    return sast(text).strftime("%Y%m%d%H%M")


@at(
    ("now", "out"),
    [
        ("2026-11-30T07:59", "2026-11-30T08:00"),
        ("2026-11-30T08:00", None),
        ("2026-11-30T19:59", None),
        ("2026-11-30T20:00", OPENING),
        ("2026-12-05T08:59", "2026-12-05T09:00"),  # a Saturday
        ("2026-12-05T12:59", None),
        ("2026-12-05T13:00", "2026-12-07T08:00"),
        ("2026-12-06T12:00", "2026-12-07T08:00"),  # a Sunday
        ("2026-08-10T12:00", "2026-08-11T08:00"),  # a Monday, on which a holiday is observed
        ("2026-12-24T20:00", "2026-12-28T08:00"),  # two holidays, and a Sunday
    ],
)
def test_a_text_at_another_hour_waits_for_the_next_opening(
    now: str, out: str | None, sandbox: Sandbox, world: SendWorld
) -> None:
    assert world.run(to=MANY[:3], rules=[SendingHours.za_marketing()]) is None
    assert goes_out(sandbox) == {minute(out or now): 3}


@at("now", [CLOSED])
@at("guarantee", GUARANTEES)
def test_each_guarantee_waits(guarantee: Any, sandbox: Sandbox, world: SendWorld) -> None:
    assert world.run(to=MANY[:3], guarantee=guarantee, rules=[SendingHours.za_marketing()]) is None
    assert goes_out(sandbox) == {minute(OPENING): 3}


@at("now", ["2026-11-30T19:57"])
def test_a_held_text_is_judged_by_when_it_goes_out(sandbox: Sandbox, world: SendWorld) -> None:
    assert world.run(to=MANY[:3], guarantee="exactly_once", rules=[SendingHours.za_marketing()]) is None
    assert goes_out(sandbox) == {minute(OPENING): 3}


@at(("send_at", "out"), [("20:30", OPENING), ("19:55", "2026-11-30T19:55")])
def test_a_text_with_a_time_of_its_own_is_judged_by_that(
    send_at: str, out: str, sandbox: Sandbox, world: SendWorld
) -> None:
    time = f"2026-11-30T{send_at}+02:00"
    assert world.run(to=MANY[:3], send_at=time, rules=[SendingHours.za_marketing()]) is None
    assert goes_out(sandbox) == {minute(out): 3}


@at("now", [CLOSED])
def test_skip_takes_out_everybody_and_fail_refuses(sandbox: Sandbox, world: SendWorld) -> None:
    assert "100 x outside_hours" in str(world.run(to=MANY, rules=[SKIP]))
    fail = SendingHours.za_marketing(on_closed="fail")
    assert isinstance(world.run(to=MANY, rules=[fail]), RefusedByRule)
    assert not sandbox.outbox()


def test_skip_takes_out_those_whose_own_time_is_at_another_hour(sandbox: Sandbox, world: SendWorld) -> None:
    late = {"text": "Late", "to": MANY[0], "send_at": "2026-11-30T21:00+02:00"}
    task = world.send_batch(late, {"text": "Now", "to": MANY[1]}, rules=[SKIP])
    assert world.runner.run(task).error is None
    assert world.runner.result["rejected"] == {"outside_hours": 1}
    assert [row["mobileNumber"] for row in sandbox.outbox()] == [MANY[1]]


@at(("on_closed", "now_and_later"), [("schedule", (50, 50)), ("skip", (50, 0))])
def test_a_list_too_long_for_the_rest_of_the_hours_is_cut_where_they_end(
    on_closed: Any, now_and_later: tuple[int, int], sandbox: Sandbox, world: SendWorld
) -> None:
    # Ten minutes are left, and five texts go out in a minute.
    rule = SendingHours.za_marketing(on_closed=on_closed, throughput=5)
    assert world.run(to=MANY, rules=[rule]) is None
    counts = goes_out(sandbox)
    assert counts.pop(minute(LATE)) == now_and_later[0]
    assert counts == {minute(f"2026-12-01T08:{at:02}"): 5 for at in range(now_and_later[1] // 5)}


def test_a_list_too_long_for_the_rest_of_the_hours_is_refused_if_so_asked(
    sandbox: Sandbox, world: SendWorld
) -> None:
    rule = SendingHours.za_marketing(on_closed="fail", throughput=5)
    assert isinstance(world.run(to=MANY, rules=[rule]), RefusedByRule)
    assert not sandbox.outbox()


@at("guarantee", GUARANTEES)
def test_a_retry_after_the_hours_waits_for_the_next_opening(
    guarantee: Any, sandbox: Sandbox, world: SendWorld
) -> None:
    world.limits["recipients"] = 20
    sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=2, times=1, retry_after=3600)
    settings: Any = {"to": MANY, "guarantee": guarantee, "rules": [SendingHours.za_marketing()]}
    assert world.run(**settings) is not None
    sandbox.advance(40 * 60)
    assert world.run(**settings) is None
    assert world.texts == dict.fromkeys(MANY, 1)
    assert sum(at == minute(OPENING) for at in (row["scheduledTime"] for row in sandbox.outbox())) == 60


@at("on_closed", ["skip", "fail"])
def test_if_the_hours_end_while_a_send_is_under_way_the_rest_is_sent_by_a_later_try(
    on_closed: Any, sandbox: Sandbox, world: SendWorld
) -> None:
    world.limits["recipients"] = 20
    world.before[3] = lambda: sandbox.advance(15 * 60)
    settings: Any = {"to": MANY, "rules": [SendingHours.za_marketing(on_closed=on_closed)]}
    assert isinstance(world.run(**settings), RefusedByRule)
    assert len(sandbox.outbox()) == 60
    sandbox.advance(12 * 3600)
    assert world.run(**settings) is None
    assert world.texts == dict.fromkeys(MANY, 1)


@at("now", [CLOSED])
def test_a_wait_for_delivery_begins_when_the_texts_go_out(sandbox: Sandbox, world: SendWorld) -> None:
    task = world.send(
        to=MANY[:3], rules=[SendingHours.za_marketing()], wait_for_delivery=True, delivery_timeout=3600
    )
    assert world.runner.run(task).error is None
    assert world.runner.result["delivery"]["delivered"] == 3
    assert sandbox.now() > sast(OPENING)


@at("now", ["2026-11-30T12:00"])
def test_extra_holidays_are_those_of_the_rule_and_of_airflows_configuration(
    sandbox: Sandbox, world: SendWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__WINSMS__EXTRA_HOLIDAYS", "2026-12-01, 2026-12-02")
    rule = SendingHours.za_marketing(extra_holidays=[date(2026, 11, 30), "2026-12-03"])
    assert world.run(to=MANY[:3], rules=[rule]) is None
    assert goes_out(sandbox) == {minute("2026-12-04T08:00"): 3}


@at("now", ["2026-11-30T12:00"])
def test_a_wrong_holiday_in_the_configuration_sends_nothing(
    sandbox: Sandbox, world: SendWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__WINSMS__EXTRA_HOLIDAYS", "Heritage Day")
    assert world.run(to=MANY[:3], rules=[SendingHours.za_marketing()]) is not None
    assert not sandbox.outbox()


@at("now", ["2026-11-30T12:00"])
def test_other_hours_of_another_country(sandbox: Sandbox, world: SendWorld) -> None:
    rule = SendingHours({"mon-sun": "14:00-15:00"}, time_zone="Europe/Berlin", country="DE")
    assert world.run(to=MANY[:3], rules=[rule]) is None
    assert goes_out(sandbox) == {minute("2026-11-30T15:00"): 3}


@at("now", [CLOSED])
def test_who_opted_out_is_not_scheduled_either(sandbox: Sandbox, world: SendWorld) -> None:
    sandbox.opt_out(MANY[0])
    assert world.run(to=MANY[:3], rules=[SendingHours.za_marketing(), OptOuts()]) is None
    assert goes_out(sandbox) == {minute(OPENING): 2}


@at("wrong", [{"on_closed": "later"}, {"throughput": 0}, {"throughput": 1.5}, {"throughput": True}])
def test_a_wrong_argument_is_refused_where_the_dag_is_read(wrong: Any) -> None:
    with pytest.raises(InvalidMessage):
        SendingHours.za_marketing(**wrong)


def test_hours_pickle_and_compare_by_what_they_say() -> None:
    rule = SendingHours.za_marketing(extra_holidays=["2026-12-01"], throughput=60)
    assert pickle.loads(pickle.dumps(rule)) == rule  # noqa: S301 - our own
    assert rule != SendingHours.za_marketing(throughput=60)


@at(
    ("now", "texts"),
    [("2026-11-30T10:59", 3), ("2026-11-30T13:30", 0), ("2026-11-30T16:00", 3), ("2026-12-01T07:00", 0)],
)
def test_the_hours_that_are_shown_are_obeyed(
    now: str, texts: int, sandbox: Sandbox, world: SendWorld
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    (code,) = re.findall(r"```python\n(SendingHours.*?)```", page, re.DOTALL)
    rule = eval(code, {"SendingHours": SendingHours})  # noqa: S307 - the page's own code
    world.run(to=MANY[:3], rules=[rule])
    assert goes_out(sandbox) == ({minute(now): 3} if texts else {})
