"""One cell of the matrix: a send that is struck at one point, and tried until it ends."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.prove.crash.points import REQUEST_SIZE, Blow, Moment, Point
from tests.prove.crash.stage import Api, Try

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.prove.crash.proxy import Proxy
    from tests.prove.crash.stage import Workers
    from tests.support.databases import Database

FEW = 8
"""So many people at most get requests of ``REQUEST_SIZE``."""
LETTERS = "abcdefgh"
BAD_NUMBER = "27000000005"
CONN_ID = "ledger"
RETRIES = 6
SOON = 5.0
"""Seconds after which a task is tried again, inside the hold."""
LATE = 1200.0
"""Seconds after which it is tried again when every hold has passed."""
_DAY = 86_400.0
_HOUR = 3600.0

_MESSAGES = (
    "SELECT m.message_id, m.cost FROM {p}sms_messages m JOIN {p}sms_batches b ON b.batch_id = m.batch_id "
    "WHERE b.task_id = '{task}' AND m.message_id IS NOT NULL AND m.state <> 'cancelled'"
)
_COUNTS = "SELECT cost, refunded, accepted FROM {p}sms_batches WHERE task_id = '{task}'"


@dataclass(frozen=True)
class Case:
    """What is tried: where the blow falls, under which guarantee, with which memory.

    :param fault: what the sandbox does to the first send, besides.
    :param is_batch: whether the operator is the one for different texts.
    :param is_scheduled: whether the DAG gives a time.
    :param delay: seconds before each retry.
    :param dies_at: where the process is killed after the blow.
    :param wrong: what is wrong while the task is tried again for the first time.
    :param lists: what each try is to send, the last one for all further tries: a letter for each person, a
        capital for another text to the same one; none: every try sends the same to all.
    :param has_rule: whether a rule takes out one person, another one in each try.
    :param cancels: whether a kill cancels what is not due.
    :param people: how many can be texted; with so many that requests have their real size, it is.
    """

    guarantee: str
    ledger: str
    point: Point | None = None
    blow: Blow | None = None
    fault: str | None = None
    skip: int = 0
    is_batch: bool = False
    is_scheduled: bool = False
    delay: float = SOON
    cancels: bool = False
    people: int = 4
    dies_at: Point | None = None
    wrong: str = ""
    lists: tuple[str, ...] = ()
    has_rule: bool = False

    @property
    def is_big(self) -> bool:
        """Whether requests have their real size."""
        return self.people > FEW

    @property
    def boundary(self) -> str:
        """The row of the table."""
        where = self.point.name if self.point else f"request {self.skip + 1}" if self.fault else "first try"
        what = f"{self.blow or ''} {self.fault or ''}".strip() or "no blow"
        wrong = f", {self.wrong}" if self.wrong else ""
        late = ", retried after the hold" if self.delay == LATE else ""
        cancels = ", cancels" if self.cancels else ""
        big = f", {self.people} people" if self.is_big else ""
        batch = ", batch" if self.is_batch else ""
        dies = f", SIGKILL {self.dies_at.name}" if self.dies_at else ""
        lists = f", {' then '.join(self.lists)}" if self.lists else ""
        rule = ", rule" if self.has_rule else ""
        return f"{what} | {where}{dies}{late}{cancels}{big}{batch}{wrong}{lists}{rule}"

    @property
    def column(self) -> str:
        """The column of the table."""
        kind = ", scheduled" if self.is_scheduled else ""
        return f"{self.guarantee}{kind} {self.ledger}"

    @property
    def id(self) -> str:
        return f"{self.boundary}-{self.column}".replace(" | ", "-").replace(" ", "_")


@dataclass
class Cell:
    """A case that is being tried, with recipients of its own."""

    case: Case
    key: int
    workers: Workers
    sandbox: Sandbox
    database: Database | None
    proxy: Proxy
    tries: list[Try] = field(default_factory=list)
    api: Api = field(init=False)
    balance: Decimal = field(init=False)

    def __post_init__(self) -> None:
        self.api = Api(self._connections(), retries=RETRIES)
        self.balance = self._credits()

    @property
    def people(self) -> list[str]:
        """Who can be texted; the first four fill three requests with the one who cannot."""
        if self.case.is_big:
            return [f"2783{self.key % 1000:03d}{place:04d}" for place in range(self.case.people)]
        return [f"27825{self.key:04d}{place:02d}" for place in range(self.case.people)]

    @property
    def recipients(self) -> list[str]:
        return [*self.people[:3], BAD_NUMBER, *self.people[3:]]

    @property
    def owed(self) -> set[str]:
        """Whom the last try has to text: all, or those of its list to whom no try had another text."""
        if self.case.has_rule:
            return set(self.people) - {self.taken_out}
        if not self.case.lists:
            return set(self.people)
        others = set("".join(self.case.lists).swapcase())
        return {self.number_of(letter) for letter in self.case.lists[-1] if letter not in others}

    @property
    def taken_out(self) -> str:
        """Whom the rule takes out: as the first try said that opened its batch."""
        was_opened = self.case.point != Point("open", Moment.BEFORE_COMMIT)
        return self.people[0 if was_opened else 1]

    @property
    def letters(self) -> list[str]:
        """What the gateway accepted, as the lists name it."""
        return sorted(text["message"][-1] for text in self.texts)

    def number_of(self, letter: str) -> str:
        """Return the number of the person that a list names so."""
        return self.people[LETTERS.index(letter.lower())]

    def run(self) -> None:
        """Try until the task has succeeded or failed for good."""
        self.run_struck()
        self.run_on()

    def run_struck(self) -> None:
        """Let the first try run into what is in store for it."""
        if self.case.fault:
            self.sandbox.add_fault(self.case.fault, operation=self._operation, skip=self.case.skip)
        self.run_try(self.order(is_struck=True))
        self.proxy.disarm()

    def run_on(self) -> None:
        """Try again, until the task has succeeded or failed for good."""
        while not self.is_over:
            self.sandbox.advance(self.case.delay)
            self.run_try(self.order())

    @property
    def sends(self) -> int:
        """How many requests to send the gateway has got, of all cells."""
        return sum(request["operation"] == self._operation for request in self.sandbox.requests())

    @property
    def is_over(self) -> bool:
        """Whether the task will not be tried again."""
        return self.api.reported.get("state") in {"success", "failed"} or self.api.try_number > RETRIES

    @property
    def was_struck(self) -> bool:
        """Whether the process came to the point."""
        return self.case.point is None or self.tries[0].has_struck or self.proxy.has_struck

    def order(self, *, is_struck: bool = False, task_id: str = "", **changes: Any) -> Try:
        """Order a try."""
        point = self.case.point if is_struck and not self._is_at_gateway else None
        task = {**self._task(), **changes}
        if task_id:
            task["task_id"] = task_id
        made = Try.of(
            self.workers,
            self.api,
            self.sandbox,
            task,
            point=point,
            blow=self.case.blow,
            request_size=None if self.case.is_big else REQUEST_SIZE,
        )
        self.tries.append(made)
        self.proxy.pid = made.pid
        return made

    def zombie(self) -> Try:
        """Begin a try, and return it when it has stopped itself."""
        begun = self.order(is_struck=True)
        begun.begin()
        begun.run(until_struck=True)
        begun.wait_until_it_stands_still()
        return begun

    def run_try(self, one: Try) -> None:
        """Let a try run to its end. What is still under way arrives while a retry waits."""
        if len(self.tries) > 1:
            one.when_it_waits = self.proxy.let_late_arrive
        one.begin()
        one.run()
        if self.is_over:
            self.proxy.let_late_arrive()

    def close(self) -> None:
        for each in self.tries:
            each.close()
        self.sandbox.clear_faults()
        self.sandbox.advance(_DAY)

    @property
    def spent(self) -> Decimal:
        return self.balance - self._credits()

    @property
    def texts(self) -> list[dict[str, Any]]:
        """What the gateway accepted from this cell and has not cancelled."""
        return [text for text in self._accepted() if not text["cancelled"]]

    @property
    def taken_back(self) -> list[dict[str, Any]]:
        """What was accepted and cancelled."""
        return [text for text in self._accepted() if text["cancelled"]]

    def _accepted(self) -> list[dict[str, Any]]:
        mine = set(self.people)
        return [text for text in self.sandbox.outbox() if text["mobileNumber"] in mine]

    @property
    def task_id(self) -> str:
        return f"send_{self.key}"

    def remembered(self) -> tuple[set[int], Decimal]:
        """Return the ids that the ledger has, and what they cost."""
        return self._in_tables() if self.database else self._in_store()

    @property
    def _is_at_gateway(self) -> bool:
        return self.case.point is not None and self.case.point.is_of_gateway

    @property
    def _operation(self) -> str:
        return "smsSendBatch" if self.case.is_batch else "smsSend"

    def _task(self) -> dict[str, Any]:
        return {
            "task_id": self.task_id,
            "guarantee": self.case.guarantee,
            "retries": RETRIES,
            "execution_timeout": _HOUR,
            "cancel_on_kill": self.case.cancels,
            **self._contents(),
            **({"has_rule": True} if self.case.has_rule else {}),
            **({"ledger_conn_id": CONN_ID} if self.database else {}),
        }

    def _contents(self) -> dict[str, Any]:
        if self.case.lists:
            return {"messages": self._listed(), "on_changed": "send_the_rest"}
        when = self._send_at()
        if not self.case.is_batch:
            return {"text": "Hallo", "to": self.recipients, "send_at": when}
        return {
            "messages": [
                {"text": f"Hallo {place}", "to": number, "send_at": when}
                for place, number in enumerate(self.recipients)
            ]
        }

    def _listed(self) -> list[dict[str, str]]:
        """Return what the next try is to send."""
        letters = self.case.lists[min(len(self.tries), len(self.case.lists) - 1)]
        return [{"text": f"Hallo {letter}", "to": self.number_of(letter)} for letter in letters]

    def _send_at(self) -> str | None:
        if not self.case.is_scheduled:
            return None
        self._when = getattr(self, "_when", None) or self.sandbox.now() + timedelta(minutes=10)
        return self._when.isoformat()

    def _connections(self) -> dict[str, Mapping[str, Any]]:
        host = self.sandbox.base_url.replace(f":{self.sandbox.port}/", f":{self.proxy.port}/")
        gateway = {"conn_type": "winsms", "host": host, "password": self.sandbox.api_key}
        database = {CONN_ID: self.database.connection} if self.database else {}
        return {"winsms_default": gateway, **database}

    def _credits(self) -> Decimal:
        return Decimal(str(self.sandbox.account()["creditBalance"]))

    def _in_tables(self) -> tuple[set[int], Decimal]:
        """Return what the rows of the messages say, which the counts of the batch must say as well."""
        assert self.database is not None
        rows = self.database.execute(_MESSAGES.format(p="{0}", task=self.task_id))
        counts = self.database.execute(_COUNTS.format(p="{0}", task=self.task_id))
        paid = sum((_amount(cost) for _, cost in rows), Decimal(0))
        assert sum((_amount(cost) - _amount(refunded) for cost, refunded, _ in counts), Decimal(0)) == paid
        assert sum(accepted for *_, accepted in counts) == len(rows)
        return {int(message_id) for message_id, _ in rows}, paid

    def _in_store(self) -> tuple[set[int], Decimal]:
        from airflow_provider_winsms.ledger.task_state import BATCH_KEY, record_of

        rows = [row for key, row in self.api.task_state.items() if key.startswith(f"{BATCH_KEY}.")]
        records = [record_of(json.loads(row) if isinstance(row, str) else row) for row in rows]
        ids = {int(message_id) for record in records for message_id in record.ids.values()}
        return ids, sum((cost for record in records for cost in record.costs.values()), Decimal(0))


def _amount(value: Any) -> Decimal:
    return round(Decimal(str(value)), 2)


COMMITS = (Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT)
AT_GATEWAY = (Moment.HALF_SENT, Moment.SENT, Moment.NO_ANSWER, Moment.HALF_ANSWERED)


def points_of_request(number: int) -> list[Point]:
    """Every boundary that one request of the first round passes."""
    return [
        *(Point("claim", moment, number) for moment in COMMITS),
        *(Point("send", moment, number) for moment in AT_GATEWAY),
        *(Point("record", moment, number) for moment in COMMITS),
    ]


def points_of_send(*numbers: int) -> list[Point]:
    """Every boundary that a send passes, of those of its requests."""
    opening = [Point("open", moment) for moment in COMMITS]
    return [*opening, *(point for number in numbers for point in points_of_request(number))]


LOOK_UP = [
    Point("list", Moment.NO_ANSWER, 1),
    Point("list", Moment.HALF_ANSWERED, 1),
    Point("list", Moment.NO_ANSWER, 2),
]
DECISION = [Point("record", moment, 2) for moment in COMMITS]
SECOND_ROUND = [
    *(Point("claim", moment, 1, 2) for moment in COMMITS),
    *(Point("send", moment, 4) for moment in AT_GATEWAY),
    *(Point("record", moment, 1, 2) for moment in COMMITS),
]
"""The boundaries of what follows when the answer of the second of three requests was lost."""
