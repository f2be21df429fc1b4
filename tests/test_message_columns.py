from __future__ import annotations

from dataclasses import fields

import pytest

from airflow_provider_winsms.gateways.base import Response
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.messages import Columns, IncomingMessage, OptOut, Recipient, ScheduledMessage


@pytest.fixture
def rows() -> Columns[Recipient]:
    return Columns(Recipient, {"number": ["1", "2", "3"], "reference": [None, "b", "c"]})


def test_columns_are_read_as_rows(rows: Columns[Recipient]) -> None:
    assert list(rows) == [Recipient("1"), Recipient("2", "b"), Recipient("3", "c")]
    assert (len(rows), rows[1], rows[-1]) == (3, Recipient("2", "b"), Recipient("3", "c"))
    with pytest.raises(IndexError):
        rows[3]


def test_a_part_of_them_is_columns_too(rows: Columns[Recipient]) -> None:
    assert list(rows[1:].column("number")) == ["2", "3"]
    assert rows.take([2, 0]) == (Recipient("3", "c"), Recipient("1"))
    assert rows[:0] == ()


def test_they_equal_rows_that_are_the_same(rows: Columns[Recipient]) -> None:
    assert rows == [Recipient("1"), Recipient("2", "b"), Recipient("3", "c")]
    assert rows != rows[1:]
    assert rows != "123"


def test_they_know_their_names(rows: Columns[Recipient]) -> None:
    assert (rows.has("number"), rows.has("text")) == (True, False)


@pytest.mark.parametrize(
    ("path", "key", "kind"),
    [
        ("incoming", "incomingMessages", IncomingMessage),
        ("short_code", "shortcodeMessages", IncomingMessage),
        ("scheduled", "scheduledMessages", ScheduledMessage),
    ],
)
def test_a_gateways_columns_are_the_fields_of_its_rows_in_their_order(
    path: str, key: str, kind: type
) -> None:
    gateway = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")
    row = {"incomingApiMessageId": 1, "apiMessageId": 1}
    page = getattr(gateway, path)(0, 10).parse(Response({key: [row]}))
    assert all(page.rows.has(field.name) for field in fields(kind))
    assert [getattr(page.rows[0], field.name) for field in fields(kind)] == [
        page.rows.column(field.name)[0] for field in fields(kind)
    ]


def test_so_are_those_of_opt_outs() -> None:
    gateway = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")
    row = {"mobileNumber": "27", "receiveTime": "x"}
    rows = gateway.opt_outs().parse(Response({"incomingOptoutMessages": [row]}))
    assert [getattr(rows[0], field.name) for field in fields(OptOut)] == [
        rows.column(field.name)[0] for field in fields(OptOut)
    ]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("incoming", "incomingMessages"),
        ("short_code", "shortcodeMessages"),
        ("scheduled", "scheduledMessages"),
    ],
)
def test_listed_numbers_are_international_digits_and_what_is_none_stays(path: str, key: str) -> None:
    gateway = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")
    listed = ["+27825550101", "082 555 0101", 27825550101, "27825550101", "Vodacom", None]
    rows = [{"incomingApiMessageId": 1, "apiMessageId": 1, "mobileNumber": number} for number in listed]
    page = getattr(gateway, path)(0, 10).parse(Response({key: rows}))
    assert list(page.rows.column("number")) == ["27825550101"] * 4 + ["Vodacom", ""]
    assert [row["mobileNumber"] for row in page.rows.column("raw")] == listed
