"""Two weeks of fictional history, in the tables that ``SmsToSqlOperator`` loads: always the same rows.

A clinic sends reminders of appointments on weekdays, invoices on Tuesdays, and an offer on Fridays. On the
10th and 11th a mobile network is down. Offers make some people opt out. The gateway declines further texts
to them. One of them opts in again, and opts out a second time.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.ledger.schema import MessageState
from airflow_provider_winsms.sql.compiler import dialect_of
from airflow_provider_winsms.sql.dialects import DIALECTS
from airflow_provider_winsms.sql.types import type_names
from airflow_provider_winsms.warehouse.datasets import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_winsms.sql.types import ColumnType

    Row = dict[str, Any]

_DATASETS = {
    "deliveries": "deliveries",
    "incoming": "incoming",
    "opt_outs": "opt_outs",
    "opt_outs_history": "opt_outs",
}

COLUMNS: Mapping[str, Mapping[str, ColumnType]] = {
    table: {column.name: column.kind for column in DATASETS[dataset].columns}
    for table, dataset in _DATASETS.items()
}
"""The columns of the tables that the views read, by the table's name here."""

FIRST_DAY = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 14
_OUTAGE = (8, 9)
_PEOPLE = 90
_NAMED = 0.9
"""The share of replies for which the gateway names a text."""

_SOUTH_AFRICA = timedelta(hours=2)
_OPTED_IN_AGAIN_AT = datetime(2026, 3, 9, 9, 0, tzinfo=UTC)
_NIGHTLY_LOAD = timedelta(hours=23)


@dataclass(frozen=True, slots=True)
class Campaign:
    """The sends of one DAG.

    :param days: the days on which it sends, from 0.
    :param hour: the hour of its sends, in UTC.
    :param size: the number of recipients.
    :param ahead: the time from submission to departure of a text.
    :param replies: the share of recipients who reply.
    :param opt_outs: the share of recipients who opt out.
    """

    dag_id: str
    task_id: str
    days: Sequence[int]
    hour: int
    size: int
    cost: Decimal
    ahead: timedelta | None
    replies: float
    opt_outs: float


CAMPAIGNS = (
    Campaign("appointments", "remind", (0, 1, 2, 3, 4, 7, 8, 9, 10, 11), 6, 24, Decimal(1), None, 0.3, 0),
    Campaign("invoices", "notify", (1, 8), 8, 60, Decimal(1), None, 0.06, 0.01),
    Campaign("offers", "send_offer", (4, 11), 9, 80, Decimal(2), timedelta(hours=2), 0.08, 0.07),
)


@dataclass
class History:
    """The rows of each table, in the order of events."""

    random: Random = field(default_factory=lambda: Random(20260301))  # noqa: S311 - no secret
    hashes: KeyedHash = field(default_factory=lambda: KeyedHash("a key for the demo only"))
    deliveries: list[Row] = field(default_factory=list)
    incoming: list[Row] = field(default_factory=list)
    periods: list[Row] = field(default_factory=list)

    def run(self) -> History:
        """Simulate the two weeks."""
        for day in range(DAYS):
            for campaign in CAMPAIGNS:
                if day in campaign.days:
                    self._send(campaign, day)
            self._opt_in_again(FIRST_DAY + timedelta(days=day))
        self._receive(
            self._number("27000009999"), FIRST_DAY + timedelta(days=5, hours=12), "Who is this?", None
        )
        return self

    def tables(self) -> dict[str, list[Row]]:
        """Return the rows of each table."""
        current = {row["number"]: row for row in self.periods}
        return {
            "deliveries": self.deliveries,
            "incoming": self.incoming,
            "opt_outs": list(current.values()),
            "opt_outs_history": self.periods,
        }

    def _send(self, campaign: Campaign, day: int) -> None:
        submitted_at = FIRST_DAY + timedelta(days=day, hours=campaign.hour, seconds=7 + day)
        for position, person in enumerate(self._some_people(campaign.size)):
            text = self._text(campaign, submitted_at, position, person)
            self.deliveries.append(text)
            if self._is_out(text["number"], submitted_at):
                text.update(state="declined", reason="opted_out", cost=Decimal(0), message_id=None)
            elif campaign.ahead and day == CAMPAIGNS[-1].days[-1] and position % 10 == 0:
                text.update(state="cancelled", refund=campaign.cost)
            else:
                self._arrive(text, is_outage=day in _OUTAGE)
                self._respond(text, campaign)

    def _text(self, campaign: Campaign, at: datetime, position: int, person: int) -> Row:
        send_at = None if campaign.ahead is None else at.replace(second=0) + campaign.ahead
        batch = KeyedHash("batches").of_parts(campaign.dag_id, at.isoformat())[:32]
        return {
            "batch_id": batch,
            "round": 1,
            "request": 1,
            "position": position,
            "message_id": str(1_000_001 + len(self.deliveries)),
            "dag_id": campaign.dag_id,
            "run_id": f"scheduled__{at:%Y-%m-%dT%H}:00:00+00:00",
            "task_id": campaign.task_id,
            "map_index": -1,
            "sms_conn_id": "winsms_default",
            **self._number(f"2700000{person:04}"),
            "cost": campaign.cost,
            "refund": Decimal(0),
            "currency": "credits",
            "submitted_at": at,
            "send_at": send_at,
            "state_at": at,
        }

    def _arrive(self, text: Row, *, is_outage: bool) -> None:
        outcome = self.random.random()
        arrives, fails = (0.62, 0.9) if is_outage else (0.95, 0.98)
        state = MessageState.DELIVERED if outcome < arrives else MessageState.FAILED
        if outcome > fails:
            state = MessageState.SENT
        slowness = 900 if is_outage else 40
        wait = timedelta(seconds=int(4 + slowness * self.random.random() ** 3))
        text.update(state=str(state), state_at=(text["send_at"] or text["submitted_at"]) + wait)

    def _respond(self, text: Row, campaign: Campaign) -> None:
        mood, wait = self.random.random(), timedelta(minutes=3 + int(240 * self.random.random() ** 2))
        if text["state"] != MessageState.DELIVERED:
            return
        at, number = (
            text["state_at"] + wait,
            {"number": text["number"], "number_key_id": text["number_key_id"]},
        )
        named = text["message_id"] if self.random.random() < _NAMED else None
        if mood < campaign.opt_outs:
            message_id = self._receive(number, at, "STOP", named)
            self._opt_out(number, at, message_id)
        elif mood < campaign.opt_outs + campaign.replies:
            self._receive(number, at, "Yes, thank you", named)

    def _receive(self, number: Row, at: datetime, text: str, in_reply_to: str | None) -> str:
        message_id = str(5_000_001 + len(self.incoming))
        row = {
            **number,
            **_minute("received_at", at),
            "message_id": message_id,
            "text": text,
            "in_reply_to": in_reply_to,
        }
        self.incoming.append(row)
        return message_id

    def _opt_out(self, number: Row, at: datetime, message_id: str) -> None:
        row = {
            **number,
            **_minute("opted_out_at", at),
            "text": "STOP",
            "message_id": message_id,
            "first_seen_at": at.replace(hour=0, minute=0, second=0) + _NIGHTLY_LOAD,
            "last_seen_at": FIRST_DAY + timedelta(days=DAYS - 1) + _NIGHTLY_LOAD,
            "removed_at": None,
        }
        self.periods.append(row)

    def _opt_in_again(self, today: datetime) -> None:
        """Opt the first person in again, who then opts out after the next offer."""
        if today.date() == _OPTED_IN_AGAIN_AT.date():
            at = today + _NIGHTLY_LOAD
            self.periods[0].update(last_seen_at=at - timedelta(days=1), removed_at=at)
        elif self.periods and today == FIRST_DAY + timedelta(days=CAMPAIGNS[-1].days[-1]):
            number = {name: self.periods[0][name] for name in ("number", "number_key_id")}
            at = today + timedelta(hours=15)
            self._opt_out(number, at, self._receive(number, at, "Stop it", None))

    def _is_out(self, number: str, at: datetime) -> bool:
        return any(
            row["number"] == number
            and row["opted_out_at"] <= at
            and (row["removed_at"] is None or at < _OPTED_IN_AGAIN_AT)
            for row in self.periods
        )

    def _some_people(self, size: int) -> Iterator[int]:
        people = list(range(_PEOPLE))
        for _ in range(size):
            yield people.pop(int(self.random.random() * len(people)))

    def _number(self, number: str) -> Row:
        return {"number": self.hashes.of(number), "number_key_id": self.hashes.key_id}


def warehouse() -> sqlite3.Connection:
    """Return a database in memory with the tables and their rows."""
    types = type_names(dialect_of("sqlite"))
    database = sqlite3.connect(":memory:")
    for table, rows in History().run().tables().items():
        columns = COLUMNS[table]
        kinds = ", ".join(f"{name} {types[kind]}" for name, kind in columns.items())
        database.execute(f"CREATE TABLE {table} ({kinds})")
        marks = ", ".join("?" * len(columns))
        cells = ([_cell(row.get(name)) for name in columns] for row in rows)
        database.executemany(f"INSERT INTO {table} VALUES ({marks})", cells)  # noqa: S608 - our own names
    return database


def _minute(column: str, at: datetime) -> Row:
    """Return an instant in the gateway's format: to the minute, in its own time zone."""
    return {column: at.replace(second=0), f"{column}_wire": f"{at + _SOUTH_AFRICA:%Y%m%d%H%M}"}


def _cell(value: Any) -> Any:
    dialect = DIALECTS["sqlite"]
    if isinstance(value, datetime):
        return dialect.instant(value)
    return dialect.amount(value) if isinstance(value, Decimal) else value
