"""The command. It runs until Ctrl-C or SIGTERM, and prints no number, no text, and only the default key."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox.box import Sandbox
from airflow_provider_winsms.sandbox.controls import CONTROLS, Control
from airflow_provider_winsms.sandbox.faults import FAULTS
from airflow_provider_winsms.sandbox.gateway import API_KEY
from airflow_provider_winsms.sandbox.operations import OPERATIONS
from airflow_provider_winsms.sandbox.plan import MAGIC_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DESCRIPTION = """\
A WinSMS gateway on this machine: the eleven operations of WinSMS REST v1 on a loopback socket. It has one
account, deliveries, replies, opt-outs, credits, a clock that can run fast, and faults on demand."""

_OTHER_NUMBERS = """\
  any other    delivered, or FAILED (1 in 20), from some seconds to 2 minutes after the send
  BADDEST      also for 276666666666, a leading 0, and anything but 7 to 15 digits"""

_FAULT_NOTES = """\
POST /_sandbox/faults takes fault and these optional values:
  operation    name or path of the only operation that it strikes (default: any)
  times        how often it strikes (default: once; with a probability, without end)
  probability  the chance that it strikes a request
  seed         decides which requests that chance strikes (default: 0)
  skip         how many requests pass before it strikes (default: 0)
  seconds, retryAfter, rows
               as the faults above say
One fault strikes a request: the oldest that applies to it. Example:
  curl -d '{"fault": "lost-after-acceptance", "operation": "smsSend"}' http://127.0.0.1:8025/_sandbox/faults"""

_CHOICES = """\
  more segments than maxSegments        declined with TOOLONG
  a character outside GSM 7-bit         replaced by a plain one or "?", never refused
  status of a scheduled text            INQUEUE
  status of a cancelled text            NOTFOUND
  credits of a FAILED text              0 in its status row; the balance stays debited
  the same id or number twice           two rows, two texts
  reply to no text                      outgoingApiMessageId is null
  STOP replies                          are also incoming messages (--no-optouts-in-incoming)
  order of the scheduled list           oldest first (--newest-first)
  confirmation of an opt-out            is not sent
  cost of a segment                     1 credit to country code 27, 1.3 to any other
  200 kB                                200,000 bytes
  a wrong key                           401"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sandbox and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    stopped = _stopped_by_signal()
    try:
        with Sandbox(**vars(options)) as box:
            _announce(box)
            stopped.wait()
    except OSError as error:
        parser.error(f"{error} (port {options.port}; --port 0 takes a free one)")
    except (OverflowError, ValueError) as error:
        parser.error(str(error))
    return 0


def _announce(box: Sandbox) -> None:
    key = API_KEY if box.api_key == API_KEY else "<your --api-key>"
    connection = {"conn_type": "winsms", "host": box.base_url, "password": key}
    lines = (
        f"WinSMS sandbox: {box.base_url}",
        f"AIRFLOW_CONN_WINSMS_DEFAULT='{json.dumps(connection)}'",
        f"Controls: {box.base_url.partition('/api/')[0]}/_sandbox   Stop: Ctrl-C",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _stopped_by_signal() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_winsms.sandbox",
        description=_DESCRIPTION,
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default %(default)s)")
    parser.add_argument("--port", type=int, default=8025, help="0 takes a free port (default %(default)s)")
    parser.add_argument("--api-key", default=API_KEY, help="the key that it accepts (default %(default)s)")
    parser.add_argument("--speed", type=float, default=1, help=_SPEED)
    parser.add_argument(
        "--state", metavar="FILE", help="keep all state in a file, mode 0600 (default: in memory)"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides the outcomes of texts (default 0)")
    parser.add_argument(
        "--credits", type=float, default=10_000, help="credits at the start (default %(default)s)"
    )
    parser.add_argument("--wire", choices=("v2", "v3"), default="v2", help=_WIRE)
    parser.add_argument(
        "--optouts-in-incoming",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="list replies that opt out among the incoming messages (default: they are listed)",
    )
    parser.add_argument(
        "--newest-first",
        action="store_true",
        help="list the newest scheduled texts first (default: the oldest)",
    )
    return parser


_SPEED = (
    "how many of its seconds pass in one second (default 1). At 0 its clock stands still until you advance "
    "it. At any speed but 1, a send_at counted from wall time may be in the past here"
)
_WIRE = "v2: strings for times, explicit nulls; v3: integers for times, nulls left out (default %(default)s)"


def _epilog() -> str:
    sections = {
        "operations, below /api/rest/v1": _table((f"{o.method} {o.path}", o.name) for o in OPERATIONS),
        "magic numbers": f"{_table((m.number, m.meaning) for m in MAGIC_NUMBERS.values())}\n{_OTHER_NUMBERS}",
        "controls, in JSON and without a key": _table(
            (f"{c.method} {c.path}", f"{c.meaning}{_taken(c)}") for c in CONTROLS
        ),
        "faults": f"{_table((f.name, f.meaning) for f in FAULTS.values())}\n\n{_FAULT_NOTES}",
        "choices of the sandbox where the document says nothing": _CHOICES,
    }
    return "\n\n".join(f"{title}:\n{text}" for title, text in sections.items())


def _taken(control: Control) -> str:
    """Return the values that a control takes. The section on faults lists those of a fault."""
    if control.path.endswith("/faults"):
        return ""
    return f"\n      {control.takes}" if control.takes else ""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    pairs = list(rows)
    width = max(len(left) for left, _ in pairs)
    return "\n".join(f"  {left:<{width}}  {right}" for left, right in pairs)


if __name__ == "__main__":
    sys.exit(main())
