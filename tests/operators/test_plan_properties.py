"""What is planned and approved is what is sent, byte for byte. The sandbox's outbox is the judge."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import pendulum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import PlanNotApproved
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.messages import Message, Recipient, RejectReason
from airflow_provider_winsms.rules import Draft, FrequencyCap, OnlyTo, RuleContext, SendingHours
from airflow_provider_winsms.sending.message_list import MessagePart
from airflow_provider_winsms.sending.plan import Plan, Request
from airflow_provider_winsms.sending.plan_id import PlanId
from tests.support.send_world import SendWorld

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ZONE = "Africa/Johannesburg"
NUMBERS = [f"2782555{at:04}" for at in range(8)]
TEXTS = ["Hallo", "€ 5", "x" * 161, "“quoted”", "Línea 2\nof two"]
RECIPIENTS = st.lists(st.sampled_from([*NUMBERS, "0825550001", "letters", ""]), min_size=1, max_size=6)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"text": st.sampled_from([*TEXTS, ""]), "to": RECIPIENTS},
        optional={"years": st.sampled_from([1, 2]), "max_segments": st.sampled_from([1, 2])},
    ),
    min_size=1,
    max_size=6,
)


@dataclass(frozen=True)
class EverySecond:
    """A rule that takes out some, and moves some others."""

    place: int

    def apply(self, draft: Draft, context: RuleContext) -> None:
        for entry in draft:
            if entry.position % 3 == self.place:
                draft.reject(entry.position, RejectReason.NOT_ALLOWED)
            elif entry.position % 3 == (self.place + 1) % 3 and entry.send_at is None:
                draft.move(entry.position, pendulum.datetime(context.now.year + 3, 1, 1, self.place))


RULES = st.lists(
    st.one_of(
        st.integers(0, 2).map(EverySecond),
        st.lists(st.sampled_from(NUMBERS), max_size=8).map(OnlyTo),
    ),
    max_size=2,
)
BY_LIST = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def messages_of(rows: list[dict[str, Any]], year: int) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if name != "years"}
        | ({"send_at": f"{year + row['years']}-06-01T09:00+02:00"} if "years" in row else {})
        for row in rows
    ]


def planned_on_the_wire(world: SendWorld) -> Plan:
    """Return the plan that the bodies of the requests make."""
    requests = []
    for _, body in world.bodies:
        document = json.loads(body)
        messages = [_message(row) for row in document.get("messages", [document])]
        requests.append(Request(tuple(MessagePart(each, 0, len(each.recipients)) for each in messages)))
    return Plan(tuple(requests), sum(request.size for request in requests), 0)


def _message(row: dict[str, Any]) -> Message:
    recipients = tuple(Recipient(each["mobileNumber"]) for each in row["recipients"])
    send_at = row.get("scheduledTime")
    return Message(row["message"], recipients, _time(send_at) if send_at else None, row["maxSegments"])


def _time(written: str) -> pendulum.DateTime:
    return pendulum.from_format(written, "YYYYMMDDHHmm", tz=ZONE).in_timezone("UTC")


def texts_of(plan: Plan) -> list[tuple[str, str, bool]]:
    return [
        (recipient.number, message.text, message.send_at is not None)
        for request in plan.requests
        for message in request.messages()
        for recipient in message.recipients
    ]


@BY_LIST
@given(rows=ROWS, rules=RULES, most=st.integers(1, 5))
def test_a_plan_that_was_approved_is_what_is_sent(
    rows: list[dict[str, Any]], rules: list[Any], most: int, sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.reset()
    world = SendWorld(sandbox, runner.another(), limits={"recipients": most})
    messages = messages_of(rows, sandbox.now().year)
    plans = runner.another()
    assert plans.run(world.send_batch(*messages, rules=rules, plan_only=True)).error is None
    plan = plans.result
    assert (sandbox.requests(), plans.task_state) == ([], {})

    options: dict[str, Any] = {"rules": rules, "on_invalid": "reject", "on_rejected": "ignore"}
    world.run_batch(*messages, **options, approved_plan=plan["plan_id"], on_empty="skip")

    sent = planned_on_the_wire(world)
    gateway = WinSMSGateway(time_zone=ZONE, country_code="27")
    assert str(PlanId.of(sent, KeyedHash(sandbox.api_key), gateway)) == plan["plan_id"]
    outbox = sorted(sandbox.outbox(), key=lambda row: int(row["apiMessageId"]))
    accepted = [(row["mobileNumber"], row["message"], bool(row["scheduledTime"])) for row in outbox]
    assert accepted == texts_of(sent)
    assert len(accepted) == plan["recipients"]
    assert sum(int(row["creditCost"]) for row in outbox) == plan["segments"]
    assert plan["estimated_cost"]["total"] == f"{plan['segments']}.0"


@BY_LIST
@given(rows=ROWS, hour=st.integers(0, 22), most=st.integers(1, 2))
def test_a_plan_says_whom_a_cap_takes_out_and_until_when_hours_hold_the_others(
    rows: list[dict[str, Any]], hour: int, most: int, sandbox: Sandbox, runner: TaskRunner, tmp_path: Path
) -> None:
    sandbox.reset()
    runner.add_database("ledger", Path(mkdtemp(dir=tmp_path), "ledger.db"))
    world = SendWorld(sandbox, runner.another(), limits={"recipients": 4})
    messages = messages_of(rows, sandbox.now().year)
    hours = {"mon-sun": f"{hour:02}:00-{hour + 1:02}:00"}
    options: dict[str, Any] = {
        "rules": [
            FrequencyCap(most),
            SendingHours(hours, time_zone=ZONE),
        ],
        "ledger_conn_id": "ledger",
    }
    plans = runner.another()
    assert plans.run(world.send_batch(*messages, **options, plan_only=True)).error is None
    plan = plans.result
    options |= {"on_invalid": "reject", "on_rejected": "ignore", "on_empty": "skip"}
    world.run_batch(*messages, **options, approved_plan=plan["plan_id"])
    outbox = sandbox.outbox()
    assert len(outbox) == plan["recipients"]
    times = sorted(_time(row["scheduledTime"]) for row in outbox if row["scheduledTime"])
    first, last = (times[0].isoformat(), times[-1].isoformat()) if times else (None, None)
    assert plan["times"] == {"first": first, "last": last, "without_time": len(outbox) - len(times)}


@BY_LIST
@given(rows=ROWS, others=ROWS)
def test_another_list_than_the_approved_one_is_never_sent(
    rows: list[dict[str, Any]], others: list[dict[str, Any]], sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.reset()
    world = SendWorld(sandbox, runner.another())
    ids = []
    for given_rows in (rows, others):
        plans = runner.another()
        messages = messages_of(given_rows, sandbox.now().year)
        assert plans.run(world.send_batch(*messages, plan_only=True)).error is None
        ids.append(plans.result["plan_id"])
    messages = messages_of(others, sandbox.now().year)
    error = world.run_batch(*messages, on_invalid="reject", on_rejected="ignore", approved_plan=ids[0])
    assert isinstance(error, PlanNotApproved) == (ids[0] != ids[1])
    assert (ids[0] == ids[1]) or not sandbox.requests()
