from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.gateways.base import Response
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.messages import Columns, IncomingMessage, OptOut, Recipient, ScheduledMessage

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Call

GATEWAY = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")


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
    ("call", "key", "kind"),
    [
        (GATEWAY.incoming(0, 10), "incomingMessages", IncomingMessage),
        (GATEWAY.short_code(0, 10), "shortcodeMessages", IncomingMessage),
        (GATEWAY.scheduled(0, 10), "scheduledMessages", ScheduledMessage),
        (GATEWAY.opt_outs(), "incomingOptoutMessages", OptOut),
    ],
)
def test_a_gateways_columns_are_the_fields_of_its_rows_in_their_order(
    call: Call[Any], key: str, kind: type
) -> None:
    row = {"incomingApiMessageId": 1, "apiMessageId": 1, "mobileNumber": "27", "receiveTime": "x"}
    read = call.parse(Response({key: [row]}))
    rows = getattr(read, "rows", read)
    names = [field.name for field in fields(kind)]
    assert all(map(rows.has, names))
    assert [getattr(rows[0], name) for name in names] == [rows.column(name)[0] for name in names]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("incoming", "incomingMessages"),
        ("short_code", "shortcodeMessages"),
        ("scheduled", "scheduledMessages"),
    ],
)
def test_listed_numbers_are_international_digits_and_what_is_none_stays(path: str, key: str) -> None:
    listed = ["+27825550101", "082 555 0101", 27825550101, "27825550101", "Vodacom", None]
    rows = [{"incomingApiMessageId": 1, "apiMessageId": 1, "mobileNumber": number} for number in listed]
    page = getattr(GATEWAY, path)(0, 10).parse(Response({key: rows}))
    assert list(page.rows.column("number")) == ["27825550101"] * 4 + ["Vodacom", ""]
    assert [row["mobileNumber"] for row in page.rows.column("raw")] == listed
