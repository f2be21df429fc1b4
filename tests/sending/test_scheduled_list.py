"""What the list of scheduled texts proves: whose row is in it, and whose is not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.gateways.base import Response
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.sending.scheduled_list import ExpectedText, RowMatcher, read_scheduled, reconcile
from tests.machine.gateway import SmallGateway

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Call

SMALL = SmallGateway(time_zone="Africa/Johannesburg", country_code="27")
TWENTY = SmallGateway(time_zone="Africa/Johannesburg", country_code="27")
TWENTY.limits = replace(SmallGateway.limits, page_rows=20)  # type: ignore[misc] # of this one only
BERLIN = WinSMSGateway(time_zone="Europe/Berlin", country_code="49")
ANN, BEN = "27825550101", "27825550102"
CLAIMED = pendulum.datetime(2026, 3, 2, 13, 0, 20)
DUE = pendulum.datetime(2026, 3, 2, 15, 30)
ROW = {
    "apiMessageId": 7,
    "mobileNumber": ANN,
    "submitTime": "202603021500",
    "scheduledSendTime": "202603021730",
    "creditCost": 1,
}


# Whether a reading of the list is complete.


class MovingList:
    """A list of ids that changes before each page is read.

    :param traffic: what happens, page by page.
    """

    def __init__(self, ids: Iterable[int], traffic: Iterable[Iterable[tuple[str, int]]]) -> None:
        self.ids = list(ids)
        self._traffic = iter(traffic)
        self._next_id = max(self.ids, default=0) + 1
        self.stayed: set[int] | None = None
        self.pages = 0

    def execute(self, call: Call[Any], *_: Any) -> Any:
        """Answer as the gateway does."""
        for act, place in next(self._traffic, ()):
            self._happen(act, place)
        if self.stayed is None:
            self.stayed = set(self.ids)
        self.pages += 1
        offset, limit = int(call.query["offset"]), int(call.query["limit"])
        rows = [{**ROW, "apiMessageId": key} for key in self.ids[offset : offset + limit]]
        return call.parse(Response({"scheduledMessages": rows, "resultsTotalAvailable": len(self.ids)}))

    def _happen(self, act: str, place: int) -> None:
        if act == "leaves" and self.ids:
            left = self.ids.pop(place % len(self.ids))
            self.stayed = None if self.stayed is None else self.stayed - {left}
        elif act != "leaves":
            at = {"first": 0, "last": len(self.ids), "between": place % (len(self.ids) + 1)}[act]
            self.ids.insert(at, self._next_id)
            self._next_id += 1

    def read(self) -> tuple[set[int], bool]:
        """Return the ids that were read, and whether the reading counts as complete."""
        rows, is_complete = read_scheduled(self.execute, SMALL)
        return {int(row.message_id) for row in rows}, is_complete


def test_one_in_and_one_out_between_two_pages_hides_no_row() -> None:
    newest_first = range(8, 0, -1)
    moving = MovingList(newest_first, [[], [], [("first", 0), ("leaves", 8)]])
    read, is_complete = moving.read()
    assert is_complete
    assert moving.stayed is not None
    assert moving.stayed <= read


def test_a_list_whose_ids_are_seen_at_one_page_only_is_not_whole() -> None:
    jumbled = [3, 1, 2, 4, 8, 6, 7, 5]
    moving = MovingList(jumbled, [[("first", 0), ("leaves", 8)]] * 30)
    assert not moving.read()[1]


@pytest.mark.parametrize("size", [0, 1, 4, 5, 8, 9, 40])
@pytest.mark.parametrize("step", [1, -1, 7])
def test_a_list_that_holds_still_is_whole_in_any_order(size: int, step: int) -> None:
    ids = [1 + place * step % 41 for place in range(size)]
    assert MovingList(ids, ()).read() == (set(ids), True)


@pytest.mark.parametrize("act", ["first", "last"], ids=["newest first", "newest last"])
@pytest.mark.parametrize("leaving", [0, 1])
def test_a_busy_list_in_order_is_whole_at_once(act: str, leaving: int) -> None:
    ids = range(100, 0, -1) if act == "first" else range(1, 101)
    moving = MovingList(ids, [[], *[[(act, 0)], [("leaves", 3)] * leaving] * 10])
    assert read_scheduled(moving.execute, TWENTY)[1]
    assert moving.pages == 1 + 6


@pytest.mark.parametrize(
    "rows", [[ROW], [ROW, ROW], []], ids=["one row where two are said to be", "a row twice", "no row"]
)
def test_fewer_rows_than_the_total_says_are_not_whole(rows: list[dict[str, Any]]) -> None:
    answer = {"scheduledMessages": rows, "resultsTotalAvailable": 2}
    assert not read_scheduled(lambda call, *_: call.parse(Response(answer)), SMALL)[1]


# Which recipients a row may belong to.


def fate_of(*rows: dict[str, Any]) -> str:
    """Return what a reading proves of the only recipient."""
    answer = {"scheduledMessages": list(rows), "resultsTotalAvailable": len(rows)}
    listed, is_complete = read_scheduled(lambda call, *_: call.parse(Response(answer)), SMALL)
    expected = {0: ExpectedText(ANN, DUE)}
    found = RowMatcher(expected.values(), CLAIMED).match(listed)
    result = reconcile(expected, found, is_complete=is_complete, still_open=expected, conflicts=())
    return "accepted" if 0 in result.adopted else "absent" if 0 in result.absent else "in doubt"


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name != field}


@pytest.mark.parametrize(
    ("row", "fate"),
    [
        (ROW, "accepted"),
        *((without(field), "in doubt") for field in ("mobileNumber", "submitTime", "scheduledSendTime")),
        *(
            ({**ROW, field: value}, "in doubt")
            for field in ("submitTime", "scheduledSendTime")
            for value in (
                None,
                "",
                "n/a",
                "20260302",
                "202613991299",
                "2026-03-02T15:00",
                0,
                "20260302150000",
            )
        ),
        *(
            ({**ROW, "mobileNumber": value}, "accepted")
            for value in (f"+{ANN}", "0825550101", "082 555 0101", f"00{ANN}", f" {ANN} ", f"{ANN}.0")
        ),
        *(({**ROW, "mobileNumber": value}, "accepted") for value in ("+27 (0)82-555-0101", "\u202a" + ANN)),
        *(
            ({**ROW, "mobileNumber": value}, "in doubt")
            for value in (None, "", "2.78255501E+10", "27******101", f"{ANN} x", "825550101 or so")
        ),
        ({**ROW, "creditCost": "n/a"}, "accepted"),
        ({**ROW, "mobileNumber": int(ANN)}, "accepted"),
        ({**ROW, "scheduledSendTime": 202603021730, "submitTime": 202603021500}, "accepted"),
        ({**ROW, "mobileNumber": BEN}, "absent"),
        ({**ROW, "mobileNumber": f"+{BEN}"}, "absent"),
        ({**ROW, "mobileNumber": "082 555 0102"}, "absent"),
        ({**ROW, "mobileNumber": None, "scheduledSendTime": "202603021731"}, "absent"),
        ({**ROW, "mobileNumber": None, "submitTime": "202603021400"}, "absent"),
        ({**ROW, "scheduledSendTime": "202603021731"}, "absent"),
        ({**ROW, "scheduledSendTime": None, "mobileNumber": BEN}, "absent"),
        ({**ROW, "submitTime": "202603021459"}, "accepted"),
        ({**ROW, "submitTime": "202603021458"}, "in doubt"),
        ({**ROW, "submitTime": "202603021457"}, "in doubt"),
        ({**ROW, "submitTime": "202603021456"}, "absent"),
    ],
    ids=str,
)
def test_a_row_that_cannot_be_excluded_keeps_its_recipient_in_doubt(row: dict[str, Any], fate: str) -> None:
    assert fate_of(row) == fate


@pytest.mark.parametrize("field", ["mobileNumber", "submitTime", "scheduledSendTime"])
def test_a_row_that_fits_is_taken_though_another_cannot_be_read(field: str) -> None:
    assert fate_of(ROW, {**without(field), "apiMessageId": 8}) == "accepted"


# Times that come twice when clocks go back.

BEGIN = pendulum.datetime(2026, 10, 25, 0, 0)  # 2:00 in Berlin, as it comes first
TWICE = [BEGIN.add(minutes=minutes) for minutes in (0, 1, 30, 59, 60, 90, 119)]


def row_in_berlin(due: str, submitted: str = "202610241200") -> Any:
    answer = {"scheduledMessages": [{**ROW, "scheduledSendTime": due, "submitTime": submitted}]}
    return BERLIN.scheduled(0, 10).parse(Response(answer)).rows[0]


@pytest.mark.parametrize("hour", [0, 1], ids=["the first time", "the second time"])
@pytest.mark.parametrize("minute", [0, 1, 30, 59])
def test_a_row_of_the_hour_that_comes_twice_may_be_due_at_either_instant(minute: int, hour: int) -> None:
    claimed = pendulum.datetime(2026, 10, 24, 10)
    target = ExpectedText(ANN, BEGIN.add(hours=hour, minutes=minute))
    row = row_in_berlin(f"2026102502{minute:02d}")
    assert RowMatcher([target], claimed).match([row]).certain == {target: [row]}


def test_a_row_of_that_hour_is_nobodys_for_sure_who_has_a_text_at_both_instants() -> None:
    expected = {ExpectedText(ANN, BEGIN), ExpectedText(ANN, BEGIN.add(hours=1))}
    found = RowMatcher(expected, pendulum.datetime(2026, 10, 24, 10)).match([row_in_berlin("202610250200")])
    assert (dict(found.certain), found.possible) == ({}, expected)


@pytest.mark.parametrize("hour", [0, 1], ids=["the first time", "the second time"])
def test_a_row_that_was_submitted_in_that_hour_may_be_of_either(hour: int) -> None:
    target, claimed = ExpectedText(ANN, BEGIN.add(hours=5)), BEGIN.add(hours=hour, minutes=30)
    row = row_in_berlin("202610250600", "202610250230")
    assert RowMatcher([target], claimed).match([row]).certain == {target: [row]}


@pytest.mark.parametrize("send_at", TWICE, ids=str)
def test_no_text_is_scheduled_for_a_minute_that_comes_twice(send_at: DateTime) -> None:
    after = pendulum.datetime(2026, 10, 25, 2)
    assert BERLIN.first_possible_time(send_at) == after
    assert BERLIN.first_possible_time(send_at.in_timezone("Europe/Berlin")) == after
