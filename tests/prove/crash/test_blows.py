from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.sandbox.faults import FAULTS
from airflow_provider_winsms.sandbox.operations import operation_named
from tests.prove.crash.cells import AT_GATEWAY, Case, points_of_send
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
LEAVE_NO_DOUBT = {"429-too-many-requests", "reordered-rows"}
"""A request that was turned away is repeated, and rows in another order are told apart by their numbers."""

FAULTY = [
    name
    for name, fault in FAULTS.items()
    if fault.applies_to(operation_named("smsSend")) and fault.delay is None and name not in LEAVE_NO_DOUBT
]
"""What can be wrong with the answer to a send: before it was carried out, or after."""


def is_told_of(point: Point, blow: Blow) -> bool:
    """Tell whether a blow means something at a point: a signal alone cuts no request in two."""
    if blow is Blow.TERM:
        return point.moment is not Moment.HALF_SENT
    return blow is not Blow.DROP or point.step != "open"


BLOWS = [
    Case(guarantee, ledger, point, blow)
    for blow, point, guarantee, ledger in product(
        (Blow.TIMEOUT, Blow.TERM, Blow.DROP), points_of_send(2), GUARANTEES, LEDGERS
    )
    if is_told_of(point, blow)
]

TAKEN_BACK = [
    Case("exactly_once", ledger, Point("record", moment, number), blow, cancels=True)
    for blow, moment, number, ledger in product(
        (Blow.TERM, Blow.TIMEOUT), (Moment.ABOUT, Moment.AFTER_COMMIT), (1, 2, 3), LEDGERS
    )
]

KILLED_WHILE_TAKING_BACK = [
    Case(
        "exactly_once",
        ledger,
        Point("record", Moment.AFTER_COMMIT, number),
        Blow.TERM,
        cancels=True,
        dies_at=Point("cancel", moment),
    )
    for number, moment, ledger in product((1, 2), AT_GATEWAY, LEDGERS)
]

FAULTY_ANSWERS = [
    Case(guarantee, ledger, fault=fault, skip=1)
    for fault, guarantee, ledger in product(FAULTY, GUARANTEES, LEDGERS)
]


@pytest.mark.parametrize("case", BLOWS, ids=lambda case: case.id)
def test_a_send_that_is_broken_off_leaves_what_was_promised(
    case: Case, new_cell: NewCell, table: Record
) -> None:
    with new_cell(case) as cell:
        cell.run()
        table.add(judge(cell))


@pytest.mark.parametrize("case", TAKEN_BACK, ids=lambda case: case.id)
def test_what_a_kill_took_back_is_sent_by_the_retry(case: Case, new_cell: NewCell, table: Record) -> None:
    with new_cell(case) as cell:
        cell.run()
        assert cell.case.point is not None
        has_something = case.blow is Blow.TERM or cell.case.point.number > 1
        assert bool(cell.taken_back) is has_something
        table.add(judge(cell))


@pytest.mark.parametrize("case", KILLED_WHILE_TAKING_BACK, ids=lambda case: case.id)
def test_a_worker_that_dies_while_it_takes_texts_back_leaves_what_was_promised(
    case: Case, new_cell: NewCell, table: Record
) -> None:
    with new_cell(case) as cell:
        cell.run()
        assert cell.proxy.has_struck
        table.add(judge(cell))


@pytest.mark.parametrize("case", FAULTY_ANSWERS, ids=lambda case: case.id)
def test_a_gateway_that_fails_leaves_what_was_promised(case: Case, new_cell: NewCell, table: Record) -> None:
    with new_cell(case) as cell:
        cell.run()
        table.add(judge(cell))
