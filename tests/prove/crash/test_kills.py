from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.prove.crash.cells import (
    DECISION,
    LATE,
    LOOK_UP,
    SECOND_ROUND,
    Case,
    points_of_send,
)
from tests.prove.crash.judge import judge
from tests.prove.crash.points import Blow, Moment, Point

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.prove.crash.cells import Cell
    from tests.prove.crash.table import Record

    NewCell = Callable[[Case], AbstractContextManager[Cell]]

pytestmark = pytest.mark.crash

GUARANTEES = ("at_most_once", "exactly_once", "at_least_once")
LEDGERS = ("state", "sqlite", "postgres")
LOST, NEVER_ARRIVED = "lost-after-acceptance", "reset-before-acceptance"

ANYWHERE = [
    Case(guarantee, ledger, point, Blow.KILL, is_batch=is_batch)
    for is_batch, ledgers in ((False, LEDGERS), (True, ("state",)))
    for point, guarantee, ledger in product(points_of_send(1, 2, 3), GUARANTEES, ledgers)
]

RETRIED_LATE = [
    Case("exactly_once", ledger, point, Blow.KILL, delay=LATE)
    for point, ledger in product(points_of_send(1, 2, 3), ("state", "postgres"))
]

WHILE_IT_DECIDES = [
    Case(guarantee, ledger, point, Blow.KILL, fault, skip=1, is_scheduled=is_scheduled)
    for guarantee, is_scheduled, fault, points in (
        ("exactly_once", False, LOST, [*LOOK_UP, *DECISION, *SECOND_ROUND]),
        ("exactly_once", False, NEVER_ARRIVED, [*LOOK_UP, *DECISION, *SECOND_ROUND]),
        ("exactly_once", True, LOST, [*LOOK_UP, *DECISION]),
        ("at_least_once", False, LOST, [*DECISION, *SECOND_ROUND]),
        ("at_most_once", True, LOST, [*LOOK_UP, *DECISION]),
        ("at_most_once", True, NEVER_ARRIVED, LOOK_UP),
    )
    for point, ledger in product(points, LEDGERS)
]

FULL_SIZE = [
    Case(guarantee, ledger, Point("send", moment, 2), Blow.KILL, people=2100)
    for moment, guarantee, ledger in product(
        (Moment.HALF_SENT, Moment.HALF_ANSWERED), GUARANTEES, ("state", "sqlite")
    )
]


BY_A_RULE = [
    Case(guarantee, ledger, point, Blow.KILL, is_batch=is_batch, has_rule=True)
    for is_batch, point, guarantee, ledger in product(
        (False, True), points_of_send(1, 2), GUARANTEES, LEDGERS
    )
]


@pytest.mark.parametrize("case", BY_A_RULE, ids=lambda case: case.id)
def test_after_a_worker_died_a_retry_sends_as_the_rules_said_first(
    case: Case, new_cell: NewCell, table: Record
) -> None:
    with new_cell(case) as cell:
        cell.run()
        table.add(judge(cell))


@pytest.mark.parametrize("case", [*ANYWHERE, *RETRIED_LATE], ids=lambda case: case.id)
def test_a_worker_that_dies_leaves_what_was_promised(case: Case, new_cell: NewCell, table: Record) -> None:
    with new_cell(case) as cell:
        cell.run()
        table.add(judge(cell))


@pytest.mark.parametrize("case", WHILE_IT_DECIDES, ids=lambda case: case.id)
def test_a_worker_that_dies_while_it_decides_about_a_lost_answer_leaves_what_was_promised(
    case: Case, new_cell: NewCell, table: Record
) -> None:
    with new_cell(case) as cell:
        cell.run()
        table.add(judge(cell))


@pytest.mark.parametrize("case", FULL_SIZE, ids=lambda case: case.id)
def test_requests_of_their_real_size_are_no_different(case: Case, new_cell: NewCell, table: Record) -> None:
    with new_cell(case) as cell:
        cell.run()
        table.add(judge(cell))
