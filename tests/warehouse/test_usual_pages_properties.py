"""A page of the usual shape is read fast, to the same result as if it were read with care."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import fields, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import SmsError
from airflow_provider_winsms.gateways.endpoint import Endpoint
from airflow_provider_winsms.gateways.responses import Answer, read_answer
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.gateways.winsms.times import parse_instant, parse_time
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.messages import Columns, IncomingMessage, Page
from airflow_provider_winsms.sql.dialects import DIALECTS, BulkMethod
from airflow_provider_winsms.sql.values import utc
from airflow_provider_winsms.warehouse.datasets import INCOMING, LoadRun
from airflow_provider_winsms.warehouse.mapping import PrivacyPolicy, RowMapper

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Call
    from airflow_provider_winsms.options import LoadedPrivacy, LoadedText
    from airflow_provider_winsms.sql.value_rows import Statements

ZONES = [
    "Africa/Johannesburg",
    "Europe/Berlin",
    "Asia/Kolkata",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Africa/Monrovia",
    "Pacific/Apia",
    "UTC",
]
KEYS = {"incoming": "incomingMessages", "short_code": "shortcodeMessages"}
LOAD = LoadRun(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), "run\t1", "credits")
DATE_AND_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(?=\d\d:\d\d:\d\d\+00:00)")
HASHES = KeyedHash("seeded-for-tests")

MINUTES = st.one_of(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001 - the zone is the gateway's
    st.datetimes(datetime(2025, 3, 29, 22), datetime(2025, 3, 30, 5)),  # noqa: DTZ001
    st.datetimes(datetime(2025, 10, 25, 22), datetime(2025, 10, 26, 5)),  # noqa: DTZ001
    st.datetimes(datetime(2007, 11, 3, 22), datetime(2007, 11, 4, 5)),  # noqa: DTZ001
    st.datetimes(datetime(2011, 12, 29), datetime(2012, 1, 1)),  # noqa: DTZ001
).map(lambda moment: f"{moment.year:04}{moment:%m%d%H%M}")
ODD_TIMES = st.sampled_from(
    [
        "",
        "000000000000",
        "000101010000",
        "999912312359",
        "202601012400",
        "202601011260",
        "202602301200",
        "2026010112",
        "\u0662\u0660\u0662\u0666" + "01011234",
        "20260101123\u0664",
        " 20260101123",
        "soon",
    ]
)
TEXTS = st.text(st.characters(categories=None, exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "Yes",
        "a\tb\\c\nd\re",
        "\\.",
        "\\N",
        "\0",
        "Fine \U0001f44d",
        "m\u00f4re",
        "call 082 555 0101 now",
        '"',
        "x" * 200,
    ]
)
NUMBERS = st.sampled_from(
    [
        "27825550101",
        "27825550102",
        "0825550101",
        "+27 82 555 0101",
        "27012345678",
        "27825550101\n27825550102",
        "",
        "Vodacom",
        "4915112345678",
        "9" * 120,
    ]
)
IDS = st.integers(0, 2**63 - 1) | st.integers(5_000_000_000, 5_000_000_009)


def usual_rows() -> st.SearchStrategy[dict[str, Any]]:
    """Return rows as either document has them: with nulls and texts, or without keys and with numbers."""
    times = MINUTES | ODD_TIMES
    with_nulls = {
        "incomingApiMessageId": IDS,
        "mobileNumber": NUMBERS | st.none(),
        "receiveTime": times | st.none(),
        "messageText": TEXTS | st.none(),
        "outgoingApiMessageId": IDS | st.none(),
    }
    numbers = {
        "mobileNumber": NUMBERS | st.integers(-(10**25), 10**25),
        "receiveTime": MINUTES.map(int),
        "messageText": TEXTS | st.integers(),
        "outgoingApiMessageId": IDS,
    }
    return st.fixed_dictionaries(with_nulls) | st.fixed_dictionaries(
        {"incomingApiMessageId": IDS}, optional=numbers
    )


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(categories=None), max_size=5),
    st.sampled_from(
        [10**400, -1, 2**63, 2**64, "5000000000", " 7.0 ", "1e3", 1.0, 5e9, [], {}, [[]], {"a": [1]}]
    ),
)
ROW_KEYS = [
    "incomingApiMessageId",
    "mobileNumber",
    "receiveTime",
    "messageText",
    "outgoingApiMessageId",
    "anything",
]


@st.composite
def odd_rows(draw: st.DrawFn) -> Any:
    """Return a row with a strange value, or without an id, or something that is no row."""
    row = draw(usual_rows())
    if not draw(st.integers(0, 4)):
        return draw(SCALARS)
    if not draw(st.integers(0, 4)):
        return {key: value for key, value in row.items() if key != "incomingApiMessageId"}
    return {**row, draw(st.sampled_from(ROW_KEYS)): draw(SCALARS)}


@st.composite
def documents(draw: st.DrawFn, key: str, *, odd: bool = False) -> dict[str, Any]:
    rows: Any = draw(st.lists(usual_rows() | odd_rows() if odd else usual_rows(), max_size=5))
    counts = st.none() | st.integers(0, 10**6)
    stated = {
        "timeStamp": st.just("20260101120000000"),
        "statusCode": st.just(200),
        "resultsOffset": counts | SCALARS if odd else counts,
        "resultsTotalAvailable": counts | SCALARS if odd else counts,
    }
    document = {**draw(st.fixed_dictionaries({}, optional=stated)), key: rows}
    if odd and not draw(st.integers(0, 3)):
        document[draw(st.sampled_from([key, "anything"]))] = draw(SCALARS | st.just(rows))
    names = draw(st.permutations(sorted(document)))
    return {name: document[name] for name in names}


ODD_BYTES = [
    *(
        b"\xff",
        b"\xed\xa0\x80",
        b"\x00",
        b"\x7f",
        b"\\ud800",
        b"\\udc00",
        b"\\u00e9",
        b"\\u0000",
        b"\\x",
        b"\\/",
    ),
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"0", b"-", b".5", b"e3", b"E+400", b"9" * 30),
    *(b"NaN", b"-Infinity", b"true", b"null", b"9" * 5000, b"[" * 300),
    *(b'"messageText":1,', b'"incomingApiMessageId":7,', b'"x":"\xff",'),
]
"""Bytes that make a document another one, or none."""


@st.composite
def bodies(draw: st.DrawFn, key: str) -> bytes:
    """Return an answer, perhaps with a few bytes that are not as ``json`` would write them."""
    document = draw(documents(key, odd=draw(st.booleans())))
    text = json.dumps(document, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    body = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) * draw(st.booleans()) + text.encode(
        "utf-8", "surrogatepass"
    )
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, len(body)))
        odd = draw(st.sampled_from(ODD_BYTES))
        body = body[:at] + odd + body[at + draw(st.integers(0, 2)) :]
    return body


def endpoint(gateway: WinSMSGateway) -> Endpoint:
    return Endpoint("winsms_default", gateway, "https://gateway.example", "no-secret")


def call_of(kind: str, zone: str = ZONES[0], limit: int = 4) -> tuple[Call[Page[IncomingMessage]], Endpoint]:
    gateway = WinSMSGateway(time_zone=zone, country_code="27")
    call: Call[Page[IncomingMessage]] = getattr(gateway, kind)(3, limit)
    return call, endpoint(gateway)


def read(call: Call[Page[IncomingMessage]], body: bytes, where: Endpoint) -> Page[IncomingMessage] | str:
    """Return the page, or the error in words."""
    try:
        return read_answer(call, Answer(200, {}, body), where)
    except SmsError as error:
        return repr(error)


def shown(page: Page[IncomingMessage] | str) -> Any:
    """Return everything in a page, with the types of all values. NaN equals NaN."""
    if isinstance(page, str):
        return page
    rows = [[repr(getattr(row, field.name)) for field in fields(row)] for row in page.rows]
    return page.offset, page.total, page.unreadable_at, page.length, rows


PRIVACY: list[tuple[LoadedPrivacy, LoadedText]] = [
    ("none", "keep"),
    ("none", "drop"),
    ("none", "redact_numbers"),
    ("keyed_hash", "keep"),
]


def chunks(page: Page[IncomingMessage] | str) -> list[Any]:
    """Return what each kind of database gets of a page."""
    if isinstance(page, str):
        return []
    found = []
    for kind, dialect in DIALECTS.items():
        for privacy, text in PRIVACY:
            database: Any = SimpleNamespace(dialect=dialect)
            dataset = INCOMING if text != "keep" or privacy != "none" else INCOMING.with_raw()
            assert isinstance(page.rows, Columns)
            chunk = RowMapper(dataset, LOAD, database, PrivacyPolicy(privacy, text, HASHES)).chunk(page.rows)
            content = chunk.encoded.content
            if dialect.bulk is BulkMethod.VALUES:
                content = in_sqlite(len(dataset.columns), content)
            # PostgreSQL takes either separator of a date and a time.
            content = DATE_AND_TIME.sub(r"\1 ", repr(content))
            found.append((kind, chunk.encoded.length, content, list(chunk.keys)))
    return found


def in_sqlite(width: int, statements: Statements) -> list[Any]:
    """Return the rows that statements insert. A value may be shared by them or not."""
    names = ", ".join(f"c{index}" for index in range(width))
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"CREATE TABLE t ({names})")
        for places, values in statements:
            database.executemany(f"INSERT INTO t VALUES {places}", values)  # noqa: S608 - ours
        return database.execute("SELECT * FROM t ORDER BY rowid").fetchall()


@pytest.mark.parametrize("kind", KEYS)
@settings(max_examples=150, deadline=None)
@given(data=st.data(), zone=st.sampled_from(ZONES), limit=st.integers(1, 6))
def test_a_page_is_read_fast_to_the_result_of_reading_it_with_care(
    kind: str, data: st.DataObject, zone: str, limit: int
) -> None:
    body = data.draw(bodies(KEYS[kind]))
    call, where = call_of(kind, zone, limit)
    fast, careful = read(call, body, where), read(replace(call, read=None), body, where)
    assert chunks(fast) == chunks(careful)
    assert shown(fast) == shown(careful)


@pytest.mark.parametrize(
    "body",
    [
        b'{"incomingMessages": [{"incomingApiMessageId": 1}], "resultsTotalAvailable": 1, "any": "\xff"}',
        b'{"incomingMessages": [{"incomingApiMessageId": 1, "\xff": 1}], "resultsTotalAvailable": 1}',
        b'{"incomingMessages": [{"incomingApiMessageId": 1, "incomingApiMessageId": 2}, {}]}',
        b'{"incomingMessages": [{"incomingApiMessageId": 1, "mobileNumber": "27825550101\\n27825550102"}]}',
        b'{"incomingMessages": [{"incomingApiMessageId": 1.0, "receiveTime": 2026.0, "messageText": 1e3}]}',
        b'{"incomingMessages": [{"incomingApiMessageId": -0, "messageText": 12345678901234567890123}]}',
        b'{"incomingMessages": [{"incomingApiMessageId": 9223372036854775808}, {"incomingApiMessageId": 1}]}',
        b'{"incomingMessages": [{"incomingApiMessageId": 1, "messageText": "\\ud83d"}]}',
        b'{"incomingMessages": [{"incomingApiMessageId": 1, "messageText": "\\ud83d\\udc4d"}]}',
        b'{"incomingMessages": [], "incomingMessages": [{"incomingApiMessageId": 1, "messageText": true}]}',
        b'{"incomingMessages": [1, null, {"incomingApiMessageId": "7"}], "resultsOffset": "4"}',
        b'{"incomingMessages": [{"incomingApiMessageId": 1, "anything": [[NaN, -Infinity, 1e999]]}]}',
        b'\xef\xbb\xbf{"incomingMessages": [{"incomingApiMessageId": 1}]}',
        '{"incomingMessages": [{"incomingApiMessageId": 1}]}'.encode("utf-16"),
        b'{"shortcodeMessages": [{"incomingApiMessageId": 1}]}',
        b'{"incomingMessages": null}',
        b"[]",
        b"",
    ],
)
def test_an_answer_with_something_odd_is_read_with_care(body: bytes) -> None:
    call, where = call_of("incoming")
    fast, careful = read(call, body, where), read(replace(call, read=None), body, where)
    assert chunks(fast) == chunks(careful)
    assert shown(fast) == shown(careful)


@pytest.mark.parametrize("kind", KEYS)
@settings(max_examples=100, deadline=None)
@given(data=st.data(), ascii_only=st.booleans())
def test_a_usual_page_of_either_document_is_read_fast(
    kind: str, data: st.DataObject, ascii_only: bool
) -> None:
    document = {**data.draw(documents(KEYS[kind])), "resultsTotalAvailable": 10}
    call, _ = call_of(kind)
    assert call.read is not None
    call.read(json.dumps(document, ensure_ascii=ascii_only).encode())


@settings(max_examples=500, deadline=None)
@given(digits=MINUTES | ODD_TIMES, zone=st.sampled_from(ZONES))
def test_an_instant_is_that_of_the_time(digits: str, zone: str) -> None:
    time = parse_time(digits, zone)
    assert parse_instant(digits, zone) == (time and utc(time).isoformat())


def test_an_instant_where_clocks_change_is_that_of_the_time() -> None:
    for zone in ZONES:
        for day in ("20250330", "20251026", "20071104", "20111230", "20250406", "19720101", "00010101"):
            for minute in range(0, 1440, 7):
                digits = f"{day}{minute // 60:02}{minute % 60:02}"
                time = parse_time(digits, zone)
                assert parse_instant(digits, zone) == (time and utc(time).isoformat())
