"""The main job, on this machine: send, wait for delivery, cancel, load replies and opt-outs.

Runs the example DAGs through Airflow against the sandbox, and prints the results. The DAGs run in
``dag.test()``. It has Airflow's real task runner, deferral and resume, and needs neither a scheduler nor
ports, so that the demo takes half a minute. (The proofs of ``make prove`` run a whole Airflow.)
"""

from __future__ import annotations

import argparse
import re
import runpy
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from airflow_provider_winsms.messages import mask_number
from airflow_provider_winsms.sandbox import Sandbox
from scripts import warehouse
from scripts.airflow_process import AirflowProcess
from scripts.run_examples import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CREDITS = 200
WAITED = 600.0
"""Seconds by which the sandbox's clock is advanced when a task is deferred; otherwise it stands still."""

_STATES_SHOWN = {"running", "deferred", "success", "failed", "up_for_retry"}
_NOTES = {"deferred": ": its trigger asks again after 10 s"}
_ISO_MINUTE = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):00\+00:00$")
console = Console(highlight=False, record=True)

_FOREIGN = re.compile(r"@font-face \{.*?\}\n|<!--.*?-->\n?", re.DOTALL)
"""What a picture would load from elsewhere, or say of others."""


class Progress:
    """Shows each task's state as it changes, and advances the gateway's clock while a task waits."""

    def __init__(self, airflow: AirflowProcess, example: str, box: Sandbox) -> None:
        self._airflow = airflow
        self._example = example
        self._box = box
        self._began = time.monotonic()
        self._shown: dict[str, str | None] = {}
        self._run_before = airflow.latest_run(example)
        self._status = console.status("")

    def run(self) -> dict[str, Any]:
        """Run the example, and return the results of its tasks."""
        console.print(f"\n[bold]{self._example}[/]")
        with self._status:
            answer = self._airflow.run(self._example, self._show)
        self._show()
        if answer["state"] != "success":
            sys.exit(f"{self._example} ended as {answer['state']}:\n{self._airflow.log.read_text()[-5000:]}")
        results: dict[str, Any] = answer["results"]
        return results

    def _show(self) -> None:
        elapsed = time.monotonic() - self._began
        run = self._airflow.latest_run(self._example)
        if run is not None and run != self._run_before:
            self._show_changes(run, elapsed)
        self._status.update(f"running, {elapsed:.0f} s")
        time.sleep(0.1)

    def _show_changes(self, run: int, elapsed: float) -> None:
        for task, state in self._airflow.task_states(run):
            if state in _STATES_SHOWN and self._shown.get(task) != state:
                self._shown[task] = state
                console.print(f"  {elapsed:5.1f} s  {task:<18} {_coloured(state)}{_NOTES.get(state, '')}")
                if state == "deferred":
                    self._box.advance(WAITED)


def main() -> None:
    """Run the demo."""
    arguments = _arguments()
    began = time.monotonic()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sms-demo-")))
        box = stack.enter_context(Sandbox(speed=0, seed=7, credits=CREDITS))
        console.print(f"[bold]A WinSMS[/]: {box.base_url}, its clock advances when a task waits")
        store = stack.enter_context(warehouse.opened(arguments.warehouse, home))
        console.print(f"[bold]A warehouse[/]: {store.name}")
        console.print("[bold]An Airflow[/]: it creates its database and takes some seconds to start ...")
        connections = {"winsms_default": _gateway(box), "warehouse": store.connection}
        airflow = stack.enter_context(AirflowProcess(home, connections))
        _play(airflow, box, store)
        if arguments.picture:
            picture = console.export_svg(title="make demo", unique_id="demo")
            arguments.picture.write_text(_FOREIGN.sub("", picture))
    console.print(f"\nDone in {time.monotonic() - began:.0f} s. The DAGs are in {EXAMPLES.name}/.")


def _play(airflow: AirflowProcess, box: Sandbox, store: warehouse.Warehouse) -> None:
    def run(example: str) -> dict[str, Any]:
        return Progress(airflow, example, box).run()

    run("example_sms_send")
    batch = run("example_sms_batch_and_wait")
    cancelled = run("example_sms_schedule_and_cancel")["cancel_offer"]
    console.print("\nMeanwhile a phone replies, and a number is opted out by hand in the Client Zone.")
    box.incoming("27000000101", "Can I come at 10 instead?")
    box.opt_out("27000000177")
    loaded, again = run("example_sms_to_warehouse"), run("example_sms_to_warehouse")
    console.print()
    # A picture shows the results only.
    console.export_text(clear=True)
    _print_texts(box)
    _print_counts(batch, cancelled, box)
    _print_warehouse(store, loaded, again)


def _print_texts(box: Sandbox) -> None:
    table = Table(title="Texts", title_justify="left", caption_justify="left")
    for column in ("To", "Text", "Cost", "State", "After"):
        table.add_column(column, justify="right" if column in {"Cost", "After"} else "left", no_wrap=True)
    for text in box.outbox():
        after = text["statusAfterSeconds"]
        table.add_row(
            mask_number(text["mobileNumber"]),
            _shortened(text["message"]),
            f"{text['creditCost']:.1f}",
            _coloured(text["status"].lower()),
            "" if after is None else f"{after:.0f} s",
        )
    table.caption = "After: from submission to arrival, by the sandbox's clock."
    console.print(table)


def _print_counts(batch: dict[str, Any], cancelled: dict[str, Any], box: Sandbox) -> None:
    sent, wait = batch["send_reminders"], batch["wait_for_delivery"]
    reasons = ", ".join(f"{count} x {reason}" for reason, count in sent["rejected"].items())
    table = Table("", "", title_justify="left", show_header=False, title="Results")
    rows = (
        ("Reminders accepted", f"{sent['accepted']}, for {sent['cost']} credits"),
        ("Declined by the gateway", f"{reasons} ({', '.join(_declined(box))})"),
        ("Reminders delivered", f"{wait['delivered']} of {wait['total']}, for {wait['cost']} credits"),
        ("Scheduled and cancelled", f"{cancelled['cancelled']}, {cancelled['refund']} credits back"),
        ("Credits left", f"{box.account()['creditBalance']:.1f} of {CREDITS}.0"),
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _declined(box: Sandbox) -> list[str]:
    """Return the numbers in the batch that the gateway declined, masked."""
    appointments = runpy.run_path(str(EXAMPLES / "example_sms_batch_and_wait.py"))["APPOINTMENTS"]
    accepted = {text["mobileNumber"] for text in box.outbox()}
    return [mask_number(number) for _, number, _ in appointments if number not in accepted]


def _print_warehouse(store: warehouse.Warehouse, loaded: dict[str, Any], again: dict[str, Any]) -> None:
    _print_rows(
        f"sms_incoming in {store.name}, times in UTC",
        ("message_id", "number", "received_at", "text", "in_reply_to"),
        store.rows("SELECT message_id, number, received_at, text, in_reply_to FROM sms_incoming ORDER BY 1"),
    )
    _print_rows(
        f"sms_opt_outs in {store.name}, times in UTC",
        ("number", "opted_out_at", "text", "message_id"),
        store.rows("SELECT number, opted_out_at, text, message_id FROM sms_opt_outs ORDER BY 2, 1"),
    )
    first, second = (sum(load["rows_loaded"] for load in run.values()) for run in (loaded, again))
    console.print(f"The first load brought {first} rows, the second {second}: no row is there twice.")


def _print_rows(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*_cells(columns, row))
    console.print(table)


def _cells(columns: Sequence[str], row: Sequence[Any]) -> Iterator[str]:
    for column, value in zip(columns, row, strict=True):
        yield mask_number(value) if column == "number" else _shown(value)


def _shown(value: Any) -> str:
    """Return a value of any database as text; an instant to the minute, in UTC."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    return "" if value is None else _ISO_MINUTE.sub(r"\1 \2", str(value))


def _gateway(box: Sandbox) -> dict[str, Any]:
    return {"conn_type": "winsms", "host": box.base_url, "password": box.api_key}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.splitlines()[0])
    parser.add_argument("--warehouse", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--picture", type=Path, help="write the results into an SVG file, too")
    return parser.parse_args()


def _coloured(state: str) -> str:
    colour = {
        "success": "green",
        "delivered": "green",
        "failed": "red",
        "deferred": "magenta",
        "running": "blue",
    }
    return f"[{colour.get(state, 'yellow')}]{state}[/]"


def _shortened(text: str, length: int = 34) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


if __name__ == "__main__":
    main()
