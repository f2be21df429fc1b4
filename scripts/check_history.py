"""Check the history of many sends against the promises, in the style of Jepsen.

Workers send to thousands of recipients through a sandbox that loses, doubles and delays answers, and are
killed with SIGKILL at any moment; now and then a retry begins while the process before it still lives. Each
task is tried again until it is done. Then the ledger is held against the sandbox's outbox, text by text:

    python -m scripts.check_history --seed 7 --recipients 10000 --guarantee exactly_once

The sandbox's time runs many times as fast as the wall's, and the workers go by it. The same seed gives the
same faults and the same plan of kills; what they hit depends on the machine.
"""

from __future__ import annotations

import argparse
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
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.sandbox.faults import FAULTS
from airflow_provider_winsms.sandbox.operations import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from multiprocessing.context import ForkProcess

    from airflow_provider_winsms.sending import Clock

SPEED = 20
"""How many seconds of the sandbox pass in one second."""

TIMEOUT = 10
"""The time-outs of the connection, in the sandbox's seconds as well as the wall's."""

HOLD = timedelta(minutes=3)
"""How far ahead ``exactly_once`` schedules texts. The longer, the longer is the list that is read."""

GRANTED = 10_000_000
"""Credits to start with."""

KILLED_SHARE = 0.25
"""How many of the tries are killed before they are done, if they take long enough."""

OVERTAKEN_SHARE = 0.05
"""How many of the tries are tried again while they still run."""

MOST_TRIES = 60
LONGEST_RUN = 600.0
"""Tries of one task, and seconds of all, after which something must be wrong."""

GUARANTEES = ("at_most_once", "exactly_once", "at_least_once")
SEND_FAULTS = tuple(name for name, fault in FAULTS.items() if fault.concerns(named("smsSend")))
"""Every fault that can strike a send."""

_DONE, _AGAIN, _FAILED, _LEFT_SOME, _BROKEN = 0, 10, 11, 12, 13
_LOG = "tries.log"
_CONN_ID, _LEDGER_ID = "winsms_default", "history_ledger"
_KNOWN_STATES = {"declined", "unknown", "cancelled"}


@dataclass(frozen=True)
class Options:
    """What is asked for.

    :param faults: the share of send requests that something happens to.
    :param per_task: recipients of one task.
    :param per_request: recipients of one request.
    :param home: where the log and an SQLite ledger are kept; ``None``: nothing is.
    """

    seed: int
    recipients: int
    guarantee: str
    per_task: int
    per_request: int
    workers: int
    faults: float
    ledger: str
    home: Path | None = None


@dataclass
class Job:
    """One task, through all its tries."""

    number: int
    guarantee: str
    numbers: list[str]
    tries: int = 0
    clears: int = 0
    ending: str = ""

    @property
    def task_id(self) -> str:
        """The name of the task."""
        return f"send_{self.number:04d}"

    @property
    def text(self) -> str:
        """What it sends, which no other one does."""
        return f"Text of task {self.number}"


class Known(NamedTuple):
    """What the ledger knows last of one text to one recipient."""

    task_id: str
    guarantee: str
    number: str
    text: str
    state: str
    message_id: int | None
    cost: Decimal

    @property
    def is_accepted(self) -> bool:
        """Whether the gateway has it."""
        return self.state not in _KNOWN_STATES


@dataclass
class Findings:
    """What came out."""

    recipients: int = 0
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
        """Whether what was spent is what the texts cost, and the ledger has each cost right."""
        return self.spent == self.costs and self.are_costs_right

    @property
    def is_broken(self) -> bool:
        """Whether a promise was broken."""
        broken = self.doubled or self.lost or self.unaccounted or self.untold or self.unfinished
        return bool(broken) or not self.is_conserved

    def lines(self) -> list[str]:
        """Return what there is to say."""
        return [
            f"recipients           {self.recipients}",
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
            *(f"  {count} x {what}" for what, count in self.broken_for.most_common(10)),
        ]


def judge(
    jobs: Sequence[Job], ledger: Iterable[Known], outbox: Iterable[Mapping[str, Any]], spent: Decimal
) -> Findings:
    """Hold the ledger against the outbox.

    :param ledger: the last row of each text to each recipient, and all rows before it, in their order.
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
        for number in job.numbers:
            _judge_one(findings, job, known.get((job.text, number)), texts.pop((job.text, number), []))
    findings.unaccounted += sum(map(len, texts.values()))
    return findings


def _judge_one(findings: Findings, job: Job, row: Known | None, texts: Sequence[Mapping[str, Any]]) -> None:
    costs = {text["apiMessageId"]: Decimal(str(text["creditCost"])) for text in texts}
    findings.recipients += 1
    may_double = job.guarantee == "at_least_once"
    if len(texts) > 1:
        findings.doubled += not may_double
        findings.broken_for[f"{job.task_id} doubled"] += not may_double
        findings.doubled_by_leave += may_double
    if row is None:
        findings.lost += job.ending == "done"
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
    """What a send asks of its task instance."""

    dag_id, run_id, map_index = "history", "seeded", -1

    def __init__(self, job: Job) -> None:
        self.task_id = job.task_id
        self.try_number = job.tries
        self.max_tries = job.clears
        self.left: dict[str, Any] = {}
        self.task: Any = None

    def xcom_push(self, key: str, value: dict[str, Any]) -> None:
        """Keep what a send that fails leaves."""
        self.left = {key: value, **value}


def try_once(job: Job, options: Options, clock: Clock, log: Path) -> None:
    """Run one try of a task, and end the process with a code that says what came of it."""
    with log.open("ab") as out:
        os.dup2(out.fileno(), sys.stdout.fileno())
        os.dup2(out.fileno(), sys.stderr.fileno())
    os._exit(_tried(job, options, clock))


def _tried(job: Job, options: Options, clock: Clock) -> int:
    from airflow.providers.common.compat.sdk import AirflowFailException

    from airflow_provider_winsms.exceptions import OutcomeUnknown, SmsError

    instance = _TaskInstance(job)
    instance.task = operator = _operator(job, options, clock)
    try:
        operator.execute({"ti": instance})
    except OutcomeUnknown:
        return _LEFT_SOME if instance.left["not_tried"] else _FAILED
    except AirflowFailException:
        return _reported()
    except SmsError:
        return _AGAIN
    except BaseException:  # noqa: BLE001 - the log has it, and the code tells
        return _reported()
    return _DONE


def _reported() -> int:
    import traceback

    traceback.print_exc()
    sys.stderr.flush()
    return _BROKEN


def _operator(job: Job, options: Options, clock: Clock) -> Any:
    from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
    from airflow_provider_winsms.operators.sms import SmsSendOperator

    WinSMSGateway.limits = replace(WinSMSGateway.limits, recipients=options.per_request)
    SmsSendOperator.clock = clock
    return SmsSendOperator(
        task_id=job.task_id,
        text=job.text,
        to=job.numbers,
        guarantee=job.guarantee,
        on_rejected="ignore",
        hold=HOLD,
        ledger_conn_id=_LEDGER_ID,
        ledger_text="keep",
    )


# All tries.


@dataclass
class _Running:
    """A try that runs."""

    job: Job
    process: ForkProcess
    kill_at: float
    overtake_at: float


class Workshop:
    """Runs the tries of all jobs, some at a time, and kills some of them."""

    def __init__(self, jobs: Sequence[Job], options: Options, clock: Clock, log: Path) -> None:
        self._waiting = list(jobs)
        self._options = options
        self._clock = clock
        self._log = log
        self._chance = Random(options.seed)  # noqa: S311 - repeatable on purpose
        self._fork = multiprocessing.get_context("fork")
        self._running: list[_Running] = []
        self.tries = 0
        self.killed = 0
        self.overtaken = 0

    def run(self) -> None:
        """Run until each job has ended.

        :raises RuntimeError: if something went wrong that no fault explains.
        """
        deadline = time.monotonic() + LONGEST_RUN
        try:
            while self._waiting or self._running:
                self._fill()
                self._tend()
                time.sleep(0.01)
                if time.monotonic() > deadline:
                    msg = f"Not done after {LONGEST_RUN:.0f} seconds; see {self._log}."
                    raise RuntimeError(msg)
        finally:
            for each in self._running:
                each.process.kill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._options.workers:
            self._start(self._waiting.pop(0))

    def _start(self, job: Job) -> None:
        job.tries += 1
        self.tries += 1
        if job.tries > MOST_TRIES:
            msg = f"{job.task_id} was tried {MOST_TRIES} times; see {self._log}."
            raise RuntimeError(msg)
        arguments = (job, self._options, self._clock, self._log)
        process = self._fork.Process(target=try_once, args=arguments)
        process.start()
        now = time.monotonic()
        kill_at = now + self._moment(KILLED_SHARE)
        self._running.append(_Running(job, process, kill_at, now + self._moment(OVERTAKEN_SHARE)))

    def _moment(self, share: float) -> float:
        """Return in how many seconds something is to happen, most likely soon; or never."""
        drawn, seconds = self._chance.random(), 0.03 * 100 ** self._chance.random()
        return seconds if drawn < share else float("inf")

    def _tend(self) -> None:
        now = time.monotonic()
        for each in list(self._running):
            if each.process.exitcode is not None:
                self._running.remove(each)
                self._settle(each.job, each.process.exitcode)
            elif now >= each.kill_at:
                each.process.kill()
                self.killed += 1
                each.kill_at = float("inf")
            elif now >= each.overtake_at:
                each.overtake_at = float("inf")
                self.overtaken += 1
                self._start(each.job)

    def _settle(self, job: Job, code: int) -> None:
        if code == _BROKEN:
            msg = f"A try of {job.task_id} ended as none should; see {self._log}."
            raise RuntimeError(msg)
        if code in {_DONE, _FAILED}:
            job.ending = "done" if code == _DONE else "unknown"
        if job.ending or any(each.job is job for each in self._running):
            return
        job.clears += code == _LEFT_SOME
        self._waiting.insert(0, job)


def jobs_of(options: Options) -> list[Job]:
    """Return the tasks; the last recipients of each are texted by the next one, too."""
    chance = Random(options.seed)  # noqa: S311 - repeatable on purpose
    jobs = []
    for number, start in enumerate(range(0, options.recipients, options.per_task)):
        end = min(start + options.per_task, options.recipients)
        numbers = [f"2782{each:07d}" for each in range(start, end)]
        if number:
            numbers[:3] = [f"2782{each:07d}" for each in range(start - 3, start)][: len(numbers)]
        guarantee = chance.choice(GUARANTEES) if options.guarantee == "mix" else options.guarantee
        jobs.append(Job(number, guarantee, numbers))
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
        """Return what a control shows."""
        import requests

        with requests.get(f"{self._root}{path}", timeout=60) as answer:
            answer.raise_for_status()
            return answer.json()

    def post(self, path: str, values: Mapping[str, Any]) -> None:
        """Use a control."""
        import requests

        with requests.post(f"{self._root}{path}", json=values, timeout=60) as answer:
            answer.raise_for_status()

    def arm(self, options: Options) -> None:
        """Ask for every fault there is, so that together they strike the share that was asked for."""
        each = 1 - (1 - options.faults) ** (1 / len(SEND_FAULTS))
        for number, fault in enumerate(SEND_FAULTS):
            values = {"operation": "smsSend", "probability": each, "seed": options.seed * 100 + number}
            self.post("/faults", {"fault": fault, **values, "seconds": 0.3, "retryAfter": 0})

    def clock(self) -> Clock:
        """Return the sandbox's clock: its time passes evenly, so it need be asked only once."""
        import pendulum

        from airflow_provider_winsms.sending import Clock

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
def connections(base_url: str, options: Options, home: Path) -> Iterator[None]:
    """Let Airflow find the gateway and the ledger's database."""
    from scripts import warehouse

    extra = {"connect_timeout": TIMEOUT, "read_timeout": TIMEOUT}
    gateway = {"conn_type": "winsms", "host": base_url, "password": "sandbox-key", "extra": extra}
    with warehouse.opened(options.ledger, home) as database:
        for name, connection in ((_CONN_ID, gateway), (_LEDGER_ID, database.connection)):
            os.environ[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)
        yield


def read_ledger() -> list[Known]:
    """Read the ledger's rows; of a text that was submitted several times, the last one comes last."""
    from airflow_provider_winsms.hooks.connections import sql_hook

    query = (
        "SELECT b.task_id, b.guarantee, m.number, m.text, m.state, m.message_id, m.cost "
        "FROM sms_messages m INNER JOIN sms_batches b ON b.batch_id = m.batch_id "
        "ORDER BY b.generation, m.round, m.request, m.position"
    )
    with closing(sql_hook(_LEDGER_ID).get_conn()) as database, closing(database.cursor()) as cursor:
        cursor.execute(query)
        rows = cursor.fetchall()
    return [Known(*row)._replace(cost=Decimal(str(row[-1]))) for row in rows]


def _warm_up() -> None:
    """Load what each try needs, before they are forked; nothing that is open may be shared with them."""
    from airflow_provider_winsms.hooks.connections import sql_hook
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
    from airflow_provider_winsms.operators.sms import SmsSendOperator

    SmsSendOperator(task_id="warm_up", text="", to="")
    hook = SmsHook.of(_CONN_ID)
    hook.get_conn().close()
    SqlLedger(sql_hook(_LEDGER_ID), "warm up", hook.hashes, SqlOptions()).close()


def check(options: Options, home: Path) -> tuple[Findings, str]:
    """Send, and return what the ledger and the outbox say of it, and a line about the run."""
    os.environ |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    began = time.monotonic()
    jobs = jobs_of(options)
    with sandbox() as base_url, connections(base_url, options, home):
        controls = Controls(base_url)
        _warm_up()
        _opt_some_out(controls, jobs, options)
        controls.arm(options)
        workshop = Workshop(jobs, options, controls.clock(), home / _LOG)
        workshop.run()
        time.sleep(1)  # for what is still on its way
        spent = GRANTED - Decimal(str(controls.get("/account")["creditBalance"]))
        struck = sum(fault["struck"] for fault in controls.get("/faults"))
        sends = Counter(row["operation"] for row in controls.get("/requests"))["smsSend"]
        findings = judge(jobs, read_ledger(), controls.get("/outbox"), spent)
    said = (
        f"{len(jobs)} tasks in {workshop.tries} tries, {workshop.killed} of them killed and "
        f"{workshop.overtaken} overtaken; {sends} send requests, {struck} struck by a fault; "
        f"{time.monotonic() - began:.0f} seconds"
    )
    return findings, said


def _opt_some_out(controls: Controls, jobs: Sequence[Job], options: Options) -> None:
    chance = Random(options.seed)  # noqa: S311 - repeatable on purpose
    for job in chance.sample(jobs, k=min(len(jobs), 30)):
        controls.post("/optouts", {"mobileNumber": chance.choice(job.numbers)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, say what came out, and return 1 if a promise was broken."""
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
    parser.add_argument("--ledger", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--home", type=Path, help="an empty folder to keep the log and an SQLite ledger in")
    return parser


if __name__ == "__main__":
    sys.exit(main())
