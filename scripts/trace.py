"""Follow one send, one deferred wait and one load through the package: how far a reader has to walk.

Each walk is counted in two ways. A change of file is a call of a function in another file. A climb is a call
of a function in a higher layer than the caller's, as a callback makes.

*Whole run*: from the constructor on. Each pair of caller and called function counts once.

*Step by step*: from `execute` of an operator or `run` of a trigger on. Every call counts as often as it is
made, and so does each return to a generator. Special methods, such as `__init__`, count as a part of their
caller.

In both, a lambda or a comprehension counts as a part of its caller.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
SEND = "a send, task store"
SEND_WITH_TABLES = "a send, tables"
WAIT = "a deferred wait"
LOAD = "a load of replies"
RECIPIENT = "27000000010"


@dataclass(slots=True)
class Walk:
    """The functions that were entered, and who called whom, how often.

    :param is_step_by_step: whether calls count as often as they are made, and special methods not at all.
    """

    is_step_by_step: bool = False
    entered: set[CodeType] = field(default_factory=set)
    calls: Counter[tuple[CodeType, CodeType]] = field(default_factory=Counter)

    @property
    def files(self) -> int:
        """In how many files the functions stand."""
        return len({code.co_filename for code in self.entered})

    @property
    def changes_of_file(self) -> int:
        """How many calls lead to another file."""
        return self._count(lambda caller, callee: caller.co_filename != callee.co_filename)

    @property
    def climbs(self) -> int:
        """How many calls lead to a higher layer."""
        return self._count(lambda caller, callee: _layer(callee) > _layer(caller))

    def _count(self, is_meant: Callable[[CodeType, CodeType], bool]) -> int:
        return sum(
            times if self.is_step_by_step else 1 for call, times in self.calls.items() if is_meant(*call)
        )

    def note(self, frame: FrameType) -> None:
        """Take note of a call."""
        if not self._counts(frame.f_code):
            return
        self.entered.add(frame.f_code)
        caller = frame.f_back
        while caller is not None and not self._counts(caller.f_code):
            caller = caller.f_back
        if caller is not None and caller.f_code is not frame.f_code:
            self.calls[caller.f_code, frame.f_code] += 1

    def _counts(self, code: CodeType) -> bool:
        return _is_ours(code) and not (self.is_step_by_step and code.co_name.startswith("__"))


class Walks(NamedTuple):
    """One walk, counted in both ways."""

    whole_run: Walk
    step_by_step: Walk


def main() -> None:
    """Print a row for each walk."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    table = Table("", "", "functions", "files", "changes of file", "climbs")
    for label, followed in walks(SEND, SEND_WITH_TABLES, WAIT, LOAD):
        for words, walk in (("whole run", followed.whole_run), ("step by step", followed.step_by_step)):
            figures = (len(walk.entered), walk.files, walk.changes_of_file, walk.climbs)
            table.add_row(label, words, *map(str, figures))
    Console().print(table)


def walks(*labels: str) -> Iterator[tuple[str, Walks]]:
    """Yield each label with its walks, against a sandbox and a database in a file."""
    with Sandbox(speed=0) as sandbox, tempfile.TemporaryDirectory() as folder:
        os.environ.update(gateway_variable(sandbox.base_url))
        warehouse = {"conn_type": "sqlite", "host": f"{folder}/warehouse.db"}
        os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(warehouse)
        works = _works(sandbox)
        for label in labels:
            yield label, _followed(works[label])


def _works(sandbox: Sandbox) -> dict[str, Callable[[], Callable[[], object]]]:
    """Return the works. Each makes its operator or trigger, and returns the function that runs it."""
    ids: list[int] = []

    def send(**options: Any) -> Callable[[], object]:
        operator = SmsSendOperator(task_id="send", text="Hello", to=RECIPIENT, **options)
        return lambda: ids.extend(operator.execute(context())["message_ids"])

    def wait() -> Callable[[], object]:
        sandbox.advance(3600)
        trigger = _trigger(ids)
        return lambda: asyncio.run(_event_of(trigger))

    def load() -> Callable[[], object]:
        sandbox.incoming(RECIPIENT, "Yes")
        operator = SmsToSqlOperator(
            task_id="load", dataset="incoming", sql_conn_id="warehouse", table="sms_replies"
        )
        return lambda: operator.execute(context())

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


def _followed(work: Callable[[], Callable[[], object]]) -> Walks:
    work()()  # what is imported once is not part of the walk
    walks = Walks(Walk(), Walk(is_step_by_step=True))
    with _following(walks.whole_run):
        run = work()
    with _following(*walks):
        run()
    return walks


@contextmanager
def _following(*walks: Walk) -> Iterator[None]:
    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            for walk in walks:
                walk.note(frame)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _is_ours(code: CodeType) -> bool:
    """Tell whether a function is the package's; a lambda or comprehension counts as a part of its caller."""
    path = code.co_filename
    return path.startswith(str(PACKAGE)) and "/sandbox/" not in path and not code.co_name.startswith("<")


def _layer(code: CodeType) -> int:
    """Return the height of a function's layer; 0 is the lowest."""
    return _heights()[Path(code.co_filename).relative_to(PACKAGE).parts[0].removesuffix(".py")]


@cache
def _heights() -> dict[str, int]:
    """Return the heights of the layers that the import law declares, by their modules."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    laws = project["tool"]["importlinter"]["contracts"]
    (layers,) = (law["layers"] for law in laws if law["type"] == "layers")
    return {
        module: height
        for height, layer in enumerate(reversed(layers))
        for module in re.split(r"\s*[:|]\s*", layer)
    }


if __name__ == "__main__":
    main()
