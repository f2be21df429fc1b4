"""The figures of each view, counted one by one in Python, and random rows to count."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.ledger.schema import MessageState
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.sql.values import read_instant
from airflow_provider_winsms.warehouse.view_queries import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import tzinfo

START = datetime(2026, 3, 2, 21, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAGS = ("bills", "offers")
TAKEN = {
    "accepted",
    "scheduled",
    "cancelling",
    "queued",
    "sent",
    "delivered",
    "failed",
    "not_sent",
    "not_found",
}
TRANSMITTED = {"accepted", "queued", "sent", "delivered", "failed"}
SENT_AGAIN = {"no_credits", "account_locked", "trial_account", "not_received", "cancelled"}
OPEN = {"unknown", "scheduled", "cancelling", "not_found"}
NUMBERS = [f"2782555{tail:04}" for tail in range(7)]
KEY_IDS = (None, "1a2b3c4d", "5e6f7a8b")

Row = dict[str, Any]
Person = tuple[str, str | None]


@dataclass(frozen=True)
class World:
    """Rows of each table, with moments in UTC.

    :param zone: the time zone of the days.
    """

    deliveries: list[Row] = field(default_factory=list)
    incoming: list[Row] = field(default_factory=list)
    opt_outs: list[Row] = field(default_factory=list)
    opt_outs_history: list[Row] = field(default_factory=list)
    zone: tzinfo = UTC

    def by_day(self, rows: Iterable[Row]) -> dict[tuple[Any, ...], list[Row]]:
        groups = defaultdict(list)
        for row in rows:
            groups[self.day(row["submitted_at"]), row["dag_id"]].append(row)
        return groups

    def day(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()


def one_of(chance: random.Random, *values: Any) -> Any:
    return chance.choice(values)


def some_moment(chance: random.Random) -> datetime:
    """Return one of few moments, so that many are the same, a minute apart, or on either side of midnight."""
    at = START + timedelta(minutes=chance.randrange(0, 600, 20))
    return at + timedelta(seconds=chance.choice((0, 0, 30, 59, 60, 61, 0.25)))


def random_world(seed: int) -> World:
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    deliveries = [some_delivery(chance, place) for place in range(300)]
    ids = [row["message_id"] for row in deliveries if row["message_id"]]
    people = [(number, key_id) for number in NUMBERS for key_id in KEY_IDS]
    return World(deliveries, *some_lists(chance, ids, people, replies=80, periods=12))


def some_lists(
    chance: random.Random, ids: Sequence[str], people: Sequence[Person], *, replies: int, periods: int
) -> tuple[list[Row], list[Row], list[Row]]:
    """Return rows of incoming messages, of opt-outs, and of their history.

    :param ids: of texts that a reply may name.
    :param people: their numbers, or hashes with the id of the key.
    """
    incoming = [
        {
            "message_id": str(9_000_000 + place),
            **some_person(chance, people),
            "received_at": one_of(chance, None, *[some_moment(chance).replace(second=0) for _ in range(5)]),
            "in_reply_to": one_of(chance, None, None, "777", chance.choice([*ids, None])),
            "loaded_at": START,
        }
        for place in range(replies)
    ]
    history = [row for _ in range(periods) for row in some_periods(chance, people)]
    seen: dict[tuple[Any, ...], Row] = {}
    for row in history:
        seen.setdefault(who(row), row)
    kept = [row for row in history if chance.random() < 0.9 or seen[who(row)] is not row]
    unique = {(who(row), row["first_seen_at"]): row for row in kept}
    return incoming, list(seen.values()), list(unique.values())


def some_person(chance: random.Random, people: Sequence[Person]) -> Row:
    number, key_id = chance.choice(people)
    return {"number": number, "number_key_id": key_id}


def some_delivery(chance: random.Random, place: int) -> Row:
    submitted_at = some_moment(chance)
    state = chance.choice((*MessageState, *["delivered"] * 6))
    send_at = one_of(chance, None, None, submitted_at + timedelta(minutes=chance.randrange(5, 300)))
    return {
        "batch_id": f"{place // 10:032x}",
        "round": 1,
        "request": 1,
        "position": place % 10,
        "message_id": None if state in {"unknown", "declined"} else str(1_000_000 + place),
        "dag_id": chance.choice(DAGS),
        "run_id": f"run {place // 10 % 4}",
        "task_id": "send",
        "map_index": -1,
        "sms_conn_id": "winsms_default",
        "number": chance.choice(NUMBERS),
        "number_key_id": chance.choice(KEY_IDS),
        "state": str(state),
        "reason": one_of(chance, *map(str, RejectReason), *["opted_out"] * 9)
        if state == "declined"
        else None,
        "cost": Decimal(0)
        if state in {"unknown", "declined"}
        else chance.choice((Decimal("0.38"), Decimal(1))),
        "refund": Decimal("0.3") if state == "cancelled" else Decimal(0),
        "currency": "credits",
        "submitted_at": submitted_at,
        "send_at": send_at,
        "state_at": submitted_at + timedelta(seconds=chance.randrange(-50, 20_000)),
        "loaded_at": START,
    }


def a_text() -> Row:
    return some_delivery(random.Random(1), 0)  # noqa: S311 - as above


def some_periods(chance: random.Random, people: Sequence[Person]) -> list[Row]:
    """Return the times that a number was on the list: out, perhaps removed, perhaps out again."""
    number = some_person(chance, people)
    at, periods = some_moment(chance).replace(second=0), []
    for _ in range(chance.randrange(1, 4)):
        first_seen_at = at + timedelta(minutes=chance.randrange(1, 90))
        last_seen_at = first_seen_at + timedelta(minutes=chance.randrange(90))
        removed_at = last_seen_at + timedelta(minutes=chance.randrange(1, 60))
        period = {
            **number,
            "opted_out_at": one_of(chance, None, at, at),
            "first_seen_at": first_seen_at,
            "last_seen_at": last_seen_at,
            "removed_at": removed_at,
            "loaded_at": START,
        }
        periods.append(period)
        # A list that lacked a number once shows it again with the time that it had.
        at = one_of(chance, at, removed_at, removed_at + timedelta(minutes=90))
    if chance.random() < 0.6:
        periods[-1]["removed_at"] = None
    return periods


def who(row: Row) -> tuple[Any, ...]:
    return row["number"], row["number_key_id"]


def left(row: Row) -> datetime:
    at: datetime = row["send_at"] or row["submitted_at"]
    return at


def campaign(row: Row | None) -> tuple[Any, ...]:
    return (None, None, None) if row is None else (row["dag_id"], row["run_id"], row["task_id"])


def taken(world: World) -> list[Row]:
    return [row for row in world.deliveries if row["state"] in TAKEN]


def last_before(world: World, person: tuple[Any, ...], at: datetime | None) -> Row | None:
    """Return the last text to a number that left before a minute ended."""
    before = [
        row for row in taken(world) if who(row) == person and at is not None and left(row) < at + MINUTE
    ]
    return max(before, key=lambda row: (left(row), row["message_id"] or 0), default=None)


def count(rows: Iterable[Row], *states: str) -> int:
    return sum(row["state"] in states for row in rows)


def delivery_by_day(world: World) -> Iterator[tuple[Any, ...]]:
    for key, rows in world.by_day(taken(world)).items():
        delivered, failed = count(rows, "delivered"), count(rows, "failed", "not_sent")
        yield *key, len(rows), delivered, failed, len(rows) - delivered - failed, delivered / len(rows)


def declined_by_day(world: World) -> Iterator[tuple[Any, ...]]:
    rows_of_texts = (
        row for row in world.deliveries if row["state"] != "cancelled" and row["reason"] not in SENT_AGAIN
    )
    for key, rows in world.by_day(rows_of_texts).items():
        reasons = [row["reason"] for row in rows if row["state"] == "declined"]
        named = [reasons.count(reason) for reason in ("opted_out", "do_not_contact", "bad_number")]
        rest = len(reasons) - sum(named)
        yield *key, len(rows), len(reasons), *named, rest, len(reasons) / len(rows), named[0] / len(rows)


def delivery_time_by_day(world: World) -> Iterator[tuple[Any, ...]]:
    arrived = (row for row in world.deliveries if row["state"] == "delivered")
    for key, rows in world.by_day(arrived).items():
        times = sorted(max(0.0, (row["state_at"] - left(row)).total_seconds()) for row in rows)
        median, p95 = (times[ceil(len(times) * share / 100) - 1] for share in (50, 95))
        yield *key, len(times), sum(times) / len(times), median, p95, times[-1]


def cost_by_day(world: World) -> Iterator[tuple[Any, ...]]:
    paid = (row for row in world.deliveries if row["state"] in TAKEN | {"cancelled"})
    for key, rows in world.by_day(paid).items():
        cost, refund = (float(sum(row[what] for row in rows)) for what in ("cost", "refund"))
        delivered = count(rows, "delivered")
        net = cost - refund
        yield *key, len(rows), "credits", cost, refund, net, delivered, net / delivered if delivered else None


def replies_by_campaign(world: World) -> Iterator[tuple[Any, ...]]:
    ids = {row["message_id"]: row for row in world.deliveries if row["message_id"]}
    replies = defaultdict(list)
    for row in world.incoming:
        named = ids.get(row["in_reply_to"])
        text = named or last_before(world, who(row), row["received_at"])
        replies[campaign(text)].append((who(row), named is not None))
    for key, start, texts, people in campaigns(world, replies):
        found = replies[key]
        repliers = len({person for person, _ in found})
        by_id = sum(is_named for _, is_named in found)
        yield *key, start, texts, people, len(found), by_id, repliers, repliers / people if people else None


def asked(world: World) -> dict[tuple[Any, ...], list[Row]]:
    """Return the validity periods of each opt-out, by the person and the time."""
    found = defaultdict(list)
    for row in periods_of(world):
        found[who(row), row["opted_out_at"] or row["first_seen_at"]].append(row)
    return found


def opt_outs_by_day(world: World) -> Iterator[tuple[Any, ...]]:
    found = defaultdict(list)
    for (_, began), rows in asked(world).items():
        found[world.day(began)].append(any(row["removed_at"] is None for row in rows))
    for day, still_out in found.items():
        yield day, len(still_out), sum(still_out)


def opt_outs_by_campaign(world: World) -> Iterator[tuple[Any, ...]]:
    found = defaultdict(list)
    for (person, _), rows in asked(world).items():
        at = next((row["opted_out_at"] for row in rows if row["opted_out_at"]), None)
        is_out = any(row["removed_at"] is None for row in rows)
        found[campaign(last_before(world, person, at))].append(is_out)
    for key, start, texts, people in campaigns(world, found):
        total = len(found[key])
        yield *key, start, texts, people, total, sum(found[key]), total / people if people else None


def campaigns(world: World, also: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return each campaign with its start, its texts and their numbers; also those that have none."""
    texts: dict[tuple[Any, ...], list[Row]] = {key: [] for key in also}
    for row in taken(world):
        texts.setdefault(campaign(row), []).append(row)
    return [
        (key, min(map(left, rows), default=None), len(rows), len({who(row) for row in rows}))
        for key, rows in texts.items()
    ]


def periods_of(world: World) -> list[Row]:
    remembered = {who(row) for row in world.opt_outs_history}
    return [*world.opt_outs_history, *(row for row in world.opt_outs if who(row) not in remembered)]


def after_opt_out(world: World) -> Iterator[tuple[timedelta, str, str]]:
    """Yield how long after an opt-out each text left that should not have, its DAG, and what became of it."""
    for text in world.deliveries:
        begun = [
            (row["opted_out_at"] or row["first_seen_at"], row["first_seen_at"], row)
            for row in periods_of(world)
            if who(row) == who(text)
        ]
        begun = [found for found in begun if found[0] + MINUTE <= left(text)]
        if not begun:
            continue
        began, _, period = max(begun, key=lambda found: found[:2])
        if period["removed_at"] is not None and left(text) >= period["removed_at"]:
            continue
        if outcome := outcome_of(text, period):
            yield left(text) - began, text["dag_id"], outcome


def outcome_of(text: Row, period: Row) -> str | None:
    if text["state"] in TRANSMITTED:
        is_sure = period["removed_at"] is None or left(text) <= period["last_seen_at"]
        return "sent" if is_sure else "in_doubt"
    if text["state"] in OPEN:
        return "in_doubt"
    is_stopped = text["state"] == "not_sent" or (text["state"], text["reason"]) == ("declined", "opted_out")
    return "stopped" if is_stopped else None


OUTCOMES = ("sent", "in_doubt", "stopped")


def texts_after_opt_out(world: World) -> Iterator[tuple[Any, ...]]:
    found = defaultdict(list)
    for since, dag_id, outcome in after_opt_out(world):
        found[since.days, dag_id].append(outcome)
    for key, outcomes in found.items():
        yield *key, *map(outcomes.count, OUTCOMES)


def opt_out_check(world: World) -> Iterator[tuple[Any, ...]]:
    periods = defaultdict(list)
    for row in periods_of(world):
        periods[who(row)].append(row["removed_at"] is None)
    outcomes = [outcome for *_, outcome in after_opt_out(world)]
    again = sum(len(each) > 1 for each in periods.values())
    out_now = sum(map(any, periods.values()))
    yield len(periods), sum(map(len, periods.values())), out_now, again, *map(outcomes.count, OUTCOMES)


EXPECTED = {
    function.__name__: function
    for function in (
        delivery_by_day,
        declined_by_day,
        delivery_time_by_day,
        cost_by_day,
        replies_by_campaign,
        opt_outs_by_campaign,
        opt_outs_by_day,
        texts_after_opt_out,
        opt_out_check,
    )
}


def compare(rows_of: Callable[[str], Iterable[Row]], world: World) -> None:
    """Compare the rows of each view, as ``plain`` returns their cells, with what is counted here."""
    for view in VIEWS:
        found = [tuple(row.values()) for row in rows_of(view.name)]
        expected = list(EXPECTED[view.name](world))
        assert len(found) == len(expected), view.name
        precision = 0.051 if view.name == "delivery_time_by_day" else 0.0001
        for one, other in zip(ordered(found), ordered(expected), strict=True):
            for name, cell, its in zip(view.columns, one, other, strict=True):
                wanted = pytest.approx(its, abs=precision) if isinstance(its, float | int) else its
                assert cell == wanted, (view.name, name, one, other)


def ordered(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=lambda row: [(cell is not None, str(cell)) for cell in row[:3]])


def plain(column: str, value: Any) -> Any:
    """Return what a driver read, as all of them would have read it."""
    if column == "started_at" and value is not None:
        return datetime.fromtimestamp(value / 1e6, UTC) if isinstance(value, int) else read_instant(value)
    if column == "day":
        return date.fromisoformat(str(value))
    return float(value) if isinstance(value, Decimal | int) else value
