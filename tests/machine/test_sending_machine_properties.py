"""The promises of sending, tested by a state machine that combines faults.

Three tasks send texts to the same few numbers, through one account and one ledger. Each has a guarantee of
its own. These faults and events can happen at any time:

* A process is killed or interrupted between any two steps. Two processes run at a time, in any order.
* A process loses answers, its ledger, or hours. Its clock may be wrong.
* People cancel, opt out, clear and top up. Another program schedules texts.
* The list of scheduled texts may have the newest first, move between two pages, and have incomplete rows.
* The ledger may have the same ids through another connection.
* The task state store may answer "not found" for a value that it has.
* The ledger may be restored from an older backup, or lose its last records.
* The list that a task sends may change. The next try sends the rest of it.

The promises hold under these assumptions, which are their own:

* A request arrives within the connection's time-outs after it left, or never; and it leaves right after the
  claim was looked at, without a pause between the two.
* The gateway charges for, and lists, what it accepted.
* A claim is atomic, and is lost from one of ledger and task state store at most. Without a task state store,
  the ledger keeps every claim.
* If another program schedules texts to the same number, its text may be taken for ours. The number gets at
  most one text, perhaps only that of the other program.
* ``at_least_once`` may text twice, and a text that it gave up may still be in the gateway's list.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

import pendulum
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_winsms.messages import Message, Recipient, RejectReason
from airflow_provider_winsms.options import Guarantee, OnClear
from tests.machine.gateway import ELSEWHERE, Listing, TextState
from tests.machine.world import Event, Fault, FaultPlan, Process, Task, World

if TYPE_CHECKING:
    from airflow_provider_winsms.ledger.base import RequestKey
    from tests.machine.gateway import Text
    from tests.machine.ledger import Row

NUMBERS = ("27820000001", "27820000002", "27820000003", "44770000004")
ONE_NUMBER = st.sampled_from(NUMBERS)
NOON = pendulum.datetime(2026, 3, 2, 12)
TIMES = {"later": NOON.add(minutes=20), "much later": NOON.add(hours=3)}

TEXTS = st.lists(
    st.tuples(
        st.sampled_from(["now", "now, too", "later", "much later"]),
        st.lists(ONE_NUMBER, min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda text: text[0],
)
Change: TypeAlias = "list[tuple[str, list[str]]] | None"
CHANGES = st.none() | TEXTS
FAULT_PLANS = st.builds(
    FaultPlan,
    sends=st.lists(st.sampled_from(Fault), max_size=3),
    others=st.lists(st.sampled_from(["", "before", "after"]), max_size=2),
    events=st.dictionaries(st.integers(1, 45), st.sampled_from(Event), max_size=2),
    false_reads=st.sets(st.integers(1, 5), max_size=3),
)
CLOCKS = st.sampled_from([0, 0, 0, 0, 12, -12, 40, -40, 200, -200, 7200, -7200])
"""Seconds; the ledger's clock may be 15 off, and is read in whole seconds."""
FURTHEST_OFF = 16
LISTINGS = st.builds(
    Listing,
    is_newest_first=st.booleans(),
    is_busy=st.booleans(),
    spoilt=st.sampled_from(["", "", "", "+", "mobileNumber", "submitTime", "scheduledSendTime"]),
)
TASKS = st.integers(0, 2)
SLICES = st.tuples(st.integers(1, 14), st.integers(1, 60), st.integers(1, 20))


class Sending(RuleBasedStateMachine):
    """Tasks that send, and all that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World.new(0)
        self.tasks: list[Task] = []

    @initialize(
        guarantees=st.tuples(*[st.sampled_from(Guarantee)] * 3),
        texts=st.tuples(TEXTS, TEXTS, TEXTS),
        cancel=st.booleans(),
        credits_left=st.sampled_from([100, 100, 4]),
        listing=LISTINGS,
        knows_ids=st.booleans(),
        has_stores=st.booleans(),
    )
    def begin(
        self,
        guarantees: tuple[Guarantee, ...],
        texts: tuple[list[tuple[str, list[str]]], ...],
        cancel: bool,
        credits_left: int,
        listing: Listing,
        knows_ids: bool,
        has_stores: bool,
    ) -> None:
        self.world = World.new(credits_left)
        self.world.stores = {} if has_stores else None
        self.world.account.listing = listing
        if listing.is_busy:
            self.world.account.bustle(ELSEWHERE)
        if knows_ids:
            self.world.remember_ids_of_another_connection(NUMBERS, [NOON.add(minutes=4), *TIMES.values()])
        self.tasks = [
            Task(f"task {number}", guarantee, messages_of(each), cancel)
            for number, (guarantee, each) in enumerate(zip(guarantees, texts, strict=True))
        ]

    @rule(task=TASKS, fault_plan=FAULT_PLANS, change=CHANGES, clock_off=CLOCKS)
    def try_(self, task: int, fault_plan: FaultPlan, change: Change, clock_off: float) -> None:
        process, posts = self._process(task, fault_plan, change, clock_off), self.world.account.posts.total()
        self._run(process)
        if process.task.policy.is_held and abs(clock_off) > FURTHEST_OFF:
            assert self.world.account.posts.total() == posts

    @precondition(lambda self: self.world.stores is not None and self._tasks_with_claims())
    @rule(task=TASKS, fault_plan=FAULT_PLANS, dropped=st.sampled_from([1, 1, 2, 99]))
    def try_on_an_older_backup(self, task: int, fault_plan: FaultPlan, dropped: int) -> None:
        possible = self._tasks_with_claims()
        task = possible[task % len(possible)]
        name, account = self.tasks[task].name, self.world.account
        self.tasks[task].on_clear = "resume"
        lost, is_witnessed = self.world.go_back(name, dropped)
        posts = account.posts.total()
        self._run(self._process(task, replace(fault_plan, false_reads=())))
        # A claim without a witness has not left: it may be forgotten.
        if is_witnessed:
            assert account.posts.total() == posts
            self.world.tables.put_back(name, lost)

    @rule(task=TASKS)
    def last_answer_is_lost(self, task: int) -> None:
        self.world.tables.forget_last_answer(self.tasks[task].name)

    @rule(one=TASKS, other=TASKS, fault_plan=FAULT_PLANS, slices=SLICES, change=CHANGES)
    def two_at_a_time(
        self, one: int, other: int, fault_plan: FaultPlan, slices: tuple[int, ...], change: Change
    ) -> None:
        self._run(self._process(one, fault_plan), self._process(other, FaultPlan(), change), slices=slices)

    @rule(task=TASKS, on_clear=st.sampled_from(["resume", "resend"]))
    def clear(self, task: int, on_clear: OnClear) -> None:
        self.tasks[task].max_tries += 1
        self.tasks[task].on_clear = on_clear

    @rule(seconds=st.sampled_from([1, 20, 45, 150, 200, 3600, 4 * 3600]))
    def time_passes(self, seconds: float) -> None:
        self.world.account.pass_time(seconds)

    @rule(amount=st.integers(1, 20))
    def top_up(self, amount: int) -> None:
        self.world.top_up(amount)

    @rule(number=ONE_NUMBER)
    def opt_out(self, number: str) -> None:
        self.world.account.opted_out.add(number)

    @rule()
    def person_cancels(self) -> None:
        self.world.cancel_latest()

    @precondition(lambda self: not self.world.foreign)
    @rule(number=ONE_NUMBER, ahead=st.sampled_from([180, 240]))
    def another_program_schedules(self, number: str, ahead: float) -> None:
        self.world.schedule_elsewhere(number, ahead)

    def _tasks_with_claims(self) -> list[int]:
        """Return the tasks whose last generation has claims."""
        batches = [self.world.tables.last_of(task.name) for task in self.tasks]
        return [place for place, batch in enumerate(batches) if batch and self.world.tables.of(batch.id)]

    def _process(
        self, task: int, fault_plan: FaultPlan, change: Change = None, clock_off: float = 0
    ) -> Process:
        if change is not None:
            self.tasks[task].messages = messages_of(change)
        return Process(self.world, self.tasks[task], fault_plan, clock_off)

    def _run(self, *processes: Process, slices: tuple[int, ...] = ()) -> None:
        self.world.run(processes, slices)
        for process in processes:
            self._check_outcome(process, is_alone=len(processes) == 1)

    # Checks of an outcome.

    def _check_outcome(self, process: Process, *, is_alone: bool) -> None:
        outcome = process.outcome
        if outcome is None:
            return
        counts = (outcome.accepted, outcome.rejected.total(), outcome.unknown, outcome.not_tried)
        assert sum(counts) == outcome.recipients
        assert min(counts) >= 0
        if is_alone:
            self._check_final(process)

    def _check_final(self, process: Process) -> None:
        """Compare an outcome with the ledger, and the sure rows of the ledger with the gateway."""
        outcome, batch_id = process.outcome, process.ledger.batch_id
        assert outcome is not None
        final = self._final_rows(batch_id)
        assert outcome.accepted == sum(row.is_accepted for row in final.values())
        assert outcome.unknown == sum(row.is_unknown for row in final.values())
        assert outcome.cost == sum((row.cost for row in final.values() if row.is_accepted), Decimal(0))
        if outcome.unknown or outcome.not_tried:
            return
        listed = {(m.text, r.number) for m in process.messages for r in m.recipients}
        assert outcome.rejected == Counter(
            row.reason
            for recipient, row in final.items()
            if row.reason is not None and (recipient in listed or not row.reason.may_be_sent_later)
        )
        live = self._live(batch_id)
        for recipient in listed & final.keys():
            self._check_recipient(process, recipient, final[recipient], live)
        for _, number in listed - final.keys():
            # Another text to the number is no longer in the list, so this text may be an edit of it.
            texts = [words for words, to in final if to == number and (words, to) not in listed]
            assert any(self._may_have_arrived(process, final[words, number]) for words in texts)

    def _may_have_arrived(self, process: Process, row: Row) -> bool:
        """Under at_least_once, a text in doubt that is gone from the list counts as not received."""
        was_in_doubt = row.reason is RejectReason.NOT_RECEIVED
        return row.is_accepted or (was_in_doubt and process.task.guarantee is Guarantee.AT_LEAST_ONCE)

    def _check_recipient(
        self, process: Process, recipient: tuple[str, str], row: Row, live: dict[tuple[str, str], int]
    ) -> None:
        """Nothing is unknown and nothing is left: each recipient has one text, or was declined."""
        is_loose = process.task.guarantee is Guarantee.AT_LEAST_ONCE
        texts = live.get(recipient, 0)
        if not row.is_accepted:
            assert texts == 0 or is_loose
            return
        if recipient[1] in self.world.foreign | self._cancelled_by_person(process.ledger.batch_id):
            return
        assert texts >= 1 if is_loose else texts == 1

    # Invariants.

    @invariant()
    def nobody_is_texted_twice(self) -> None:
        for batch_id, guarantee in self.world.guarantees.items():
            if guarantee is not Guarantee.AT_LEAST_ONCE:
                assert max(self._live(batch_id).values(), default=0) <= 1

    @invariant()
    def no_place_is_submitted_twice(self) -> None:
        assert max(self.world.account.posts.values(), default=0) <= 1

    @invariant()
    def every_text_is_known_or_in_doubt(self) -> None:
        for text in self.world.account.texts.values():
            if text.post is not None and text.state is not TextState.CANCELLED:
                self._check_text(text)

    def _check_text(self, text: Text) -> None:
        assert text.post is not None
        if self.world.guarantees[text.post.batch_id] is Guarantee.AT_LEAST_ONCE:
            return
        claim = self.world.tables.of(text.post.batch_id).get(text.post.key)
        assert claim is not None
        rows = [row for row in claim.rows if (row.words, row.number) == (text.words, text.number)]
        assert all(row.is_unknown or row.is_accepted for row in rows)
        assert rows

    @invariant()
    def what_the_ledger_has_the_gateway_has(self) -> None:
        texts = self.world.account.texts
        for batch_id, _, row in self.world.tables.rows():
            if row.is_accepted and batch_id in self.world.guarantees:
                text = texts[int(row.message_id or 0)]
                assert row.number == text.number
                assert row.cost == text.cost

    @invariant()
    def no_id_belongs_to_two(self) -> None:
        ids = [
            row.message_id
            for batch_id, _, row in self.world.tables.rows()
            if row.is_accepted and batch_id in self.world.guarantees
        ]
        assert len(ids) == len(set(ids))

    @invariant()
    def credits_are_conserved(self) -> None:
        account = self.world.account
        spent = sum(text.cost for text in account.texts.values() if text.state is not TextState.CANCELLED)
        assert account.credits + spent == self.world.granted

    def _live(self, batch_id: str) -> dict[tuple[str, str], int]:
        """Count the texts of a batch that went out, or will."""
        return Counter(
            (text.words, text.number)
            for text in self.world.account.texts.values()
            if text.post is not None
            and text.post.batch_id == batch_id
            and text.state is not TextState.CANCELLED
        )

    def _cancelled_by_person(self, batch_id: str) -> set[str]:
        return {
            text.number
            for text in self.world.account.texts.values()
            if text.by_person and text.post is not None and text.post.batch_id == batch_id
        }

    def _final_rows(self, batch_id: str) -> dict[tuple[str, str], Row]:
        """Return what the ledger knows of each recipient, from the last round that had it."""
        claims: dict[RequestKey, list[Row]] = {
            key: claim.rows for key, claim in self.world.tables.of(batch_id).items()
        }
        return {(row.words, row.number): row for key in sorted(claims) for row in claims[key]}


def messages_of(texts: list[tuple[str, list[str]]]) -> list[Message]:
    return [
        Message(words, tuple(Recipient(number) for number in numbers), TIMES.get(words))
        for words, numbers in texts
    ]


TestSending = Sending.TestCase
TestSending.settings = settings(
    max_examples=int(os.environ.get("MACHINE_EXAMPLES", "300")),
    stateful_step_count=8,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    phases=(Phase.generate, Phase.shrink),
)
