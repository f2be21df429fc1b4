"""The log of a send: how far a long one is, and how it ended, in words and counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.runtime import PROGRESS_SECONDS, FoldedLines
from tests.support.send_world import ANN, MANY, die

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld

OPTED_OUT = "27000000006"
pytestmark = pytest.mark.usefixtures("ten_a_request")


def each_takes(world: SendWorld, seconds: float, requests: int) -> None:
    """Let the answer of each of the next requests take some seconds of the sandbox's time."""
    for number in range(world.sends + 1, world.sends + requests + 1):
        world.after[number] = lambda: world.sandbox.advance(seconds)


def lines(capsys: pytest.CaptureFixture[str], wanted: str) -> list[str]:
    """Return what the log says from a pattern on, line by line."""
    found = (re.search(wanted, line) for line in capsys.readouterr().out.splitlines())
    return [re.sub(r"\x1b\[[0-9;]*m.*|\s+\[.*", "", hit[0]) for hit in found if hit]


def progress(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return lines(capsys, r"\d+ of \d+ requests done.*")


def grouped(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of a send, from its first request on, with the marks of its groups."""
    marks = r"::group::Request.*|::endgroup::|Request \d+.*: \d+ of.*|\d+ of \d+ (?:accepted|requests).*"
    found = lines(capsys, f"{marks}|Those that follow.*|Resum.*")
    first = next((place for place, line in enumerate(found) if "::group::Request" in line), len(found))
    end = max((place for place, line in enumerate(found) if line.startswith("Request ")), default=first)
    return found[first : end + 3]


def closing(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return lines(capsys, r"\d+ of \d+ accepted.*, in \d+ requests?; .*")


def test_a_short_send_logs_no_progress(world: SendWorld, capsys: pytest.CaptureFixture[str]) -> None:
    each_takes(world, PROGRESS_SECONDS / 4, 3)
    assert world.run(to=MANY[:30]) is None
    assert progress(capsys) == []


def test_a_long_send_says_every_few_seconds_how_far_it_is_and_how_long_it_takes(
    world: SendWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    each_takes(world, 3, 100)
    assert world.run(to=MANY[:60]) is None
    assert progress(capsys) == [
        "2 of 6 requests done; 20 of 60 accepted; about 12 seconds left.",
        "4 of 6 requests done; 40 of 60 accepted; about 6 seconds left.",
    ]


def test_declined_recipients_are_counted_on_the_way(
    world: SendWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    each_takes(world, 60, 3)
    assert world.run(to=[OPTED_OUT, *MANY[:29]]) is None
    assert progress(capsys) == [
        "1 of 3 requests done; 9 of 30 accepted, 1 declined (opted_out); about 2 minutes left.",
        "2 of 3 requests done; 19 of 30 accepted, 1 declined (opted_out); about 60 seconds left.",
    ]


def test_requests_of_an_earlier_try_are_counted_apart_and_say_nothing_about_the_pace(
    world: SendWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.waiting[4] = die
    world.run(to=MANY[:80])
    capsys.readouterr()
    each_takes(world, 10, 100)
    assert world.run(to=MANY[:80]) is None
    said = progress(capsys)
    assert said[0] == (
        "4 of 8 requests done (3 read from the ledger); 40 of 80 accepted; about 40 seconds left."
    )
    assert len(said) == 4


def test_progress_names_no_number(world: SendWorld, capsys: pytest.CaptureFixture[str]) -> None:
    each_takes(world, 6, 3)
    assert world.run(to=MANY[:30]) is None
    said = capsys.readouterr().out
    assert "requests done" in said
    assert not any(number in said for number in MANY[:30])


def test_the_last_line_says_in_words_how_a_send_ended(
    world: SendWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.run(to=[ANN, MANY[0], OPTED_OUT]) is None
    assert closing(capsys) == [
        "2 of 3 accepted, 1 declined (opted_out), in 1 request; 2.0 credits charged, 9998.0 left."
    ]


def test_the_last_line_counts_each_reason_and_who_was_not_tried(
    world: SendWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.sandbox.set_account(credit_balance=12)
    assert world.run(to=[OPTED_OUT, *MANY[:29]]) is not None
    (line,) = closing(capsys)
    assert line == (
        "12 of 30 accepted, 8 declined (7 no_credits, 1 opted_out), 10 not tried, in 2 requests; "
        "12.0 credits charged, 0.0 left."
    )


def test_each_request_has_a_line_in_a_folded_group(
    world: SendWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.run(to=[OPTED_OUT, *MANY[:24]]) is None
    assert grouped(capsys) == [
        "::group::Requests 1 to 3",
        "Request 1 submitted: 9 of 10 accepted, 1 declined.",
        "Request 2 submitted: 10 of 10 accepted.",
        "Request 3 submitted: 5 of 5 accepted.",
        "::endgroup::",
        "24 of 25 accepted, 1 declined (opted_out), in 3 requests; 24.0 credits charged, 9976.0 left.",
    ]


def test_the_lines_about_all_requests_are_between_the_groups(
    world: SendWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    each_takes(world, 3, 3)
    assert world.run(to=MANY[:30]) is None
    assert grouped(capsys)[:8] == [
        "::group::Requests 1 to 2",
        "Request 1 submitted: 10 of 10 accepted.",
        "Request 2 submitted: 10 of 10 accepted.",
        "::endgroup::",
        "2 of 3 requests done; 20 of 30 accepted; about 3 seconds left.",
        "::group::Request 3",
        "Request 3 submitted: 10 of 10 accepted.",
        "::endgroup::",
    ]


@pytest.mark.parametrize("fault", ["429-too-many-requests", "lost-after-acceptance"])
def test_a_send_that_fails_in_the_middle_leaves_no_group_open(
    world: SendWorld, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    world.sandbox.add_fault(fault, operation="smsSend", skip=2, times=9, retry_after=3600)
    assert world.run(to=MANY[:60]) is not None
    found = grouped(capsys)
    assert found[1:3] == [f"Request {number} submitted: 10 of 10 accepted." for number in (1, 2)]
    assert found.index("::endgroup::") < next(
        place for place, line in enumerate(found) if "of 60 accepted" in line
    )


def test_a_send_that_dies_leaves_no_group_open(world: SendWorld, capsys: pytest.CaptureFixture[str]) -> None:
    world.waiting[3] = die
    world.run(to=MANY[:60])
    assert grouped(capsys)[:4] == [
        "::group::Requests 1 to 2",
        "Request 1 submitted: 10 of 10 accepted.",
        "Request 2 submitted: 10 of 10 accepted.",
        "::endgroup::",
    ]


def test_a_resumed_send_says_which_requests_it_found(
    world: SendWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world.waiting[2] = die
    world.run(to=MANY[:20])
    capsys.readouterr()
    assert world.run(to=MANY[:20]) is None
    written = capsys.readouterr().out
    assert "Resuming; no accepted text is sent again: 20 recipients in 2 requests" in written
    assert "Request 1 read from the ledger: 10 of 10 accepted." in written
    assert "Request 2 submitted: 10 of 10 accepted." in written


def test_very_many_lines_are_cut_short_once() -> None:
    written: list[str] = []

    class Log:
        def info(self, words: str, /, *values: object) -> None:
            written.append(words % values)

        debug = warning = exception = info

    details = FoldedLines(Log(), most=2)
    for group in ("first", "second", "third"):
        for place in range(2):
            details.add(f"{place} of 100% of the {group}")
        details.flush(f"The {group}")
    assert written == [
        "::group::The first",
        "0 of 100% of the first",
        "1 of 100% of the first",
        "Those that follow have no line of their own.",
        "::endgroup::",
    ]
