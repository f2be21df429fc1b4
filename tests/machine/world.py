"""A world in which tasks send: a gateway, a ledger, a clock, and processes with faults and events."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from itertools import cycle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pendulum

from airflow_provider_winsms.exceptions import GatewayUnavailable, LedgerUnavailable, OutcomeUnknown, SmsError
from airflow_provider_winsms.gateways.base import Response
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.ledger.base import Batch, BatchDigest, RequestKey, Sender, positions_in
from airflow_provider_winsms.ledger.witness import CLAIMS_KEY, Witness, WitnessedLedger
from airflow_provider_winsms.runtime import Clock, ClockReading, check_agreement
from airflow_provider_winsms.sending.attempt import SendOrder
from airflow_provider_winsms.sending.batch_planner import BatchPlanner
from airflow_provider_winsms.sending.policy import GATEWAY_CLOCK_TOLERANCE, LEDGER_CLOCK_TOLERANCE, Policy
from airflow_provider_winsms.sending.rules.rule_set import RuleSet
from airflow_provider_winsms.sending.submission import SendDependencies, Submission
from airflow_provider_winsms.utils.task_store import task_store_of
from tests.machine.gateway import Post, SmallGateway, decimals, minute, new_account, read
from tests.machine.ledger import Claim, MemoryLedger, Row, Tables
from tests.machine.scheduler import StepScheduler
from tests.machine.store import Store, StoreOfTry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import BeforeSend, Call
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.options import Guarantee, OnClear
    from airflow_provider_winsms.sending.outcome import SendOutcome
    from airflow_provider_winsms.sending.rules.base import RuleContext
    from tests.machine.gateway import Account
    from tests.machine.ledger import Lost

T = TypeVar("T")

GATEWAY = SmallGateway(time_zone="Africa/Johannesburg", country_code="27")
HASHES = KeyedHash("seeded-for-the-machine")
TIMEOUT = 10.0
IN_FLIGHT = timedelta(seconds=30 + TIMEOUT)
HOLD = timedelta(minutes=3)
LATENCY = 0.3
_SENDS = {"smsSend", "smsSendBatch"}


class Killed(BaseException):
    """The process was killed."""


class Fault(StrEnum):
    """A fault of a send, or of another request if it applies."""

    NONE = "none"
    LOST_ACCEPTED = "lost, accepted"
    LOST_NOT_ACCEPTED = "lost, not accepted"
    LATE = "lost, and accepted only when nobody waits any more"
    LATER = "lost, and accepted at the last moment"
    ERROR_ACCEPTED = "500, accepted"
    ERROR_NOT_ACCEPTED = "500, not accepted"
    TURNED_AWAY = "429, and accepted at the second attempt"
    REFUSED = "429, to the last attempt"
    MISSING_ROW = "a row is missing"
    DOUBLED_ROW = "a row is there twice"
    REVERSED_ROWS = "the rows are reversed"


_ACCEPTED_AND_LOST = {Fault.LOST_ACCEPTED, Fault.ERROR_ACCEPTED}
_NOT_ACCEPTED = {Fault.LOST_NOT_ACCEPTED, Fault.ERROR_NOT_ACCEPTED}
_TIMED_OUT = {Fault.LOST_ACCEPTED, Fault.LOST_NOT_ACCEPTED, Fault.LATE, Fault.LATER}
_LATE = {Fault.LATE: TIMEOUT / 2, Fault.LATER: TIMEOUT}


class Event(StrEnum):
    """An event of a process at one of its steps."""

    KILLED = "killed"
    INTERRUPTED = "killed, and given a last moment to clean up"
    STOPPED = "stopped"
    PAUSED = "paused for longer than a request may be on its way"
    LEDGER_LOST = "the ledger does not answer"
    CANCELLED = "a person cancels the latest text that waits"
    OPTED_OUT = "the first number opts out"


@dataclass
class Task:
    """A task that sends.

    :param messages: its messages. Each text occurs once, so that text and number identify a recipient.
    """

    name: str
    guarantee: Guarantee
    messages: Sequence[Message]
    cancels_on_stop: bool
    max_tries: int = 0
    on_clear: OnClear = "resume"
    runs: int = 0

    @property
    def sender(self) -> Sender:
        """The task instance."""
        return Sender("dag", "run", self.name)

    @property
    def policy(self) -> Policy:
        """Its guarantee."""
        return Policy(self.guarantee, HOLD, IN_FLIGHT)


@dataclass
class FaultPlan:
    """The faults and events of one process.

    :param sends: the faults of its first sends.
    :param others: whether its first other requests fail: before they are done, or after.
    :param events: the events, by the number of the step.
    :param false_reads: which reads of the task state store are answered "not found".
    """

    sends: Sequence[Fault] = ()
    others: Sequence[str] = ()
    events: dict[int, Event] = field(default_factory=dict)
    false_reads: Collection[int] = ()


@dataclass
class World:
    """All parts of the world.

    :param guarantees: the guarantee of each batch, by its id.
    :param stores: the task state stores, by the names of their tasks; ``None`` before Airflow 3.3.
    """

    account: Account
    tables: Tables = field(default_factory=Tables)
    guarantees: dict[str, Guarantee] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    stores: dict[str, Store] | None = None
    scheduler: StepScheduler = field(default_factory=lambda: StepScheduler(()))
    numbers: int = 0
    granted: int = 0

    @classmethod
    def new(cls, credits_left: int) -> World:
        """Return a world in which nothing was sent."""
        return cls(new_account(credits_left), granted=credits_left)

    @staticmethod
    def later(minutes: int) -> DateTime:
        """Return the time some minutes after the beginning of each world."""
        return pendulum.from_timestamp(new_account(0).now).start_of("minute").add(minutes=minutes)

    def run(self, processes: Iterable[Process], slices: Iterable[int] = ()) -> None:
        """Run processes, in turns, to their ends."""
        self.scheduler = StepScheduler(slices)
        self.scheduler.run(*(process.run for process in processes))

    def witnessed(self, name: str) -> set[tuple[int, RequestKey]]:
        """Return the claims of a task, with their generations, that its store bears witness to."""
        store = (self.stores or {}).get(name)
        rows = (store.rows if store else {}).get(CLAIMS_KEY) or {}
        return {
            (int(generation), RequestKey(int(round_), position))
            for of_key in rows.values()
            for generation, rounds in of_key.items()
            for round_, spans in rounds.items()
            for position in positions_in(spans)
        }

    def go_back(self, name: str, dropped: int) -> tuple[Lost, bool]:
        """Drop the last claims of a task, and tell whether its store bears witness to one of them."""
        lost = self.tables.go_back(name, dropped)
        claims = {(lost.batch.generation, key) for key in lost.keys}
        return lost, not claims.isdisjoint(self.witnessed(name))

    def top_up(self, amount: int) -> None:
        """Buy credits."""
        self.account.credits += amount
        self.granted += amount

    def cancel_latest(self) -> None:
        """Let a person cancel the text that was scheduled last."""
        for key in sorted(self.account.texts, reverse=True):
            if self.account.cancel(key, by_person=True)["deleted"]:
                return

    def remember_ids_of_another_connection(self, numbers: Sequence[str], send_at: Sequence[DateTime]) -> None:
        """Let the ledger have the first ids already, through another connection, for the same numbers."""
        key, digest = "sandbox", BatchDigest("", "", "", 0, 0, 0)
        sender, opened_at = Sender("dag", "run", key), pendulum.from_timestamp(self.account.now)
        batch = Batch(key, sender, digest, key, "exactly_once", 0, opened_at, "credits")
        pairs = zip(cycle(numbers), cycle(send_at), range(1, 61), strict=False)
        rows = [Row(number, key, at, message_id=message_id) for number, at, message_id in pairs]
        self.tables.batches[key] = [batch]
        self.tables.of(batch.id)[RequestKey(1, 1)] = Claim("another process", opened_at, None, rows)

    def schedule_elsewhere(self, number: str, ahead: float) -> None:
        """Let another program schedule a text."""
        at = minute(self.account.now + ahead)
        body = {"message": "elsewhere", "recipients": [{"mobileNumber": number}], "scheduledTime": at}
        self.account.accept(body, None)
        self.foreign.add(number)


class Process:
    """One try of a task.

    :param clock_off: how many seconds its clock is ahead of all others.
    """

    def __init__(self, world: World, task: Task, fault_plan: FaultPlan, clock_off: float = 0) -> None:
        world.numbers += 1
        self.name = f"process {world.numbers}"
        self.world = world
        self.task = task
        self.messages = task.messages
        self.outcome: SendOutcome | None = None
        self.error: SmsError | None = None
        self.was_killed = False
        self._fault_plan = fault_plan
        self._clock_off = clock_off
        self._sends, self._others = deque(fault_plan.sends), deque(fault_plan.others)
        self._steps = 0
        self._is_leaving = False
        self._is_interrupted = False
        self._submission: Submission | None = None
        self.ledger = MemoryLedger(world.tables, task.name, self.step)

    def run(self) -> None:
        """Send as the operator does."""
        self.task.runs += 1
        try:
            self._send()
        except Killed:
            self.was_killed = True
            self._clean_up()
        except SmsError as error:
            self.error = error

    def _clean_up(self) -> None:
        """Cancel what can be cancelled, as ``on_kill`` does for an interrupted task."""
        if self._is_interrupted and self._submission is not None:
            with suppress(Killed, SmsError):
                self._submission.stop()

    def _send(self) -> None:
        task, ledger = self.task, self._witnessed()
        order = SendOrder(
            key=task.name,
            sender=task.sender,
            max_tries=task.max_tries,
            sms_conn_id="winsms_default",
            currency=GATEWAY.currency,
            policy=task.policy,
            resends=task.on_clear == "resend",
            may_change=True,
        )
        planner = BatchPlanner(
            order,
            lambda _: list(self.messages),
            ledger,
            gateway=GATEWAY,
            hashes=HASHES,
            now=self.now,
            rules=RuleSet((), cast("RuleContext", None), HASHES),
        )
        planned = planner.open()
        self.world.guarantees[planned.id] = task.guarantee
        self._submission = Submission(
            planned.rounds,
            SendDependencies(
                GATEWAY,
                self.execute,
                ledger,
                Clock(self.now, self.sleep),
                task.policy,
                self,
                planned.id,
                self.name,
            ),
            is_resumed=not planned.is_new,
            cancels_on_stop=task.cancels_on_stop,
            check_clocks=self._check_clocks,
        )
        self._submission.run()
        self.outcome = self._submission.outcome

    def _witnessed(self) -> WitnessedLedger:
        """Return the ledger, compared with its witness."""
        task, stores = self.task, self.world.stores
        instance = SimpleNamespace(
            try_number=task.runs, max_tries=task.max_tries, task=SimpleNamespace(retries=0)
        )
        context: Any = {"ti": instance}
        if stores is not None:
            store = stores.setdefault(task.name, Store())
            context["task_state_store"] = StoreOfTry(
                store, self.name, self._fault_plan.false_reads, self.step
            )
        witness = Witness(task_store_of(context), task.name)
        resends = task.on_clear == "resend"
        return WitnessedLedger(self.ledger, witness, resends=resends, is_new=False, remedy="")

    # The clock.

    def now(self) -> DateTime:
        """Return the time by this process's clock."""
        return pendulum.from_timestamp(self.world.account.now + self._clock_off)

    def _check_clocks(self) -> None:
        """Compare the clock of the process with those of the gateway and the ledger, as the operator does."""
        shown, now = pendulum.from_timestamp(int(self.world.account.now)), self.now()
        reading = ClockReading("another clock", shown, now, now, timedelta(seconds=1))
        for tolerance in (GATEWAY_CLOCK_TOLERANCE, LEDGER_CLOCK_TOLERANCE):
            check_agreement(reading, tolerance)

    def sleep(self, seconds: float) -> None:
        """Let time pass. Some of the seconds are steps."""
        self.world.account.pass_time(seconds)
        if int(self.world.account.now) % 8 == 0:
            self.step("sleep")

    # The log.

    def info(self, words: str, /, *values: object) -> None:
        """Log nothing."""

    debug = warning = exception = info

    # Faults and events.

    def step(self, where: str) -> None:
        """Apply the planned events, and let other processes run."""
        self._steps += 1
        event = self._fault_plan.events.get(self._steps)
        if event is not None:
            self._happen(event, where)
        if not self._is_leaving:
            self.world.scheduler.step()

    def _happen(self, event: Event, where: str) -> None:
        if event in {Event.KILLED, Event.INTERRUPTED}:
            self._is_interrupted = event is Event.INTERRUPTED
            raise Killed
        if event is Event.STOPPED and self._submission is not None:
            self._submission.stop()
        if event is Event.PAUSED and not self._is_leaving:
            self.world.account.pass_time(IN_FLIGHT.total_seconds() + 5)
        if event is Event.LEDGER_LOST and where.startswith(("before", "after")):
            msg = "lost"
            raise LedgerUnavailable(msg)
        if event is Event.CANCELLED:
            self.world.cancel_latest()
        if event is Event.OPTED_OUT:
            self.world.account.opted_out.add(self.task.messages[0].recipients[0].number)

    # The gateway.

    def execute(self, call: Call[T], before_send: BeforeSend = nullcontext) -> T:
        """Execute a call as the transport does, with its planned fault."""
        self.step("gateway")
        if call.operation in _SENDS:
            return self._carry_send(call, before_send)
        return self._carry_other(call)

    def _carry_other(self, call: Call[T]) -> T:
        fault_plan = self._others.popleft() if self._others else ""
        self.world.account.pass_time(LATENCY)
        if fault_plan == "before":
            raise _unavailable()
        answer = self.world.account.perform(
            call.operation, {name: int(value) for name, value in call.query.items()}, read(call.body)
        )
        self.step("answered")
        if fault_plan == "after":
            raise _unavailable()
        return call.parse(Response(decimals(answer)))

    def _carry_send(self, call: Call[T], before_send: BeforeSend) -> T:
        fault = self._sends.popleft() if self._sends else Fault.NONE
        if fault is Fault.TURNED_AWAY:
            self._turned_away(before_send)
            self.world.account.pass_time(IN_FLIGHT.total_seconds() - 5)
            self.step("turned away")
        with self._leaving(), before_send():
            return self._answered(call, fault)

    def _answered(self, call: Call[T], fault: Fault) -> T:
        answer = self._reach(read(call.body), fault)
        self.step("on its way")
        if fault in _TIMED_OUT:
            self.world.account.pass_time(TIMEOUT)
        if answer is None:
            msg = "lost"
            raise OutcomeUnknown(msg)
        try:
            return call.parse(Response(decimals(_spoilt(answer, fault))))
        except ValueError as error:
            raise OutcomeUnknown(str(error)) from None

    def _turned_away(self, before_send: BeforeSend) -> None:
        with suppress(GatewayUnavailable), self._leaving(), before_send():
            raise _unavailable()

    def _reach(self, body: Any, fault: Fault) -> Any:
        """Return the answer, or ``None`` if it is lost."""
        account, key = self.world.account, self.ledger.last_claimed
        assert key is not None
        if fault is Fault.REFUSED:
            raise _unavailable()
        post = Post(self.ledger.batch_id, key)
        account.posts[post] += 1
        answer = None
        if fault in _LATE:
            account.late.append((account.now + _LATE[fault], body, post))
        elif fault not in _NOT_ACCEPTED:
            account.pass_time(LATENCY)
            answer = account.accept(body, post)
        return None if fault in _ACCEPTED_AND_LOST else answer

    @contextmanager
    def _leaving(self) -> Iterator[None]:
        """Let no other process run: a request leaves right after its claim was read."""
        self._is_leaving = True
        try:
            yield
        finally:
            self._is_leaving = False


def _unavailable() -> GatewayUnavailable:
    return GatewayUnavailable("not now")


def _spoilt(answer: Any, fault: Fault) -> Any:
    first, *others = answer.get("messages", [answer])
    rows = first["recipients"]
    changed = {
        Fault.MISSING_ROW: rows[1:],
        Fault.DOUBLED_ROW: [rows[0], *rows],
        Fault.REVERSED_ROWS: rows[::-1],
    }.get(fault, rows)
    spoilt = {**first, "recipients": changed}
    return {"messages": [spoilt, *others]} if "messages" in answer else spoilt
