"""The log of a send: how far a long one is, and how it ended, in words and counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.runtime import PROGRESS_SECONDS
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
