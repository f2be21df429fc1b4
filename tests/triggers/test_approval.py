"""The trigger of an approval: a thousand share one poll, and none misses a reply."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.inbound.approval import ApprovalWait, Codes
from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.triggers.sms import SmsApprovalTrigger
from tests.conftest import API_KEY
from tests.support.variants import variant
from tests.triggers.triggerer import until

if TYPE_CHECKING:
    from collections.abc import Iterator

SoonTrigger = variant(SmsApprovalTrigger, first_poll_after=0.3, look_again_after=(0.0, 0.0))
HASHES = KeyedHash(API_KEY)


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(api_key=API_KEY) as opened:
        connection = {"conn_type": "winsms", "host": opened.base_url, "password": API_KEY}
        monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))
        yield opened


def number(place: int) -> str:
    return f"2782555{place:04}"


def codes(place: int) -> Codes:
    return Codes(HASHES, f"dag/run/ask/{place}")


def wait_of(place: int, left: float = 3600) -> ApprovalWait:
    now = time.time()
    return ApprovalWait(
        sms_conn_id="winsms_default",
        question=codes(place).question,
        key_id=HASHES.key_id,
        approvers=[codes(place).approver(number(place))],
        options=["YES", "NO"],
        needed=1,
        is_vote=False,
        since=now - 600,
        shortest_pause=1.0,
        first_at=now,
        end_at=now + left,
    )


def answer(box: Sandbox, place: int, option: str = "YES") -> None:
    box.incoming(number(place), f"{option} {codes(place).of(number(place))}")


async def event_of(trigger: SmsApprovalTrigger) -> Any:
    (event,) = [event async for event in trigger.run()]
    return event.payload


def polls(box: Sandbox) -> int:
    return len(box.requests())


async def test_a_thousand_approvals_share_one_poll_and_each_gets_its_answer(box: Sandbox) -> None:
    tasks = [asyncio.create_task(event_of(SoonTrigger(wait_of(place)))) for place in range(1000)]
    await until(lambda: polls(box) >= 3)
    began, before = time.monotonic(), polls(box)
    for place in range(1000):
        answer(box, place, "NO" if place % 3 else "YES")
    events = await asyncio.gather(*tasks)
    assert [event["chosen"] for event in events] == ["NO" if place % 3 else "YES" for place in range(1000)]
    assert polls(box) - before <= 4 * (time.monotonic() - began) + 4


async def test_a_reply_that_another_approval_has_read_already_is_not_missed(box: Sandbox) -> None:
    first = asyncio.create_task(event_of(SoonTrigger(wait_of(1))))
    await until(lambda: polls(box) >= 2)
    answer(box, 2)
    seen = polls(box)
    await until(lambda: polls(box) >= seen + 2)
    assert (await event_of(SoonTrigger(wait_of(2))))["chosen"] == "YES"
    answer(box, 1, "NO")
    assert (await first)["chosen"] == "NO"


async def test_a_reply_that_came_while_no_triggerer_ran_is_found(box: Sandbox) -> None:
    for place in range(700):
        box.incoming(number(5000 + place), "Hello")
    answer(box, 1)
    for place in range(1500):
        box.incoming(number(5000 + place), "Hello again")
    assert (await event_of(SoonTrigger(wait_of(1))))["chosen"] == "YES"


@pytest.mark.usefixtures("box")
async def test_at_its_end_it_tells_what_was_answered() -> None:
    event = await event_of(SoonTrigger(wait_of(1, left=1.5)))
    assert (event["ended"], event["chosen"], event["answers"]) == ("timed_out", None, [])


async def test_its_event_holds_a_masked_number_only(box: Sandbox) -> None:
    answer(box, 1)
    event = json.dumps(await event_of(SoonTrigger(wait_of(1))))
    assert "27******001" in event
    assert number(1)[2:] not in event
    assert codes(1).of(number(1)) not in event


def test_its_row_holds_no_number_and_no_code() -> None:
    row = json.dumps(SmsApprovalTrigger(wait_of(1)).serialize())
    assert number(1)[4:] not in row
    assert f'"{codes(1).of(number(1))}"' not in row


@pytest.mark.parametrize(
    "change",
    [{"approvers": [["one"]]}, {"options": ["YES"]}, {"needed": 0}, {"is_vote": 1}, {"end_at": "soon"}],
    ids=str,
)
def test_a_wrong_wait_is_refused_when_it_is_stored(change: dict[str, Any]) -> None:
    trigger = SmsApprovalTrigger({**wait_of(1).to_json(), **change})
    with pytest.raises(InvalidMessage):
        trigger.serialize()
