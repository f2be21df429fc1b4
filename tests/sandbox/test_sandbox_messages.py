"""The course of a text: credits, segments, magic numbers, schedules, statuses, time."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from airflow_provider_winsms import gsm7 as text
from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.sandbox.plan import MAGIC_NUMBERS
from airflow_provider_winsms.sandbox.wire import _ALPHABET, to_gsm7
from tests.sandbox.sandbox_api import ABROAD, AT_ONCE, NOW, OTHER, PHONE, Api, wire_minute

DECLINING = [(magic.number, magic.error) for magic in MAGIC_NUMBERS.values() if magic.error]
FOREVER = 80 * 86_400


def test_recipients_are_charged_one_by_one_in_order(api: Api) -> None:
    api.box.set_account(credit_balance=3.5)
    rows = api.send(PHONE, ABROAD, ABROAD, OTHER, PHONE)
    assert [row["newCreditBalance"] for row in rows] == [2.5, 1.2, 1.2, 0.2, 0.2]
    assert [row["creditCost"] for row in rows] == [1, 1.3, None, 1, None]
    poor = "INSUFFICIENT CREDITS"
    assert [row["acceptError"] for row in rows] == ["", "", poor, "", poor]
    assert api.balance() == 0.2


@pytest.mark.parametrize(
    ("message", "parts"), [("x" * 160, 1), ("x" * 161, 2), ("€" * 80, 1), ("€" * 81, 2), ("x" * 918, 6)]
)
def test_a_text_costs_its_segments(api: Api, message: str, parts: int) -> None:
    (row,) = api.send(PHONE, message=message, maxSegments=6)
    assert row["creditCost"] == parts


@pytest.mark.parametrize(("message", "most"), [("x" * 919, 6), ("x" * 161, 1), ("x" * 307, 2)])
def test_a_text_that_needs_more_segments_than_it_may_take_is_too_long(
    api: Api, message: str, most: int
) -> None:
    (row,) = api.send(PHONE, message=message, maxSegments=most)
    assert row["acceptError"] == "TOOLONG"


def test_one_segment_is_the_default(api: Api) -> None:
    assert api.send(PHONE, message="x" * 161)[0]["acceptError"] == "TOOLONG"


def test_characters_outside_the_alphabet_are_replaced_and_never_refused(api: Api) -> None:
    assert api.send(PHONE, message="Môre \U0001f600 “ja” é€")[0]["accepted"]
    assert api.box.outbox()[0]["message"] == "More ? ?ja? é€"


def test_the_sandbox_and_the_client_have_the_same_alphabet() -> None:
    assert text.septets("".join(sorted(_ALPHABET))) == 127 + 2 * 10
    others = [chr(code) for code in range(0x3000) if chr(code) not in _ALPHABET]
    for char in others:
        with pytest.raises(InvalidMessage):
            text.septets(char)
        assert to_gsm7(char) in _ALPHABET


@pytest.mark.parametrize(("number", "code"), DECLINING)
def test_a_declining_magic_number_is_declined_and_free(api: Api, number: str, code: str) -> None:
    (row,) = api.send(number)
    assert (row["accepted"], row["acceptError"], row["newCreditBalance"]) == (False, code, 100)
    assert api.box.outbox() == []


def test_the_magic_numbers_reach_every_documented_accept_error() -> None:
    documented = {
        *("INSUFFICIENT CREDITS", "ACCOUNTLOCKED", "TRIALNOT2SELF", "TOOLONG", "BADDEST", "OPTEDOUT"),
        "WASPADNC",
    }
    assert {code for _, code in DECLINING} == documented | {"QUOTAREACHED"}


@pytest.mark.parametrize(
    "number", ["276666666666", "0825550101", "123456", "1" * 16, "+27825550101", "٢" * 11]
)
def test_a_malformed_number_is_baddest(api: Api, number: str) -> None:
    assert api.send(number)[0]["acceptError"] == "BADDEST"


def test_one_bad_recipient_does_not_stop_the_others(api: Api) -> None:
    rows = api.send(PHONE, "276666666666", OTHER)
    assert [row["accepted"] for row in rows] == [True, False, True]


def test_a_number_twice_in_one_request_is_texted_twice(api: Api) -> None:
    first, second = api.ids(PHONE, PHONE)
    assert first < second
    assert api.balance() == 98


@pytest.mark.parametrize(
    ("number", "code", "cost"),
    [
        ("27000000010", "", 1),
        ("27000000011", "FAILED", 0),
        ("27000000012", "SENDINGFAILED", 0),
        ("27000000013", "SENT", 1),
        ("27000000014", "INQUEUE", 1),
        ("27000000015", "REROUTED", 1),
        ("27000000016", "BADDEST", 1),
    ],
)
def test_a_magic_number_with_a_status_has_it_at_once_and_for_good(
    api: Api, number: str, code: str, cost: float
) -> None:
    (key,) = api.ids(number)
    expected = {
        "apiMessageId": key,
        "mobileNumber": number,
        "statusDelivered": code == "",
        "statusErrorCode": code,
        "statusTime": wire_minute(),
        "creditCost": cost,
    }
    assert api.status(key) == [expected]
    api.box.advance(FOREVER)
    assert api.status(key) == [expected]


def test_an_ordinary_text_goes_from_inqueue_over_sent_to_delivered(api: Api) -> None:
    (key,) = api.ids(PHONE)
    seen = []
    for _ in range(130):
        (row,) = api.status(key)
        seen.append("DELIVERED" if row["statusDelivered"] else row["statusErrorCode"])
        api.box.advance(1)
    assert list(dict.fromkeys(seen)) == ["INQUEUE", "SENT", "DELIVERED"]


def outcomes(seed: int) -> list[str]:
    with Sandbox(speed=0, seed=seed, now=NOW) as box:
        api = Api(box)
        api.send(*[PHONE] * 1000)
        box.advance(120)
        api.session.close()
        return [row["status"] for row in box.outbox()]


def test_about_95_percent_are_delivered_within_two_minutes() -> None:
    counts = Counter(outcomes(0))
    assert set(counts) == {"DELIVERED", "FAILED"}
    assert 930 <= counts["DELIVERED"] <= 970


def test_the_same_seed_and_texts_have_the_same_outcomes() -> None:
    assert outcomes(7) == outcomes(7)
    assert outcomes(7) != outcomes(8)


def test_a_failed_text_costs_nothing_in_its_status_and_the_balance_stays(api: Api) -> None:
    (key,) = api.ids("27000000011")
    assert api.status(key)[0]["creditCost"] == 0
    assert api.balance() == 99


def test_a_status_time_follows_the_status(api: Api) -> None:
    (key,) = api.ids(PHONE, scheduledTime=wire_minute(minutes=10))
    assert api.status(key)[0]["statusTime"] == wire_minute()
    api.box.advance(600)
    assert api.status(key)[0]["statusTime"] == wire_minute(minutes=10)
    api.box.advance(1200)
    assert api.status(key)[0]["statusTime"] in {wire_minute(minutes=10), wire_minute(minutes=11)}


def test_an_unknown_id_is_not_found_and_every_id_has_its_row(api: Api) -> None:
    (key,) = api.ids(PHONE)
    asked = [key, 1, key, -5, 2**70]
    rows = api.status(*asked)
    assert [row["apiMessageId"] for row in rows] == asked
    codes = ["INQUEUE", "NOTFOUND", "INQUEUE", "NOTFOUND", "NOTFOUND"]
    assert [row["statusErrorCode"] for row in rows] == codes


def test_a_status_is_kept_for_90_days_and_no_longer(api: Api) -> None:
    (key,) = api.ids(AT_ONCE)
    api.box.advance(90 * 86_400)
    assert api.status(key)[0]["statusDelivered"]
    api.box.advance(1)
    assert api.status(key)[0]["statusErrorCode"] == "NOTFOUND"


def test_a_locked_account_is_declined_for_every_recipient(api: Api) -> None:
    api.box.set_account(locked=True)
    assert {row["acceptError"] for row in api.send(PHONE, OTHER)} == {"ACCOUNTLOCKED"}
    api.box.set_account(locked=False)
    assert api.send(PHONE)[0]["accepted"]


def test_a_trial_account_may_text_its_own_number_only(api: Api) -> None:
    api.box.set_account(trial_number=PHONE)
    assert [row["acceptError"] for row in api.send(PHONE, OTHER)] == ["", "TRIALNOT2SELF"]
    api.box.set_account(trial_number=None)
    assert api.send(OTHER)[0]["accepted"]


def test_a_do_not_contact_number_is_declined_unless_the_account_is_transactional(api: Api) -> None:
    api.box.add_dnc(PHONE)
    assert [row["acceptError"] for row in api.send(PHONE, "27000000007")] == ["WASPADNC"] * 2
    api.box.set_account(transactional=True)
    assert all(row["accepted"] for row in api.send(PHONE, "27000000007"))
    api.box.set_account(transactional=False)
    api.box.remove_dnc(PHONE)
    assert api.send(PHONE)[0]["accepted"]


@pytest.mark.parametrize("past", [wire_minute(), wire_minute(hours=-2), int(wire_minute(days=-400))])
def test_a_time_that_is_past_sends_at_once(api: Api, past: Any) -> None:
    (row,) = api.send(AT_ONCE, scheduledTime=past)
    assert row["scheduledTime"] is None
    assert api.status(row["apiMessageId"])[0]["statusDelivered"]


@pytest.mark.parametrize("later", [wire_minute(minutes=5), int(wire_minute(minutes=5))])
def test_a_scheduled_text_waits_for_its_minute_and_then_goes_out(api: Api, later: Any) -> None:
    (row,) = api.send(AT_ONCE, scheduledTime=later)
    assert (row["scheduledTime"], row["creditCost"]) == (str(later), 1)
    api.box.advance(299)
    assert api.status(row["apiMessageId"])[0]["statusErrorCode"] == "INQUEUE"
    waiting = api.get("/sms/scheduled")
    assert waiting["resultsTotalAvailable"] == 1
    assert waiting["scheduledMessages"] == [
        {
            "apiMessageId": row["apiMessageId"],
            "mobileNumber": AT_ONCE,
            "submitTime": wire_minute(),
            "scheduledSendTime": str(later),
            "creditCost": 1,
        }
    ]
    api.box.advance(1)
    assert api.status(row["apiMessageId"])[0]["statusDelivered"]
    assert api.get("/sms/scheduled")["scheduledMessages"] == []


@pytest.mark.parametrize("newest_first", [False, True])
def test_scheduled_texts_come_in_pages(api: Api, newest_first: bool) -> None:
    api.box.set_scheduled_list(newest_first=newest_first)
    keys = api.ids(*[PHONE] * 25, scheduledTime=wire_minute(days=1))
    pages = [api.get("/sms/scheduled", offset=offset, limit=10) for offset in (0, 10, 20, 30)]
    listed = [row["apiMessageId"] for page in pages for row in page["scheduledMessages"]]
    assert listed == (keys[::-1] if newest_first else keys)
    assert {page["resultsTotalAvailable"] for page in pages} == {25}
    assert (pages[1]["resultsOffset"], pages[1]["resultsLimit"]) == (10, 10)


def test_a_cancelled_text_is_refunded_and_never_goes_out(api: Api) -> None:
    first, second = api.ids(ABROAD, AT_ONCE, scheduledTime=wire_minute(minutes=5))
    (row,) = api.cancel(first)
    assert row == {
        "apiMessageId": first,
        "mobileNumber": ABROAD,
        "deleted": True,
        "deleteError": "",
        "creditCost": 1.3,
    }
    assert api.balance() == 99
    api.box.advance(600)
    assert [row["statusErrorCode"] for row in api.status(first, second)] == ["NOTFOUND", ""]
    assert [row["cancelled"] for row in api.box.outbox()] == [True, False]
    assert [row["status"] for row in api.box.outbox()] == ["CANCELLED", "DELIVERED"]


def test_a_second_cancel_is_not_found(api: Api) -> None:
    (key,) = api.ids(PHONE, scheduledTime=wire_minute(minutes=5))
    rows = api.cancel(key, key) + api.cancel(key)
    assert [row["deleteError"] for row in rows] == ["", "NOTFOUND", "NOTFOUND"]
    assert [row["creditCost"] for row in rows] == [1, 0, 0]
    assert api.balance() == 100


def test_what_was_sent_or_never_was_cannot_be_cancelled(api: Api) -> None:
    (key,) = api.ids(PHONE, scheduledTime=wire_minute(minutes=5))
    api.box.advance(300)
    rows = api.cancel(key, 1)
    assert [(row["deleted"], row["deleteError"]) for row in rows] == [(False, "NOTFOUND")] * 2
    assert [row["mobileNumber"] for row in rows] == [PHONE, None]
    assert api.balance() == 99


def test_the_outbox_shows_every_accepted_text(api: Api) -> None:
    recipient = {"mobileNumber": AT_ONCE, "clientMessageId": "c-1"}
    api.post("/sms/outgoing/send", {"message": "Hello", "recipients": [recipient, {"mobileNumber": "27"}]})
    (row,) = api.box.outbox()
    assert row.pop("apiMessageId") > 0
    assert row == {
        "mobileNumber": AT_ONCE,
        "message": "Hello",
        "clientMessageId": "c-1",
        "submitTime": wire_minute(),
        "scheduledTime": None,
        "status": "DELIVERED",
        "statusAfterSeconds": 0,
        "cancelled": False,
        "creditCost": 1,
    }


def test_a_frozen_clock_moves_only_by_hand(box: Sandbox) -> None:
    assert box.now() == NOW
    box.advance(61.5)
    assert (box.now() - NOW).total_seconds() == 61.5


def test_a_fast_clock_runs_faster_than_wall_time() -> None:
    with Sandbox(speed=3600, now=NOW) as box:
        started, before = time.monotonic(), box.now()
        time.sleep(0.02)
        passed, waited = (box.now() - before).total_seconds(), time.monotonic() - started
    assert 72 <= passed <= waited * 3600


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 10**12])
def test_time_cannot_be_moved_back_or_out_of_reach(box: Sandbox, seconds: float) -> None:
    with pytest.raises(ValueError, match="advanced by 0 to"):
        box.advance(seconds)


@pytest.mark.parametrize("speed", [-1, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Sandbox(speed=speed)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        Sandbox(now=NOW.replace(tzinfo=None))
