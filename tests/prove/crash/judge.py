"""The outbox judges: what was promised, held against what the gateway accepted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.prove.crash.cells import LATE

if TYPE_CHECKING:
    from tests.prove.crash.cells import Case, Cell


@dataclass(frozen=True)
class Verdict:
    """What became of a cell.

    :param doubled: texts that somebody got besides the one.
    :param lost: people who got none and should have.
    :param unknown: recipients that the task says it does not know of.
    """

    case: Case
    doubled: int
    lost: int
    unknown: int
    not_tried: int
    state: str
    tries: int


def result_of(cell: Cell) -> dict[str, Any]:
    """Return what the task said in the end."""
    said: dict[str, Any] | None = cell.api.result or cell.api.xcoms.get("partial_result")
    ends = [one.ended for one in cell.tries]
    assert said is not None, f"the task says nothing of what it sent: {ends}"
    return said


def judge(cell: Cell, *, ledger_knows_more: bool = False) -> Verdict:
    """Hold a cell against its promise, and return what there is to show of it.

    :param ledger_knows_more: whether a zombie may have written down what the last try could not know.
    """
    assert cell.was_struck, f"the point was never reached: {[one.ended for one in cell.tries]}"
    said = result_of(cell)
    got = Counter(text["mobileNumber"] for text in cell.texts)
    verdict = Verdict(
        cell.case,
        doubled=sum(count - 1 for count in got.values()),
        lost=len(cell.owed - set(got)),
        unknown=said["unknown"],
        not_tried=said["not_tried"],
        state=str(cell.api.reported.get("state")),
        tries=len(cell.tries),
    )
    assert not cell.case.has_rule or cell.taken_out not in got
    _check_counts(cell, said)
    _check_credits(cell, said)
    _check_ledger(cell, said, knows_more=ledger_knows_more)
    _check_promise(cell, verdict, [one.ended for one in cell.tries])
    _check_that_it_names_what_it_does_not_know(cell, said, verdict)
    return verdict


def _check_counts(cell: Cell, said: dict[str, Any]) -> None:
    counted = said["accepted"] + sum(said["rejected"].values()) + said["unknown"] + said["not_tried"]
    assert cell.case.lists or counted == len(cell.recipients), said
    assert len(set(said["message_ids"])) == len(said["message_ids"]) == said["accepted"], said


def _check_credits(cell: Cell, said: dict[str, Any]) -> None:
    costs = {text["apiMessageId"]: Decimal(str(text["creditCost"])) for text in cell.texts}
    assert set(said["message_ids"]) <= set(costs), "the task names ids that the gateway has not"
    assert cell.spent == sum(costs.values())
    assert Decimal(said["cost"]) == sum(costs[key] for key in said["message_ids"])


def _check_ledger(cell: Cell, said: dict[str, Any], *, knows_more: bool) -> None:
    ids, cost = cell.remembered()
    if knows_more:
        costs = {text["apiMessageId"]: Decimal(str(text["creditCost"])) for text in cell.texts}
        assert set(said["message_ids"]) <= ids <= set(costs)
        assert cost == sum(costs[key] for key in ids)
    else:
        assert (ids, cost) == (set(said["message_ids"]), Decimal(said["cost"]))


def _check_promise(cell: Cell, verdict: Verdict, ends: Any) -> None:
    told = f"{verdict}; {ends}"
    if cell.case.guarantee == "at_least_once":
        assert (verdict.lost, verdict.unknown, verdict.state) == (0, 0, "success"), told
        return
    assert verdict.doubled == 0, told
    assert verdict.lost <= verdict.unknown + verdict.not_tried, told
    assert (verdict.state == "success") is (verdict.unknown + verdict.not_tried == 0), told
    if cell.case.guarantee == "exactly_once" and cell.case.delay != LATE:
        assert verdict.lost == 0, told
        # Who is in the list no more is not looked up.
        assert cell.case.lists or (verdict.unknown, verdict.state) == (0, "success"), told


def _check_that_it_names_what_it_does_not_know(cell: Cell, said: dict[str, Any], verdict: Verdict) -> None:
    if cell.case.lists and cell.case.guarantee == "at_least_once":
        return  # Who is gone and in doubt is taken not to have been reached.
    known = set(said["message_ids"])
    nameless = sum(1 for text in cell.texts if text["apiMessageId"] not in known)
    assert nameless <= verdict.unknown + verdict.doubled, (nameless, verdict)
