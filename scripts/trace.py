"""Follow one send, one deferred wait and one load through the package: how far a reader has to walk.

Counted are calls between functions of the package, each once. A change of file is a call of a function in
another file. A climb is a call of a function in a higher layer than the caller's, as a callback makes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from rich.console import Console
from rich.table import Table

import airflow_provider_winsms
from airflow_provider_winsms.delivery.packed_ids import pack
from airflow_provider_winsms.delivery.wait import DeliveryWait
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from airflow_provider_winsms.triggers.sms import SmsDeliveryTrigger
from scripts.bench_sends import context, gateway_variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

    from airflow.triggers.base import TriggerEvent

PACKAGE = Path(airflow_provider_winsms.__file__).parent
LAYERS = (
    {"exceptions", "gsm7", "hashing", "messages", "options", "phone", "runtime"},
    {"gateways", "sql"},
    {"ledger"},
    {"delivery", "inbound", "sending", "warehouse"},
    {"hooks", "triggers", "utils"},
)
SEND = "a send, task state store"
SEND_WITH_TABLES = "a send, ledger in tables"
WAIT = "a deferred wait"
LOAD = "a load of replies"
RECIPIENTS = ("27000000010", "27000000011", "27000000012")


@dataclass(slots=True)
class Walk:
    """The functions that were entered, and who called whom."""

    entered: set[CodeType] = field(default_factory=set)
    calls: set[tuple[CodeType, CodeType]] = field(default_factory=set)

    @property
    def files(self) -> int:
        """In how many files the functions stand."""
        return len({code.co_filename for code in self.entered})

    @property
    def changes_of_file(self) -> int:
        """How many calls lead to another file."""
        return sum(caller.co_filename != callee.co_filename for caller, callee in self.calls)

    @property
    def climbs(self) -> int:
        """How many calls lead to a higher layer."""
        return sum(_layer(callee) > _layer(caller) for caller, callee in self.calls)

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """Take note of a call; ``sys.setprofile`` calls this."""
        if event != "call" or not _is_ours(frame.f_code):
            return
        self.entered.add(frame.f_code)
        caller = frame.f_back
        while caller is not None and not _is_ours(caller.f_code):
            caller = caller.f_back
        if caller is not None and caller.f_code is not frame.f_code:
            self.calls.add((caller.f_code, frame.f_code))


def main() -> None:
    """Print a row for each walk."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    table = Table("", "functions", "files", "changes of file", "climbs")
    for label, walk in walks(SEND, SEND_WITH_TABLES, WAIT, LOAD):
        figures = (len(walk.entered), walk.files, walk.changes_of_file, walk.climbs)
        table.add_row(label, *map(str, figures))
    Console().print(table)


def walks(*labels: str) -> Iterator[tuple[str, Walk]]:
    """Yield each label with its walk, against a sandbox and a database in a file."""
    with Sandbox(speed=0) as sandbox, tempfile.TemporaryDirectory() as folder:
        os.environ.update(gateway_variable(sandbox.base_url))
        warehouse = {"conn_type": "sqlite", "host": f"{folder}/warehouse.db"}
        os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(warehouse)
        works = _works(sandbox)
        for label in labels:
            yield label, _followed(works[label])


def _works(sandbox: Sandbox) -> dict[str, Callable[[], object]]:
    ids: list[int] = []

    def send(**options: Any) -> None:
        operator = SmsSendOperator(task_id="send", text="Hello", to=list(RECIPIENTS), **options)
        ids.extend(operator.execute(context())["message_ids"])

    def wait() -> None:
        sandbox.advance(3600)
        asyncio.run(_event_of(_trigger(ids)))

    def load() -> None:
        sandbox.incoming(RECIPIENTS[0], "Yes")
        operator = SmsToSqlOperator(
            task_id="load", dataset="incoming", sql_conn_id="warehouse", table="sms_replies"
        )
        operator.execute(context())

    return {
        SEND: send,
        SEND_WITH_TABLES: lambda: send(ledger_conn_id="warehouse"),
        WAIT: wait,
        LOAD: load,
    }


def _trigger(ids: list[int]) -> SmsDeliveryTrigger:
    now = time.time()
    wait = DeliveryWait(
        sms_conn_id="winsms_default",
        source={"message_ids": pack(ids)},
        min_delivered=0.0,
        begins_at=now,
        shortest_pause=1.0,
        longest_pause=1.0,
        first_at=now,
        end_at=now + 60,
        grace_until=now,
    )
    return SmsDeliveryTrigger(wait)


async def _event_of(trigger: SmsDeliveryTrigger) -> TriggerEvent | None:
    async for event in trigger.run():
        return event
    return None


def _followed(work: Callable[[], object]) -> Walk:
    work()  # what is imported once is not part of the walk
    with _following() as walk:
        work()
    return walk


@contextmanager
def _following() -> Iterator[Walk]:
    walk = Walk()
    threading.setprofile(walk.note)
    sys.setprofile(walk.note)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _is_ours(code: CodeType) -> bool:
    """Tell whether a function is the package's; a lambda or comprehension counts as a part of its caller."""
    path = code.co_filename
    return path.startswith(str(PACKAGE)) and "/sandbox/" not in path and not code.co_name.startswith("<")


def _layer(code: CodeType) -> int:
    room = Path(code.co_filename).relative_to(PACKAGE).parts[0].removesuffix(".py")
    return next((height for height, rooms in enumerate(LAYERS) if room in rooms), len(LAYERS))


if __name__ == "__main__":
    main()
