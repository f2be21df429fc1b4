"""Lost answers at a gateway with a history of sent texts: nothing is held, sent twice, or silently lost."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable, SmsError
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.ledger.base import Batch, RequestKey, Sender
from airflow_provider_winsms.messages import Message, Recipient
from airflow_provider_winsms.options import Guarantee
from airflow_provider_winsms.runtime import Clock
from airflow_provider_winsms.sending.batch_planner import open_batch
from airflow_provider_winsms.sending.plan import plan
from airflow_provider_winsms.sending.policy import Policy
from airflow_provider_winsms.sending.sent_history import HISTORY_DELAY, REFERENCE_LENGTH, reference_of
from airflow_provider_winsms.sending.submission import SendDependencies, Submission
from tests.machine.ledger import MemoryLedger, Tables
from tests.support.history_gateway import GATEWAY, TIMEOUT, Fate, HistoryAccount

if TYPE_CHECKING:
    from airflow_provider_winsms.sending.outcome import SendOutcome

IN_FLIGHT = timedelta(seconds=30 + TIMEOUT)
NUMBERS = [f"4917000000{number}" for number in range(5)]
MESSAGES = [
    Message("one", tuple(Recipient(number, f"customer {number[-1]}") for number in NUMBERS[:2])),
    Message("two", tuple(Recipient(number) for number in NUMBERS[1:])),
]
TEXTS = {(message.text, recipient.number) for message in MESSAGES for recipient in message.recipients}
LONG_DELAY = HISTORY_DELAY.total_seconds() - 5
LATER = 600.0


class Died(BaseException):
    """The process died."""


class World:
    """One task that sends through an account, try by try."""

    def __init__(self, account: HistoryAccount, guarantee: Guarantee = Guarantee.EXACTLY_ONCE) -> None:
        self.account = account
        self.guarantee = guarantee
        self.tables = Tables()
        self.steps = 0
        self.dies_at = 0
        self.log: list[str] = []
        self.ledger = MemoryLedger(self.tables, "task", self.step)
        self.tries = 0

    def step(self, _where: str) -> None:
        self.steps += 1
        if self.steps == self.dies_at:
            raise Died

    def info(self, words: str, /, *values: object) -> None:
        self.log.append(words % values)

    warning = exception = info

    def debug(self, words: str, /, *values: object) -> None:
        words % values

    def now(self) -> Any:
        return pendulum.from_timestamp(self.account.now)

    def execute(self, call: Any, *before_send: Any) -> Any:
        self.step("before a request")
        answer = self.account.execute(call, *before_send)
        self.step("after a request")
        return answer

    def send(self) -> SendOutcome:
        self.tries += 1
        self.ledger = MemoryLedger(self.tables, "task", self.step)
        found, planned = self.ledger.latest(), plan(MESSAGES, GATEWAY)
        digest = planned.digest(KeyedHash("a key"))
        sender = Sender("dag", "run", "task")
        wanted = Batch("task", sender, digest, "conn", str(self.guarantee), 0, self.now(), GATEWAY.currency)
        batch = open_batch(self.ledger, wanted, found)
        submission = Submission(
            [planned],
            SendDependencies(
                GATEWAY,
                self.execute,
                self.ledger,
                Clock(self.now, self.account.pass_time),
                Policy(self.guarantee, timedelta(0), IN_FLIGHT, needs_hold=False),
                self,
                batch.id,
                process=f"try {self.tries}",
            ),
            is_resumed=found is not None,
        )
        submission.run()
        return submission.outcome

    @property
    def sent(self) -> Counter[tuple[str, str]]:
        return Counter((text.words, text.number) for text in self.account.texts if text.words != "old")


def is_whole(outcome: SendOutcome) -> bool:
    return outcome.accepted == len(TEXTS) and not outcome.unknown and not outcome.not_tried


def test_texts_leave_at_once_with_a_reference_for_each_recipient() -> None:
    world = World(HistoryAccount())
    assert is_whole(world.send())
    batch_id = world.tables.batches["task"][0].id
    own = [text.reference for text in world.account.texts if text.words != "old"]
    expected = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert own == [reference_of(batch_id, RequestKey(1, of), position) for of, position in expected]
    assert own[0] == f"{batch_id[:16]}.1.1.0"
    assert all(len(reference or "") <= REFERENCE_LENGTH for reference in own)
    assert world.account.now - HistoryAccount().now < 2
    assert world.account.pages == 0


@pytest.mark.parametrize("guarantee", Guarantee)
def test_a_lost_answer_is_found_in_the_history_and_adopted(guarantee: Guarantee) -> None:
    world = World(HistoryAccount(fates=deque([Fate.LOST_ACCEPTED])), guarantee)
    outcome = world.send()
    assert is_whole(outcome)
    assert world.sent == Counter(TEXTS)
    assert outcome.message_ids == [text.id for text in world.account.texts if text.words != "old"]
    assert str(outcome.cost) == "0.4950"
    assert "The history of sent texts has 3 recipients of 3 in doubt" in " ".join(world.log)


def test_what_the_history_lacks_is_submitted_again_only_when_it_cannot_arrive_any_more() -> None:
    world = World(HistoryAccount(fates=deque([Fate.LOST_NOT_ACCEPTED])))
    began = world.account.now
    assert is_whole(world.send())
    assert world.sent == Counter(TEXTS)
    assert world.account.now - began >= (IN_FLIGHT + HISTORY_DELAY).total_seconds()
    assert "The history of sent texts lacks 3 recipients in doubt" in " ".join(world.log)


def test_at_most_once_leaves_what_the_history_lacks_to_a_person() -> None:
    world = World(HistoryAccount(fates=deque([Fate.LOST_NOT_ACCEPTED])), Guarantee.AT_MOST_ONCE)
    outcome = world.send()
    assert (outcome.accepted, outcome.unknown) == (3, 3)
    assert world.sent.total() == 3
    assert "a person decides" in " ".join(world.log)


def test_a_history_that_cannot_be_read_is_read_again() -> None:
    world = World(HistoryAccount(fates=deque([Fate.LOST_ACCEPTED]), lists_unavailable=3))
    assert is_whole(world.send())
    assert "The history of sent texts could not be read: not now" in " ".join(world.log)


@pytest.mark.parametrize("cut", [0, 1, 17, 20])
@pytest.mark.parametrize("fate", [Fate.LOST_ACCEPTED, Fate.LATE])
def test_references_that_are_cut_short_prove_nothing(fate: Fate, cut: int) -> None:
    world = World(HistoryAccount(cut=cut, fates=deque([fate])))
    outcome = world.send()
    assert outcome.unknown == 3
    assert world.sent == Counter(TEXTS)


def test_a_text_with_the_same_reference_from_long_ago_is_not_taken_for_this_one() -> None:
    account = HistoryAccount()
    first = World(account)
    first.send()
    account.pass_time(86_400)
    account.fates.append(Fate.LOST_NOT_ACCEPTED)
    outcome = World(account).send()
    assert is_whole(outcome)
    assert set(World(account).sent.values()) == {2}


def finish(world: World) -> SendOutcome | None:
    """Try until a try ends."""
    for _ in range(6):
        world.account.pass_time(LATER)
        try:
            return world.send()
        except GatewayUnavailable:
            continue
    return None


HISTORIES = {"at once": (0.0, 10**6), "late": (LONG_DELAY, 10**6), "late and cut short": (LONG_DELAY, 4)}
FATES = [*((one, Fate.ANSWERED) for one in Fate), *((Fate.ANSWERED, two) for two in Fate), (Fate.LATE,) * 2]


@pytest.mark.parametrize(("delay", "kept"), HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize("fates", FATES, ids=" and ".join)
def test_whatever_is_lost_and_wherever_the_process_dies_nothing_goes_out_twice_or_is_silently_lost(
    fates: tuple[Fate, Fate], delay: float, kept: int
) -> None:
    step = steps = 0
    while step <= steps:
        step += 1
        world = World(HistoryAccount(delay=delay, kept=kept, fates=deque(fates)))
        world.dies_at = step
        with suppress(Died, SmsError):
            world.send()
        steps, world.dies_at = max(steps, world.steps), 0
        outcome = finish(world)
        sent = world.sent
        assert max(sent.values()) == 1
        assert outcome is not None
        assert outcome.accepted + outcome.unknown == len(TEXTS)
        assert outcome.unknown or sent == Counter(TEXTS)
        if kept > len(TEXTS):
            assert is_whole(outcome)
        world.account.pass_time(LATER)
        assert world.sent == sent


@pytest.mark.parametrize("guarantee", Guarantee)
def test_two_processes_that_overlap_send_each_text_once(guarantee: Guarantee) -> None:
    world = World(HistoryAccount(delay=LONG_DELAY), guarantee)
    world.dies_at = 8
    with pytest.raises(Died):
        world.send()
    outcome = world.send()
    assert outcome.accepted + outcome.unknown == len(TEXTS)
    assert max(world.sent.values()) == 1
