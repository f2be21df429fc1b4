"""How much memory a send takes: one send from a generator, in a fresh process. Linux alone tells."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from airflow_provider_winsms.operators.sms import SmsSendOperator
from scripts import warehouse
from scripts.bench_sends import TEXT, context, execute, gateway_variable, number, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATUS = Path("/proc/self/status")
_PEAK_TO_FORGET = Path("/proc/self/clear_refs")


class Memory(NamedTuple):
    """Resident megabytes: before the send, with all that was imported for it, and at most."""

    start: float
    peak: float


def is_known() -> bool:
    """Whether this system tells how much memory a process had at most."""
    return _STATUS.exists()


def measured(recipients: int, *, with_tables: bool) -> Memory:
    """Send in a process of its own, with tables in SQLite or a dict for its memory."""
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
    """Send, and print the memory that it took."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    url, recipients, *ledger = sys.argv[1:]
    count = int(recipients)

    def numbers(**_: Any) -> Iterator[str]:
        return (number(place) for place in range(count))

    operator = SmsSendOperator(
        task_id="send", text=TEXT, to=numbers, ledger_conn_id=ledger[0] if ledger else None
    )
    operator.render_template_fields(context())
    _PEAK_TO_FORGET.write_text("5")
    start = _megabytes("VmRSS")
    execute(operator, url)
    sys.stdout.write(json.dumps([start, _megabytes("VmHWM")]))


def _megabytes(name: str) -> float:
    (kilobytes,) = re.findall(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return int(kilobytes) / 1000


if __name__ == "__main__":
    main()
