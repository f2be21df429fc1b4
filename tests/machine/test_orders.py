"""Two processes of one task, in every order of steps that matters, and faults that the machine has found."""

from __future__ import annotations

from collections import Counter

import pytest

from airflow_provider_winsms.messages import Message, Recipient
from airflow_provider_winsms.options import Guarantee
from tests.machine.gateway import TextState
from tests.machine.world import Event, Fault, FaultPlan, Process, Task, World

AFTER_STEPS = range(5, 14)
FOR_STEPS = range(1, 70)


def task(guarantee: Guarantee, *numbers: str) -> Task:
    message = Message("now", tuple(map(Recipient, numbers)))
    return Task("task", guarantee, [message], cancels_on_stop=False)


def scheduled(name: str, guarantee: Guarantee, *numbers: str) -> Task:
    """Return a task whose texts have a time of their own; it cancels when it is killed."""
    message = Message("later", tuple(map(Recipient, numbers)), World.later(20))
    return Task(name, guarantee, [message], cancels_on_stop=True)


def most_texts(world: World) -> int:
    """Return the largest number of texts that one recipient has."""
    live = (text for text in world.account.texts.values() if text.state is not TextState.CANCELLED)
    return max(Counter((text.words, text.number) for text in live).values(), default=0)


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.LOST_ACCEPTED, Fault.TURNED_AWAY])
def test_whatever_the_order_of_a_process_and_its_retry_nobody_is_texted_twice(fault: Fault) -> None:
    doubled = []
    for after in AFTER_STEPS:
        for steps in FOR_STEPS:
            world, sending = World.new(100), task(Guarantee.EXACTLY_ONCE, "27820000001")
            first, retry = Process(world, sending, FaultPlan([fault])), Process(world, sending, FaultPlan())
            world.run([first, retry], [after, steps])
            if most_texts(world) > 1:
                doubled.append((after, steps))
    assert not doubled


def test_an_answer_that_comes_after_its_request_was_given_up_does_not_change_the_next_round() -> None:
    for after in AFTER_STEPS:
        world, sending = World.new(100), task(Guarantee.AT_LEAST_ONCE, "27820000001", "27820000002")
        first, retry = (
            Process(world, sending, FaultPlan([Fault.MISSING_ROW])),
            Process(world, sending, FaultPlan()),
        )
        world.run([first, retry], [after])
        later = Process(world, sending, FaultPlan())
        world.run([later])
        outcomes = [process.outcome for process in (first, retry, later) if process.outcome]
        assert [outcome.not_tried for outcome in outcomes] == [0] * len(outcomes)


def test_what_is_taken_back_in_a_later_round_does_not_change_that_round() -> None:
    """Three are accepted, the fourth only in the second round, during which the task is killed."""
    numbers = ("27820000001", "27820000002", "27820000003", "44770000004")
    for step in range(1, 40):
        world = World.new(4)
        sending = scheduled("task", Guarantee.AT_MOST_ONCE, *numbers)
        world.run([Process(world, sending, FaultPlan())])
        world.top_up(10)
        world.run([Process(world, sending, FaultPlan(events={step: Event.INTERRUPTED}))])
        last = Process(world, sending, FaultPlan())
        world.run([last])
        assert last.outcome is not None
        assert last.outcome.not_tried == 0, step
        assert last.outcome.accepted + last.outcome.unknown == len(numbers), step


def test_what_one_task_gave_up_is_not_taken_for_the_text_of_another() -> None:
    """The gateway has one that ``at_least_once`` gave up and sent again; another task looks for its own."""
    for step in range(5, 15):
        world, number = World.new(100), "27820000001"
        loose = scheduled("loose", Guarantee.AT_LEAST_ONCE, number)
        strict = scheduled("strict", Guarantee.EXACTLY_ONCE, number)
        world.run([Process(world, strict, FaultPlan(events={step: Event.KILLED}))])
        world.run([Process(world, loose, FaultPlan([Fault.LOST_ACCEPTED]))])
        last = Process(world, strict, FaultPlan())
        world.run([last])
        assert last.outcome is not None
        own = [t for t in world.account.texts.values() if t.post and t.post.batch_id == last.ledger.batch_id]
        assert last.outcome.accepted <= len(own), step
        assert last.outcome.accepted + last.outcome.unknown == 1, step


def test_what_never_left_is_not_unknown_though_the_ledger_failed() -> None:
    for step in range(1, 25):
        world, sending = World.new(100), task(Guarantee.AT_MOST_ONCE, "27820000001")
        fault_plan = FaultPlan([Fault.TURNED_AWAY], events={step: Event.LEDGER_LOST})
        world.run([Process(world, sending, fault_plan)])
        retry = Process(world, sending, FaultPlan())
        world.run([retry])
        assert retry.outcome is not None
        assert not (retry.outcome.unknown and not world.account.posts), step


@pytest.mark.parametrize("dropped", [1, 99], ids=["its last claim", "the batch"])
def test_a_retry_submits_nothing_whose_ledger_lacks_what_a_witness_has(dropped: int) -> None:
    numbers, witnessed = [f"2782000000{place}" for place in range(1, 6)], 0
    for step in range(1, 40):
        world, sending = World.new(100), task(Guarantee.AT_MOST_ONCE, *numbers)
        world.stores = {}
        world.run([Process(world, sending, FaultPlan(events={step: Event.KILLED}))])
        if not any(world.tables.claims.values()):
            continue
        _, is_witnessed = world.go_back(sending.name, dropped)
        posts = world.account.posts.total()
        world.run([Process(world, sending, FaultPlan())])
        witnessed += is_witnessed
        assert not is_witnessed or world.account.posts.total() == posts, step
    assert witnessed
