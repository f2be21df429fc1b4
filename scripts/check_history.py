"""Check the history of many sends against the promises, in the style of Jepsen.

Workers send to thousands of recipients through a sandbox that loses, doubles and delays answers. SIGKILL
kills workers at random moments. Sometimes a retry begins while the previous process still runs. During a try
its clock may be minutes off, its task state store may answer "not found" for a record that it has, and its
ledger may lack the last claim. A retry may have another list: some people are gone, some are new, some get
another text, all in another order. Each task is tried again until it is done. Then the ledger is compared
with the sandbox's outbox, text by text:

    python -m scripts.check_history --seed 7 --recipients 10000 --guarantee exactly_once

The sandbox's clock runs many times as fast as wall time, and the workers use it. The same seed gives the same
faults and the same plan of kills. Which steps these hit depends on the machine.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.sandbox.faults import FAULTS
from airflow_provider_winsms.sandbox.operations import operation_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from multiprocessing.context import ForkProcess

    from airflow_provider_winsms.runtime import Clock
    from scripts.warehouse import Warehouse

SPEED = 20
"""How many seconds of the sandbox's time pass in one second."""

TIMEOUT = 10
"""The time-outs of the connection, in seconds of the sandbox and of wall time."""

HOLD = timedelta(minutes=3)
"""How far ahead ``exactly_once`` schedules texts. A longer hold makes the list of scheduled texts longer."""

GRANTED = 10_000_000
"""Credits at the start."""

KILLED_SHARE = 0.25
"""The share of tries that are killed, if they take long enough."""

OVERTAKEN_SHARE = 0.05
"""The share of tries that are retried while they still run."""

CLOCKS_OFF = (-400, -200, 200, 400)
"""The seconds by which a wrong clock is ahead."""

MOST_FALSE_READS = 4
"""The reads of a store, from the first on, among which the false ones are."""

MOVED_SHARE = 0.1
"""The share of a task's people who join or leave a list that changes, and of those who get another text."""

STORE_SHARE = 0.5
"""The share of tasks that have a task state store."""

MOST_TRIES = 60
LONGEST_RUN = 600.0
"""More tries of one task, or more seconds in all, mean an error."""

GUARANTEES = ("at_most_once", "exactly_once", "at_least_once")
SENDS = ("smsSend", "smsSendBatch")
SEND_FAULTS = {
    operation: tuple(name for name, fault in FAULTS.items() if fault.applies_to(operation_named(operation)))
    for operation in SENDS
}
"""Every fault that can strike a send."""

_DONE, _AGAIN, _FAILED, _LEFT_SOME, _BROKEN = 0, 10, 11, 12, 13
_LOG = "tries.log"
_CONN_ID, _LEDGER_ID = "winsms_default", "history_ledger"
_TABLES = ("sms_messages", "sms_requests", "sms_rounds", "sms_batches")
_KNOWN_STATES = {"declined", "unknown", "cancelled"}


@dataclass(frozen=True)
class Options:
    """The options of a check.

    :param faults: the share of send requests that a fault strikes.
    :param wrong: the share of tries whose clock, store or ledger is wrong.
    :param cleared: the share of tasks that are cleared when they are done.
    :param changed: the share of retries whose list differs from that of the previous try.
    :param newest_first: whether the list of scheduled texts begins with the newest.
    :param per_task: recipients of one task.
    :param per_request: recipients of one request.
    :param home: the folder in which the log and an SQLite ledger are kept; ``None`` keeps neither.
    """

    seed: int
    recipients: int
    guarantee: str
    per_task: int
    per_request: int
    workers: int
    faults: float
    wrong: float
    cleared: float
    changed: float
    newest_first: bool
    ledger: str
    home: Path | None = None


@dataclass
class Job:
    """One task, through all its tries.

    :param numbers: the numbers in its list.
    :param absent: numbers that are not in its list, but may join it.
    :param rewritten: the numbers that get another text.
    :param earlier: texts and numbers of the lists of earlier tries.
    :param is_batch: whether the operator is the one for different texts.
    :param has_store: whether it has a task state store, as with Airflow 3.3 or later.
    """

    number: int
    guarantee: str
    numbers: list[str]
    absent: list[str] = field(default_factory=list)
    rewritten: set[str] = field(default_factory=set)
    earlier: set[tuple[str, str]] = field(default_factory=set)
    is_batch: bool = False
    has_store: bool = False
    tries: int = 0
    clears: int = 0
    is_cleared: bool = False
    ending: str = ""

    @property
    def task_id(self) -> str:
        """The name of the task."""
        return f"send_{self.number:04d}"

    @property
    def text(self) -> str:
        """The text, which no other task sends."""
        return f"Text of task {self.number}"

    @property
    def texts(self) -> list[tuple[str, str]]:
        """The texts and numbers of its list."""
        other = f"Another {self.text}"
        return [(other if number in self.rewritten else self.text, number) for number in self.numbers]

    @property
    def all_texts(self) -> set[tuple[str, str]]:
        """The texts and numbers of the lists of all tries."""
        return self.earlier | set(self.texts)

    def change(self, random: Random) -> None:
        """Change the numbers in the list, their order, and their texts."""
        self.earlier |= set(self.texts)
        everybody = sorted({*self.numbers, *self.absent})
        some = max(1, int(len(everybody) * MOVED_SHARE))
        listed = set(self.numbers) ^ set(random.sample(everybody, some))
        self.numbers = random.sample(sorted(listed), len(listed))
        self.absent = [number for number in everybody if number not in listed]
        if self.is_batch:
            self.rewritten ^= set(random.sample(everybody, some))


@dataclass(frozen=True)
class Impairment:
    """The defects of one try.

    :param clock_off: how many seconds its clock is ahead.
    :param false_reads: which of its reads of the store, counted from 1, are answered "not found".
    """

    clock_off: float = 0
    false_reads: frozenset[int] = frozenset()


class LedgerRow(NamedTuple):
    """The last row in the ledger of one text to one recipient."""

    task_id: str
    guarantee: str
    number: str
    text: str
    state: str
    message_id: int | None
    cost: Decimal

    @property
    def is_accepted(self) -> bool:
        """Whether the gateway accepted it."""
        return self.state not in _KNOWN_STATES


@dataclass
class Findings:
    """The result of a check."""

    recipients: int = 0
    gone: int = 0
    changed: int = 0
    accepted: int = 0
    declined: int = 0
    unknown: int = 0
    doubled: int = 0
    doubled_by_leave: int = 0
    lost: int = 0
    unaccounted: int = 0
    untold: int = 0
    spent: Decimal = Decimal(0)
    costs: Decimal = Decimal(0)
    are_costs_right: bool = True
    unfinished: list[str] = field(default_factory=list)
    broken_for: Counter[str] = field(default_factory=Counter)

    @property
    def is_conserved(self) -> bool:
        """Whether the credits spent are the cost of the texts, and the ledger has each cost right."""
        return self.spent == self.costs and self.are_costs_right

    @property
    def is_broken(self) -> bool:
        """Whether a promise was broken."""
        broken = self.doubled or self.lost or self.unaccounted or self.untold or self.unfinished
        return bool(broken) or not self.is_conserved

    def lines(self) -> list[str]:
        """Return the lines of the report."""
        return [
            f"recipients           {self.recipients}",
            f"gone from the list   {self.gone}",
            f"changed, so not sent {self.changed}",
            f"texts accepted       {self.accepted}",
            f"declined             {self.declined}",
            f"texts doubled        {self.doubled}",
            f"  as at_least_once may {self.doubled_by_leave}",
            f"texts lost in silence {self.lost}",
            f"texts unaccounted for {self.unaccounted}",
            f"unknown named        {self.unknown}",
            f"unknown, not named   {self.untold}",
            f"credits spent        {self.spent}",
            f"sum of their costs   {self.costs}",
            f"conserved            {'yes' if self.is_conserved else 'no'}",
            f"tasks not finished   {', '.join(self.unfinished) or 'none'}",
            f"promises             {'BROKEN' if self.is_broken else 'kept'}",
            *(f"  {count} x {what}" for what, count in self.broken_for.most_common(10) if count),
        ]


def compare(
    jobs: Sequence[Job], ledger: Iterable[LedgerRow], outbox: Iterable[Mapping[str, Any]], spent: Decimal
) -> Findings:
    """Compare the ledger with the outbox.

    :param ledger: the rows in their order; the last row of a text to a recipient counts.
    """
    rows = list(ledger)
    known = {(row.text, row.number): row for row in rows}
    texts: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    findings = Findings(spent=spent, unfinished=[job.task_id for job in jobs if not job.ending])
    for text in outbox:
        if not text["cancelled"]:
            texts[text["message"], text["mobileNumber"]].append(text)
            findings.costs += Decimal(str(text["creditCost"]))
    for job in jobs:
        _compare_job(findings, job, known, texts)
    findings.unaccounted += sum(map(len, texts.values()))
    return findings


def _compare_job(
    findings: Findings,
    job: Job,
    known: Mapping[tuple[str, str], LedgerRow],
    texts: dict[tuple[str, str], list[Mapping[str, Any]]],
) -> None:
    """Compare everything that a task should send in any try, and remove its texts from ``texts``."""
    listed, ever = set(job.texts), job.all_texts
    claimed = {number for _, number in ever & known.keys()}
    sent: Counter[str] = Counter()
    for entry in ever:
        _, number = entry
        found = texts.pop(entry, [])
        sent[number] += len(found)
        is_due = entry in listed and number not in claimed
        _compare_text(findings, job, known.get(entry), found, is_due=is_due)
    _count_doubled(findings, job, sent)
    findings.recipients += len(listed)
    findings.gone += len(ever - listed)
    findings.changed += sum(number in claimed for _, number in listed - known.keys())


def _count_doubled(findings: Findings, job: Job, sent: Counter[str]) -> None:
    """Count the people who got several texts, the same or different ones."""
    doubled = sum(count > 1 for count in sent.values())
    if job.guarantee == "at_least_once":
        findings.doubled_by_leave += doubled
    else:
        findings.doubled += doubled
        findings.broken_for[f"{job.task_id} doubled"] += doubled


def _compare_text(
    findings: Findings, job: Job, row: LedgerRow | None, texts: Sequence[Mapping[str, Any]], *, is_due: bool
) -> None:
    """Compare a text to a number.

    :param is_due: whether it is in the last list, and no text to that number was claimed.
    """
    costs = {text["apiMessageId"]: Decimal(str(text["creditCost"])) for text in texts}
    may_double = job.guarantee == "at_least_once"
    if row is None:
        findings.lost += is_due and job.ending == "done"
        findings.unaccounted += len(texts)
    elif row.is_accepted:
        findings.accepted += 1
        findings.lost += row.message_id not in costs
        findings.are_costs_right &= costs.get(row.message_id, row.cost) == row.cost
    elif row.state == "unknown":
        findings.unknown += job.ending != "done"
        findings.untold += job.ending == "done"
    else:
        findings.declined += 1
        findings.unaccounted += 0 if may_double else len(texts)


# One try, in a process of its own.


class _TaskInstance:
    """The part of a task instance that a send uses."""

    dag_id, run_id, map_index = "history", "seeded", -1

    def __init__(self, job: Job) -> None:
        self.task_id = job.task_id
        self.try_number = job.tries
        self.max_tries = job.clears
        self.left: dict[str, Any] = {}
        self.task: Any = None

    def xcom_push(self, key: str, value: dict[str, Any]) -> None:
        """Keep the XCom of a send that fails."""
        self.left = {key: value, **value}


class StoreFile:
    """Airflow's task state store of one task, in a file. Only the last try may write."""

    def __init__(self, home: Path, job: Job) -> None:
        self._path = home / f"{job.task_id}.json"
        self._lock = home / f"{job.task_id}.lock"

    def begin_try(self, number: int) -> None:
        """Let only this try write from now on."""
        self.change(lambda stored: stored | {"writer": number})

    def rows(self) -> dict[str, Any]:
        """Return all rows."""
        rows: dict[str, Any] = self._stored()["rows"]
        return rows

    def change(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Change the content in one step."""
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            whole = self._path.with_suffix(".new")
            whole.write_text(json.dumps(change(self._stored())))
            whole.replace(self._path)

    def _stored(self) -> dict[str, Any]:
        nothing = {"writer": 0, "rows": {}}
        stored: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else nothing
        return stored


class _TryStore:
    """The store, seen by one try."""

    def __init__(self, store: StoreFile, number: int, false_reads: frozenset[int]) -> None:
        self._store = store
        self._number = number
        self._lies = false_reads
        self._reads = count(1)

    def get(self, key: str) -> Any:
        """Return the value of a key, or ``None``."""
        return None if next(self._reads) in self._lies else self._store.rows().get(key)

    def set(self, key: str, value: Any, *, retention: Any) -> None:  # noqa: ARG002 - nothing expires
        """Store a value."""
        self._change(lambda rows: rows | {key: value})

    def delete(self, key: str) -> None:
        """Delete a key."""
        self._change(lambda rows: {name: value for name, value in rows.items() if name != key})

    def _change(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        def write(stored: dict[str, Any]) -> dict[str, Any]:
            if stored["writer"] != self._number:
                msg = "A later try runs."
                raise RuntimeError(msg)
            return stored | {"rows": change(stored["rows"])}

        self._store.change(write)


def try_once(job: Job, options: Options, clock: Clock, home: Path, wrong: Impairment) -> None:
    """Run one try of a task, and end the process with a code for its outcome."""
    with (home / _LOG).open("ab") as out:
        os.dup2(out.fileno(), sys.stdout.fileno())
        os.dup2(out.fileno(), sys.stderr.fileno())
    context: dict[str, Any] = {"ti": _TaskInstance(job)}
    if job.has_store:
        context["task_state_store"] = _TryStore(StoreFile(home, job), job.tries, wrong.false_reads)
    right = clock.now
    wrong_clock = clock._replace(now=lambda: right().add(seconds=wrong.clock_off))
    os._exit(_tried(_operator(job, options, wrong_clock), context))


def _tried(operator: Any, context: dict[str, Any]) -> int:
    from airflow.providers.common.compat.sdk import AirflowFailException

    from airflow_provider_winsms.exceptions import OutcomeUnknown, SmsError

    instance = context["ti"]
    instance.task = operator
    try:
        operator.execute(context)
    except OutcomeUnknown:
        return _LEFT_SOME if instance.left["not_tried"] else _FAILED
    except AirflowFailException:
        return _reported()
    except SmsError:
        return _AGAIN
    except BaseException:  # noqa: BLE001 - the log has the traceback
        return _reported()
    return _DONE


def _reported() -> int:
    import traceback

    traceback.print_exc()
    sys.stderr.flush()
    return _BROKEN


def _operator(job: Job, options: Options, clock: Clock) -> Any:
    from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
    from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
    from airflow_provider_winsms.options import Guarantee

    WinSMSGateway.limits = replace(WinSMSGateway.limits, recipients=options.per_request)
    SmsSendOperator.clock = SmsSendBatchOperator.clock = clock
    arguments: dict[str, Any] = {
        "task_id": job.task_id,
        "guarantee": Guarantee(job.guarantee),
        "on_changed": "send_the_rest",
        "on_rejected": "ignore",
        "hold": HOLD,
        "ledger_conn_id": _LEDGER_ID,
        "ledger_text": "keep",
    }
    if job.is_batch:
        messages = [{"text": text, "to": number} for text, number in job.texts]
        return SmsSendBatchOperator(messages=messages, **arguments)
    return SmsSendOperator(text=job.text, to=job.numbers, **arguments)


# A ledger that loses claims.


class LedgerLosses:
    """Removes claims from the ledger, as an older backup lacks them, and restores them.

    :param database: the database of the ledger.
    """

    def __init__(self, database: Warehouse) -> None:
        self._database = database
        self._batches: dict[int, str] = {}
        with closing(database.connect()) as connection, closing(connection.cursor()) as cursor:
            for table in _TABLES:
                cursor.execute(f"CREATE TABLE lost_{table} AS SELECT * FROM {table} WHERE 1 = 0")  # noqa: S608 - names of ours
            connection.commit()

    def remove(self, job: Job, store: StoreFile, *, is_all: bool) -> bool:
        """Remove the last claim of a task, or all its claims, and return whether that was done.

        Nothing is removed if the witness in the store lacks one of them: its request has not left, and may be
        forgotten.
        """
        found = self._database.rows(
            "SELECT b.batch_id, r.round, r.request FROM sms_batches b INNER JOIN sms_requests r "  # noqa: S608
            f"ON r.batch_id = b.batch_id WHERE b.task_id = '{job.task_id}' ORDER BY r.round, r.request"
        )
        claims = [(int(of_round), int(number)) for _, of_round, number in found]
        lost = claims if is_all else claims[-1:]
        if not lost or not _witnessed(store.rows()).issuperset(lost):
            return False
        of_round, number = lost[0]
        requests = f"(round > {of_round} OR (round = {of_round} AND request >= {number}))"
        which = (requests, requests, f"round > {of_round}", f"1 = {int(is_all)}")
        batch_id = self._batches[job.number] = found[0][0]
        for table, condition in zip(_TABLES, which, strict=True):
            self._move(table, f"lost_{table}", f"batch_id = '{batch_id}' AND {condition}")
        return True

    def restore(self, job: Job) -> None:
        """Restore the claims of a task."""
        batch_id = self._batches.pop(job.number, None)
        for table in _TABLES if batch_id else ():
            self._move(f"lost_{table}", table, f"batch_id = '{batch_id}'")

    def _move(self, source: str, target: str, condition: str) -> None:
        """Move rows. Rows that exist in the target stay unchanged."""
        with closing(self._database.connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(
                f"INSERT INTO {target} SELECT * FROM {source} WHERE {condition} ON CONFLICT DO NOTHING"  # noqa: S608
            )
            cursor.execute(f"DELETE FROM {source} WHERE {condition}")  # noqa: S608 - names of ours
            connection.commit()


def _witnessed(rows: Mapping[str, Any]) -> set[tuple[int, int]]:
    """Return the rounds and the numbers of the claims in the witness of a store."""
    from airflow_provider_winsms.ledger.base import positions_in
    from airflow_provider_winsms.ledger.witness import CLAIMS_KEY

    return {
        (int(of_round), number)
        for generations in rows.get(CLAIMS_KEY, {}).values()
        for rounds in generations.values()
        for of_round, spans in rounds.items()
        for number in positions_in(spans)
    }


# All tries.


@dataclass
class _Running:
    """A try that runs."""

    job: Job
    number: int
    process: ForkProcess
    kill_at: float
    overtake_at: float


class TryRunner:
    """Runs the tries of all jobs, some at a time, kills some of them, and impairs others."""

    def __init__(
        self, jobs: Sequence[Job], options: Options, clock: Clock, home: Path, database: Warehouse
    ) -> None:
        self._waiting = list(jobs)
        self._options = options
        self._clock = clock
        self._home = home
        self._log = home / _LOG
        self._losses = LedgerLosses(database)
        self._impairment_random = Random(-options.seed - 1)  # noqa: S311 - repeatable on purpose
        self._list_random = Random(options.seed + 1)  # noqa: S311 - repeatable on purpose
        self._random = Random(options.seed)  # noqa: S311 - repeatable on purpose
        self._fork = multiprocessing.get_context("fork")
        self._running: list[_Running] = []
        self.tries = 0
        self.killed = 0
        self.overtaken = 0
        self.changed = 0
        self.wrong: Counter[str] = Counter()

    def run(self) -> None:
        """Run until each job has ended.

        :raises RuntimeError: for an error that no fault explains.
        """
        deadline = time.monotonic() + LONGEST_RUN
        try:
            while self._waiting or self._running:
                self._start_waiting()
                self._supervise()
                time.sleep(0.01)
                if time.monotonic() > deadline:
                    msg = f"Not done after {LONGEST_RUN:.0f} seconds; see {self._log}."
                    raise RuntimeError(msg)
        finally:
            for each in self._running:
                each.process.kill()

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self._options.workers:
            self._start(self._waiting.pop(0))

    def _start(self, job: Job) -> None:
        job.tries += 1
        self.tries += 1
        if job.tries > MOST_TRIES:
            msg = f"{job.task_id} was tried {MOST_TRIES} times; see {self._log}."
            raise RuntimeError(msg)
        if job.tries > 1 and self._list_random.random() < self._options.changed:
            job.change(self._list_random)
            self.changed += 1
        wrong = self._impair(job)
        if job.has_store:
            StoreFile(self._home, job).begin_try(job.tries)
        arguments = (job, self._options, self._clock, self._home, wrong)
        process = self._fork.Process(target=try_once, args=arguments)
        process.start()
        now = time.monotonic()
        kill_at, overtake_at = now + self._delay(KILLED_SHARE), now + self._delay(OVERTAKEN_SHARE)
        self._running.append(_Running(job, job.tries, process, kill_at, overtake_at))

    def _is_cleared(self, job: Job) -> bool:
        """Clear a task that is done, at random and at most once."""
        is_cleared = job.ending == "done" and not job.is_cleared
        if is_cleared and self._impairment_random.random() < self._options.cleared:
            job.ending, job.is_cleared = "", True
            job.clears += 1
            return True
        return False

    def _impair(self, job: Job) -> Impairment:
        """Return the defects of the next try, and remove claims if that is one of them.

        Only one of the two, store or ledger, is wrong at a time.
        """
        random, share = self._impairment_random, self._options.wrong
        is_off, forgets, is_ledger, is_all = (random.random() < p for p in (share, share, 0.5, 0.5))
        clock_off = random.choice(CLOCKS_OFF) if is_off else 0
        false_reads = frozenset(random.sample(range(1, MOST_FALSE_READS + 1), k=3))
        self.wrong["clocks"] += is_off
        if not (forgets and job.has_store):
            return Impairment(clock_off)
        if not is_ledger:
            self.wrong["stores"] += 1
            return Impairment(clock_off, false_reads)
        if not any(each.job is job for each in self._running):
            self.wrong["ledgers"] += self._losses.remove(job, StoreFile(self._home, job), is_all=is_all)
        return Impairment(clock_off)

    def _delay(self, share: float) -> float:
        """Return after how many seconds an event is to happen, most likely few; or infinity."""
        drawn, seconds = self._random.random(), 0.03 * 100 ** self._random.random()
        return seconds if drawn < share else float("inf")

    def _supervise(self) -> None:
        now = time.monotonic()
        for each in list(self._running):
            if each.process.exitcode is not None:
                self._running.remove(each)
                self._finish(each, each.process.exitcode)
            elif now >= each.kill_at:
                each.process.kill()
                self.killed += 1
                each.kill_at = float("inf")
            elif now >= each.overtake_at:
                each.overtake_at = float("inf")
                self.overtaken += 1
                self._start(each.job)

    def _finish(self, ended: _Running, code: int) -> None:
        job = ended.job
        if code == _BROKEN:
            msg = f"A try of {job.task_id} ended with an unexpected error; see {self._log}."
            raise RuntimeError(msg)
        # A try that was overtaken may have had another list.
        if code in {_DONE, _FAILED} and ended.number == job.tries:
            job.ending = "done" if code == _DONE else "unknown"
        if any(each.job is job for each in self._running):
            return
        self._losses.restore(job)
        if job.ending and not self._is_cleared(job):
            return
        job.clears += code == _LEFT_SOME
        self._waiting.insert(0, job)


def jobs_of(options: Options) -> list[Job]:
    """Return the tasks. The next task also texts the last recipients of each."""
    random = Random(options.seed)  # noqa: S311 - repeatable on purpose
    jobs = []
    for number, start in enumerate(range(0, options.recipients, options.per_task)):
        end = min(start + options.per_task, options.recipients)
        numbers = [f"2782{each:07d}" for each in range(start, end)]
        if number:
            numbers[:3] = [f"2782{each:07d}" for each in range(start - 3, start)][: len(numbers)]
        guarantee = random.choice(GUARANTEES) if options.guarantee == "mix" else options.guarantee
        job = Job(
            number, guarantee, numbers, is_batch=bool(number % 2), has_store=random.random() < STORE_SHARE
        )
        job.absent = [f"2783{number:04d}{place:03d}" for place in range(1 + int(len(numbers) * MOVED_SHARE))]
        jobs.append(job)
    return jobs


# The sandbox and the ledger.


@contextmanager
def sandbox() -> Iterator[str]:
    """Run a sandbox in a process of its own, and give its base URL."""
    module = [sys.executable, "-m", "airflow_provider_winsms.sandbox", "--port", "0"]
    command = [*module, "--speed", str(SPEED), "--credits", str(GRANTED)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield next(word for line in process.stdout or () for word in line.split() if "/api/rest/v1" in word)
    finally:
        process.terminate()
        process.communicate()


class Controls:
    """The control surface of a sandbox."""

    def __init__(self, base_url: str) -> None:
        self._root = base_url.replace("/api/rest/v1", "/_sandbox")

    def get(self, path: str) -> Any:
        """Return the answer of a control."""
        import requests

        with requests.get(f"{self._root}{path}", timeout=60) as answer:
            answer.raise_for_status()
            return answer.json()

    def post(self, path: str, values: Mapping[str, Any]) -> None:
        """Post values to a control."""
        import requests

        with requests.post(f"{self._root}{path}", json=values, timeout=60) as answer:
            answer.raise_for_status()

    def arm(self, options: Options) -> None:
        """Arm every fault, so that together they strike the given share of requests."""
        for operation, faults in SEND_FAULTS.items():
            each = 1 - (1 - options.faults) ** (1 / len(faults))
            for number, fault in enumerate(faults):
                values = {"operation": operation, "probability": each, "seed": options.seed * 100 + number}
                self.post("/faults", {"fault": fault, **values, "seconds": 0.3, "retryAfter": 0})

    def clock(self) -> Clock:
        """Return the sandbox's clock. It is read only once, because its time passes evenly."""
        import pendulum

        from airflow_provider_winsms.runtime import Clock

        before = time.monotonic()
        shown = pendulum.parse(self.get("/clock")["now"])
        start = shown.timestamp() - (before + time.monotonic()) / 2 * SPEED  # type: ignore[union-attr]
        return Clock(partial(_now, start), _sleep)


def _now(start: float) -> Any:
    import pendulum

    return pendulum.from_timestamp(start + time.monotonic() * SPEED)


def _sleep(seconds: float) -> None:
    time.sleep(seconds / SPEED)


@contextmanager
def connections(base_url: str, options: Options, home: Path) -> Iterator[Warehouse]:
    """Define the connections of the gateway and the ledger's database, and yield the database."""
    from scripts import warehouse

    extra = {"connect_timeout": TIMEOUT, "read_timeout": TIMEOUT}
    gateway = {"conn_type": "winsms", "host": base_url, "password": "sandbox-key", "extra": extra}
    with warehouse.opened(options.ledger, home) as database:
        for name, connection in ((_CONN_ID, gateway), (_LEDGER_ID, database.connection)):
            os.environ[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)
        yield database


def read_ledger() -> list[LedgerRow]:
    """Read the ledger's rows in the order of submission."""
    from airflow_provider_winsms.hooks.connections import sql_hook

    query = (
        "SELECT b.task_id, b.guarantee, m.number, m.text, m.state, m.message_id, m.cost "
        "FROM sms_messages m INNER JOIN sms_batches b ON b.batch_id = m.batch_id "
        "ORDER BY b.generation, m.round, m.request, m.position"
    )
    with closing(sql_hook(_LEDGER_ID).get_conn()) as database, closing(database.cursor()) as cursor:
        cursor.execute(query)
        rows = cursor.fetchall()
    return [LedgerRow._make((*row[:5], row[5] and int(row[5]), Decimal(str(row[6])))) for row in rows]


def _warm_up() -> None:
    """Import everything that a try needs before the fork. No open connection may be shared with the forks."""
    from airflow_provider_winsms.hooks.connections import sql_hook
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
    from airflow_provider_winsms.operators.sms import SmsSendOperator

    SmsSendOperator(task_id="warm_up", text="Hallo", to="27825550101")
    hook = SmsHook.of(_CONN_ID)
    hook.get_conn().close()
    SqlLedger(sql_hook(_LEDGER_ID), "warm up", hook.hashes, SqlOptions()).close()


def check(options: Options, home: Path) -> tuple[Findings, str]:
    """Send, and return the findings and a line about the run."""
    os.environ |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    began = time.monotonic()
    jobs = jobs_of(options)
    with sandbox() as base_url, connections(base_url, options, home) as database:
        controls = Controls(base_url)
        _warm_up()
        _opt_some_out(controls, jobs, options)
        controls.arm(options)
        controls.post("/scheduled", {"newestFirst": options.newest_first})
        runner = TryRunner(jobs, options, controls.clock(), home, database)
        runner.run()
        time.sleep(1)  # requests may still be in flight
        spent = GRANTED - Decimal(str(controls.get("/account")["creditBalance"]))
        struck = sum(fault["struck"] for fault in controls.get("/faults"))
        sends = sum(row["operation"] in SENDS for row in controls.get("/requests"))
        findings = compare(jobs, read_ledger(), controls.get("/outbox"), spent)
    said = (
        f"{len(jobs)} tasks in {runner.tries} tries, {runner.killed} of them killed and "
        f"{runner.overtaken} overtaken, {runner.changed} with a changed list; {sends} send requests, "
        f"{struck} struck by a fault; wrong "
        f"were {', '.join(f'{number} {what}' for what, number in sorted(runner.wrong.items()))}; "
        f"{time.monotonic() - began:.0f} seconds"
    )
    return findings, said


def _opt_some_out(controls: Controls, jobs: Sequence[Job], options: Options) -> None:
    random = Random(options.seed)  # noqa: S311 - repeatable on purpose
    for job in random.sample(jobs, k=min(len(jobs), 30)):
        controls.post("/optouts", {"mobileNumber": random.choice(job.numbers)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print the findings, and return 1 if a promise was broken."""
    options = Options(**vars(_parser().parse_args(arguments)))
    with tempfile.TemporaryDirectory(prefix="sms-history-") as passing:
        home = options.home or Path(passing)
        try:
            findings, said = check(options, home)
        except RuntimeError as error:
            sys.stderr.write(f"{(home / _LOG).read_text(errors='replace')[-8000:]}\n{error}\n")
            return 2
    sys.stdout.write("\n".join([f"{options.guarantee}, seed {options.seed}: {said}", *findings.lines(), ""]))
    return int(findings.is_broken)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.check_history", description=(__doc__ or "").strip()
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipients", type=int, default=10_000)
    parser.add_argument("--guarantee", choices=(*GUARANTEES, "mix"), default="mix")
    parser.add_argument("--per-task", type=int, default=100, help="recipients of one task")
    parser.add_argument("--per-request", type=int, default=25, help="recipients of one request")
    parser.add_argument("--workers", type=int, default=8, help="tries that run at once")
    parser.add_argument("--faults", type=float, default=0.2, help="share of send requests that are struck")
    parser.add_argument(
        "--wrong", type=float, default=0.2, help="share of tries whose memory or clock is wrong"
    )
    parser.add_argument(
        "--cleared", type=float, default=0.1, help="share of tasks that are cleared when they are done"
    )
    parser.add_argument("--changed", type=float, default=0.2, help="share of retries whose list has changed")
    parser.add_argument("--newest-first", action="store_true", help="list the newest scheduled texts first")
    parser.add_argument("--ledger", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--home", type=Path, help="an empty folder to keep the log and an SQLite ledger in")
    return parser


if __name__ == "__main__":
    sys.exit(main())
