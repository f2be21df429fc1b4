"""The memory of a send: one send from a generator, in a fresh process. Only Linux tells it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from airflow_provider_winsms.operators.sms import SmsSendOperator
from scripts import process_memory, warehouse
from scripts.bench_sends import TEXT, context, execute, gateway_variable, number, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


class Memory(NamedTuple):
    """Resident megabytes: before the send, after its imports, and at most."""

    start: float
    peak: float


def measured(recipients: int, *, with_tables: bool) -> Memory:
    """Send in a process of its own, with a ledger in SQLite or in a dict."""
    with tempfile.TemporaryDirectory(prefix="sms-bench-") as folder, sandbox() as url:
        home = Path(folder)
        with warehouse.opened("sqlite", home) as ledger:
            environment = {
                **os.environ,
                **gateway_variable(url),
                "AIRFLOW_HOME": str(home),
                "AIRFLOW_CONN_LEDGER": json.dumps(ledger.connection),
            }
        command = [sys.executable, "-m", "scripts.bench_memory", url, str(recipients)]
        command += ["ledger"] if with_tables else []
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return Memory(*json.loads(done.stdout))


def main() -> None:
    """Send, and print the memory of the send."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    url, recipients, *ledger = sys.argv[1:]
    count = int(recipients)

    def numbers(**_: Any) -> Iterator[str]:
        return (number(index) for index in range(count))

    operator = SmsSendOperator(
        task_id="send", text=TEXT, to=numbers, ledger_conn_id=ledger[0] if ledger else None
    )
    operator.render_template_fields(context())
    start = process_memory.reset_peak()
    execute(operator, url)
    sys.stdout.write(json.dumps([start, process_memory.peak()]))


if __name__ == "__main__":
    main()
