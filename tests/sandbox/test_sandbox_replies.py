"""Messages from phones: replies, opt-outs, short code messages, and their pages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_winsms.sandbox import Sandbox
from tests.sandbox.sandbox_api import AT_ONCE, NOW, OTHER, PHONE, Api, wire_minute

YES, STOP = "27000000020", "27000000021"


def test_a_reply_has_the_documented_fields_and_the_last_text_to_that_number(api: Api) -> None:
    api.ids(PHONE)
    _, last = api.ids(OTHER, PHONE)
    key = api.box.incoming(PHONE, "Thanks é")
    (row,) = api.get("/sms/incoming")["incomingMessages"]
    assert row == {
        "incomingApiMessageId": key,
        "mobileNumber": PHONE,
        "receiveTime": wire_minute(),
        "messageText": "Thanks é",
        "outgoingApiMessageId": last,
    }


def test_a_reply_to_no_text_has_no_outgoing_id(api: Api) -> None:
    api.ids(PHONE, scheduledTime=wire_minute(hours=1))
    cancelled = api.ids(PHONE, scheduledTime=wire_minute(hours=1))
    api.cancel(*cancelled)
    api.box.incoming(PHONE, "Hello?")
    (row,) = api.get("/sms/incoming")["incomingMessages"]
    assert row["outgoingApiMessageId"] is None


def test_incoming_messages_come_in_pages_oldest_first(api: Api) -> None:
    ids = list(api.box.add_incoming((PHONE, f"Reply {each}") for each in range(2500)))
    pages = [api.get("/sms/incoming", offset=offset, limit=1000) for offset in (0, 1000, 2000, 3000)]
    assert [row["incomingApiMessageId"] for page in pages for row in page["incomingMessages"]] == ids
    assert {page["resultsTotalAvailable"] for page in pages} == {2500}
    assert len(api.get("/sms/incoming")["incomingMessages"]) == 100
    assert ids == sorted(ids)


def test_replies_can_be_put_in_with_times_of_their_own(api: Api) -> None:
    api.box.add_incoming([(PHONE, "Old", NOW - timedelta(days=3)), (PHONE, "New")])
    rows = api.get("/sms/incoming")["incomingMessages"]
    assert [row["receiveTime"] for row in rows] == [wire_minute(days=-3), wire_minute()]


@pytest.mark.parametrize(
    ("reply", "opts_out"),
    [
        ("STOP", True),
        ("stop", True),
        (" Stop \n", True),
        ("End", True),
        ("cancel", True),
        ("UNSUBSCRIBE", True),
        ("quit", True),
        ("Stop sending me this", True),
        ("opt out please", True),
        ("Opt-out", True),
        ("OPT_OUT now", True),
        ("stop it", False),
        ("Please stop", False),
        ("Optout", False),
        ("The end", False),
        ("", False),
    ],
)
def test_the_documented_words_opt_a_number_out(api: Api, reply: str, *, opts_out: bool) -> None:
    key = api.box.incoming(PHONE, reply)
    rows = api.get("/sms/incoming/optout")["incomingOptoutMessages"]
    expected = {
        "incomingApiMessageId": key,
        "mobileNumber": PHONE,
        "receiveTime": wire_minute(),
        "messageText": reply,
    }
    assert rows == ([expected] if opts_out else [])
    assert api.send(PHONE)[0]["acceptError"] == ("OPTEDOUT" if opts_out else "")


def test_a_manual_opt_out_has_no_id_and_can_be_removed(api: Api) -> None:
    api.box.opt_out(PHONE)
    (row,) = api.get("/sms/incoming/optout")["incomingOptoutMessages"]
    assert row["incomingApiMessageId"] is None
    assert row["messageText"] == "* MANUALLY ADDED BY USER *"
    assert api.send(PHONE)[0]["acceptError"] == "OPTEDOUT"
    api.box.remove_opt_out(PHONE)
    assert api.get("/sms/incoming/optout")["incomingOptoutMessages"] == []
    assert api.send(PHONE)[0]["accepted"]


def test_a_number_opts_out_once(api: Api) -> None:
    api.box.incoming(PHONE, "STOP")
    api.box.incoming(PHONE, "stop")
    assert len(api.get("/sms/incoming/optout")["incomingOptoutMessages"]) == 1


def test_a_stop_reply_is_an_incoming_message_too(api: Api) -> None:
    api.box.incoming(PHONE, "STOP")
    assert api.get("/sms/incoming")["resultsTotalAvailable"] == 1


def test_a_stop_reply_can_be_kept_out_of_incoming_messages() -> None:
    with Sandbox(optouts_in_incoming=False) as box:
        api = Api(box)
        box.add_incoming([(PHONE, "STOP"), (OTHER, "Hello")])
        page = api.get("/sms/incoming")
        assert [row["messageText"] for row in page["incomingMessages"]] == ["Hello"]
        assert page["resultsTotalAvailable"] == 1
        assert len(api.get("/sms/incoming/optout")["incomingOptoutMessages"]) == 1
        api.session.close()


def test_short_code_messages_are_a_list_of_their_own(api: Api) -> None:
    key = api.box.shortcode(PHONE, "STOP")
    page = api.get("/shortcode/incoming")
    assert page["shortcodeMessages"] == [
        {
            "incomingApiMessageId": key,
            "mobileNumber": PHONE,
            "receiveTime": wire_minute(),
            "messageText": "STOP",
        }
    ]
    assert page["resultsTotalAvailable"] == 1
    assert api.get("/sms/incoming")["resultsTotalAvailable"] == 0
    assert api.get("/sms/incoming/optout")["incomingOptoutMessages"] == []


def test_a_magic_number_replies_after_its_delivery(api: Api) -> None:
    (key,) = api.ids(YES)
    assert api.get("/sms/incoming")["resultsTotalAvailable"] == 0
    api.box.advance(5)
    (row,) = api.get("/sms/incoming")["incomingMessages"]
    assert (row["messageText"], row["outgoingApiMessageId"]) == ("YES", key)


def test_a_magic_number_that_replies_stop_is_opted_out_from_then_on(api: Api) -> None:
    assert api.send(STOP)[0]["accepted"]
    assert api.send(STOP)[0]["accepted"]
    api.box.advance(5)
    assert api.send(STOP)[0]["acceptError"] == "OPTEDOUT"
    assert len(api.get("/sms/incoming/optout")["incomingOptoutMessages"]) == 1


def test_a_scheduled_text_is_replied_to_after_it_went_out_and_a_cancelled_one_never(api: Api) -> None:
    _, cancelled = api.ids(YES, YES, scheduledTime=wire_minute(minutes=1))
    api.cancel(cancelled)
    api.box.advance(64)
    assert api.get("/sms/incoming")["resultsTotalAvailable"] == 0
    api.box.advance(3600)
    (row,) = api.get("/sms/incoming")["incomingMessages"]
    assert row["receiveTime"] == wire_minute(minutes=1)


def test_ids_of_incoming_messages_ascend_over_every_list(api: Api) -> None:
    api.ids(AT_ONCE, YES)
    first = api.box.incoming(PHONE, "One")
    second = api.box.shortcode(PHONE, "Two")
    api.box.advance(5)
    third = api.box.incoming(PHONE, "Four")
    assert (second, third) == (first + 1, first + 3)


@pytest.mark.parametrize("number", ["", "12", "x" * 11, "1" * 16, "+27825550101"])
def test_a_reply_from_no_number_is_refused(box: Sandbox, number: str) -> None:
    with pytest.raises(ValueError, match="3 to 15 digits"):
        box.incoming(number, "Hello")
