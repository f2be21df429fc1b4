"""Retries whose list is another one: who is gone, new or changed, in another order.

A letter is a person, and the text to that person; a capital is another text. Two letters make a request.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.prove.crash.cells import LETTERS, Case
from tests.prove.crash.judge import judge
from tests.prove.crash.points import Blow, Moment, Point

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.prove.crash.cells import Cell
    from tests.prove.crash.judge import Verdict
    from tests.prove.crash.table import Record

    NewCell = Callable[[Case], AbstractContextManager[Cell]]

pytestmark = pytest.mark.crash

AT_MOST_ONCE, EXACTLY_ONCE, AT_LEAST_ONCE = GUARANTEES = ("at_most_once", "exactly_once", "at_least_once")
LEDGERS = ("state", "sqlite", "postgres")


def changed(guarantee: str, ledger: str, point: Point, blow: Blow, *lists: str, **values: Any) -> Case:
    return Case(guarantee, ledger, point, blow, is_batch=True, people=len(LETTERS), lists=lists, **values)


def case_id(value: Any) -> str | None:
    return value.id if isinstance(value, Case) else None


def judged(cell: Cell, texts: str, unknown: int, *, ledger_knows_more: bool = False) -> Verdict:
    """Hold a cell against its promise, and against the texts that go out in the end."""
    verdict = judge(cell, ledger_knows_more=ledger_knows_more)
    assert cell.letters == sorted(texts)
    assert verdict.unknown == unknown
    return verdict


# A worker that dies with the second of three requests: ab, cd, ef.

BEFORE_CLAIM = Point("claim", Moment.BEFORE_COMMIT, 2)
CLAIMED = Point("claim", Moment.AFTER_COMMIT, 2)
HALF_SENT = Point("send", Moment.HALF_SENT, 2)
ACCEPTED = Point("send", Moment.NO_ANSWER, 2)
ANSWERED = Point("record", Moment.BEFORE_COMMIT, 2)
RECORDED = Point("record", Moment.AFTER_COMMIT, 2)

NOBODY_CLAIMED, ALL_KNOWN = ("abCdeg", 0), ("abcdeg", 0)
NOT_REACHED = {AT_MOST_ONCE: ("abeg", 2), EXACTLY_ONCE: ("abdeg", 1), AT_LEAST_ONCE: ("abdeg", 0)}
REACHED = {AT_MOST_ONCE: ("abcdeg", 2), EXACTLY_ONCE: ("abcdeg", 1), AT_LEAST_ONCE: ("abcddeg", 0)}

IN_THE_END: dict[Point, dict[str, tuple[str, int]]] = {
    BEFORE_CLAIM: dict.fromkeys(GUARANTEES, NOBODY_CLAIMED),
    CLAIMED: NOT_REACHED,
    HALF_SENT: NOT_REACHED,
    ACCEPTED: REACHED,
    ANSWERED: REACHED,
    RECORDED: dict.fromkeys(GUARANTEES, ALL_KNOWN),
}
"""The texts that go out, and how many recipients stay unknown, if the retry is to send ``gedCa``."""

ONE_RETRY = [
    changed(guarantee, ledger, point, Blow.KILL, "abcdef", "gedCa")
    for guarantee, ledgers in (
        (EXACTLY_ONCE, LEDGERS),
        (AT_MOST_ONCE, ("state",)),
        (AT_LEAST_ONCE, ("sqlite",)),
    )
    for point, ledger in product(IN_THE_END, ledgers)
]


@pytest.mark.parametrize("case", ONE_RETRY, ids=case_id)
def test_a_retry_with_another_list_sends_the_rest_of_it_and_nobody_a_second_text(
    case: Case, new_cell: NewCell, table: Record
) -> None:
    with new_cell(case) as cell:
        cell.run()
        assert case.point is not None
        table.add(judged(cell, *IN_THE_END[case.point][case.guarantee]))


# A retry that dies with its own second request, which is the third sent: ab; ge, dC.

FIRST_RECORDED = Point("record", Moment.AFTER_COMMIT, 1)
TWO_RETRIES = [
    (
        changed(
            EXACTLY_ONCE,
            ledger,
            FIRST_RECORDED,
            Blow.KILL,
            "abcdef",
            "gedCa",
            "hfdca",
            dies_at=Point("send", moment, 3),
        ),
        texts,
    )
    for (moment, texts), ledger in product(
        ((Moment.HALF_SENT, "abdefgh"), (Moment.SENT, "abCdefgh"), (Moment.NO_ANSWER, "abCdefgh")),
        ("state", "postgres"),
    )
]


@pytest.mark.parametrize(("case", "texts"), TWO_RETRIES, ids=case_id)
def test_a_retry_that_dies_too_is_followed_by_one_with_a_third_list(
    case: Case, texts: str, new_cell: NewCell, table: Record
) -> None:
    with new_cell(case) as cell:
        cell.run_try(cell.order(is_struck=True))
        cell.run_try(cell.order())
        assert cell.proxy.has_struck
        cell.run_on()
        table.add(judged(cell, texts, unknown=1))


# A zombie with the old list: ab, cd, ef. The retry has other requests, and fewer.

ZOMBIES = [
    (changed(guarantee, ledger, point, Blow.STOP, "abcdef", "gCa"), texts, unknown)
    for (guarantee, point, texts, unknown), ledger in product(
        (
            (EXACTLY_ONCE, Point("claim", Moment.ABOUT, 2), "abCg", 0),
            (AT_MOST_ONCE, CLAIMED, "abg", 2),
        ),
        LEDGERS,
    )
]


@pytest.mark.parametrize(("case", "texts", "unknown"), ZOMBIES, ids=case_id)
def test_a_zombie_with_the_old_list_sends_nobody_a_text_after_the_retry(
    case: Case, texts: str, unknown: int, new_cell: NewCell, table: Record
) -> None:
    with new_cell(case) as cell:
        # Tables hold without a store: Airflow before 3.3 has none.
        cell.api.turns_away = case.ledger == "state"
        zombie = cell.zombie()
        cell.run_on()
        zombie.wake()
        zombie.run()
        assert zombie.ended is not None
        table.add(judged(cell, texts, unknown, ledger_knows_more=True))
