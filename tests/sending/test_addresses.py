"""Addresses and alphabets are those of the gateway: a device is no phone, and not each number has a 0."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pendulum
import pytest

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gateways.alphabets import Alphabet, Gsm7, Ucs2
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.messages import Message, Recipient, Recipients
from airflow_provider_winsms.phone import InvalidPhoneNumber, NumberPlan, NumberReader
from airflow_provider_winsms.sending.composer import Composer
from airflow_provider_winsms.sending.plan import Duplicates, ListChanges, plan
from airflow_provider_winsms.sending.replan import replan
from tests.ledger.test_address_digests import claimed_digests, ledger_of_a_task

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.options import CheckNumbers

ESN, ICCID, MEID = "09623489171", "89148000000800139708", "A1000009B3ADB5"


class DeviceGateway(WinSMSGateway):
    """A gateway of devices: each address says what it is."""

    def address(self, value: object, check_numbers: CheckNumbers = "possible") -> Recipient:  # noqa: ARG002
        if isinstance(value, Recipient) and value.kind in {"ESN", "ICCID", "MEID"}:
            return value
        msg = "names no kind of device"
        raise InvalidPhoneNumber(msg)


class UnicodeGateway(WinSMSGateway):
    """A gateway whose texts may hold any character."""

    capabilities: ClassVar = replace(WinSMSGateway.capabilities, alphabets=(Gsm7(6), Ucs2(4)))


class PolishGateway(WinSMSGateway):
    """A gateway in a country without a trunk prefix."""

    @property
    def number_plan(self) -> NumberPlan:
        return NumberPlan("48", trunk_prefix="")


def composer(kind: type[Gateway]) -> Composer:
    return Composer(kind(time_zone="UTC", country_code="27"), pendulum.now)


DEVICES = [
    Recipient(ESN, "truck 7", kind="ESN"),
    Recipient(ICCID, kind="ICCID"),
    Recipient(MEID, kind="MEID"),
]


def test_a_device_stays_as_it_was_given() -> None:
    message = composer(DeviceGateway).compose("Hi", DEVICES)
    assert list(message.recipients) == DEVICES
    assert message.recipients[0] == DEVICES[0]
    assert message.recipients[1:] == tuple(DEVICES[1:])


def test_no_kind_is_guessed() -> None:
    with pytest.raises(InvalidMessage, match="names no kind of device") as caught:
        composer(DeviceGateway).compose("Hi", ESN)
    assert ESN not in str(caught.value)
    with pytest.raises(InvalidMessage, match="is not a phone, and WinSMS sends to phones only"):
        composer(WinSMSGateway).compose("Hi", DEVICES[0])


def test_phones_and_devices_stand_side_by_side() -> None:
    given = [Recipient("27825550101", "a"), DEVICES[0], Recipient("27825550102"), DEVICES[2]]
    kept = Recipients(given)
    assert list(kept) == given
    assert [kept[index] for index in range(4)] == given
    assert kept[1:3] == tuple(given[1:3])


def test_a_device_is_a_duplicate_of_itself_alone() -> None:
    twice = Message("Hi", [*DEVICES, DEVICES[0], Recipient(ESN, kind="MEID")])
    planned = plan([twice], DeviceGateway(time_zone="UTC", country_code="27"))
    assert (planned.recipients, planned.duplicates) == (4, 1)


def test_digests_of_phones_are_those_of_earlier_versions_and_a_kind_makes_another() -> None:
    gateway, hashes = WinSMSGateway(time_zone="UTC", country_code="27"), KeyedHash("key")
    to = [Recipient("27825550101"), Recipient("27825550102")]
    digest = plan([Message("Hi", to)], gateway).digest(hashes)
    assert digest.numbers == hashes.of_parts("27825550101,27825550102")
    assert digest.numbers == "7ae48247fb232805b61f66535b08faff91ca717ead8a77732e597442eee3f047"
    others = [Recipient(each.number, kind="MDN") for each in to]
    assert plan([Message("Hi", others)], gateway).digest(hashes).numbers != digest.numbers


def test_the_rest_of_a_list_tells_two_devices_with_equal_digits_apart() -> None:
    gateway = DeviceGateway(time_zone="UTC", country_code="27")
    ledger = ledger_of_a_task()
    claimed_digests(ledger, Message("Hi", [Recipient(ESN, kind="ESN")]))
    listed = Message("Hi", [Recipient(ESN, kind="MEID"), Recipient(ESN, kind="ESN")])
    (first,) = replan([listed], gateway, ledger, duplicates=Duplicates(), is_held=False)
    assert first.changes == ListChanges(kept=1, added=1, gone=0, changed=0)
    rest = [recipient for part in first.requests[1].parts for recipient in part.recipients]
    assert rest == [Recipient(ESN, kind="MEID")]


@pytest.mark.parametrize(
    ("text", "spelled", "segments"),
    [
        ("x" * 160, "x" * 160, 1),
        ("x" * 161, "x" * 161, 2),
        ("\u0105" * 70, "\u0105" * 70, 1),
        ("\u0105" * 71, "\u0105" * 71, 2),
        ("a\u0328", "\u0105", 1),
        ("\U0001f600" * 35, "\U0001f600" * 35, 1),
        ("\U0001f600" * 36, "\U0001f600" * 36, 2),
        # 67 units hold 33 of them: none is cut in two.
        ("\U0001f600" * 67, "\U0001f600" * 67, 3),
    ],
)
def test_a_text_that_gsm_7_cannot_carry_goes_out_in_ucs_2_where_the_gateway_has_it(
    text: str, spelled: str, segments: int
) -> None:
    message = composer(UnicodeGateway).compose(text, "27825550101")
    assert (message.text, message.max_segments) == (spelled, segments)


def test_a_text_too_long_for_its_alphabet_is_refused_in_its_units() -> None:
    with pytest.raises(InvalidMessage, match="269 code units in 5 segments; WinSMS sends at most 268 in 4"):
        composer(UnicodeGateway).compose("\u0105" * 269, "27825550101")
    with pytest.raises(InvalidMessage, match=r"70 code units, or 67 of several"):
        composer(UnicodeGateway).compose("\u0105" * 71, "27825550101", max_segments=1)
    with pytest.raises(InvalidMessage, match="half of a character"):
        Ucs2(1).spell("\ud83d")
    with pytest.raises(InvalidMessage, match=r"U\+D83D"):
        composer(UnicodeGateway).compose("\ud83d \u0105", "27825550101")


def test_a_gateway_with_gsm_7_alone_spells_plainly() -> None:
    assert composer(WinSMSGateway).compose("\u0105", "27825550101").text == "a"


@pytest.mark.parametrize("alphabet", [Gsm7(1), Ucs2(1)])
def test_an_alphabet_of_one_segment_holds_one(alphabet: Alphabet) -> None:
    assert alphabet.units == alphabet.single


@pytest.mark.parametrize("spelt", ["+48 512 345 678", "48512345678", "0048512345678"])
def test_a_country_without_a_trunk_prefix_reads_its_numbers(spelt: str) -> None:
    assert composer(PolishGateway).compose("Hi", spelt).recipients[0].number == "48512345678"


def test_a_0_before_a_number_is_no_trunk_prefix_where_there_is_none() -> None:
    with pytest.raises(InvalidMessage, match="not a phone number"):
        composer(PolishGateway).compose("Hi", "0512345678")


@pytest.mark.parametrize(
    ("spelt", "read"), [("(202) 555-0123", "12025550123"), ("1-202-555-0123", "12025550123")]
)
def test_another_trunk_prefix_is_replaced(spelt: str, read: str) -> None:
    assert NumberReader("1", trunk_prefix="1").read(spelt) == read
