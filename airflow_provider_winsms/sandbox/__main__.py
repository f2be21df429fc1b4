"""The command: runs until Ctrl-C or SIGTERM, and prints no number, no text and no key but its default."""

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
from airflow_provider_winsms.sandbox.operations import OPERATIONS
from airflow_provider_winsms.sandbox.plan import MAGIC_NUMBERS
from airflow_provider_winsms.sandbox.vendor import API_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DESCRIPTION = """\
A WinSMS gateway on this machine: the eleven operations of WinSMS REST v1 on a loopback socket, with one
account, a clock that can run fast, deliveries, replies, opt-outs, credits, and faults on demand."""

_OTHER_NUMBERS = """\
  any other    delivered, 1 in 20 FAILED, some seconds to 2 minutes after it was sent
  BADDEST too  276666666666, a leading 0, anything that is not 7 to 15 digits"""

_FAULT_NOTES = """\
Values of POST /_sandbox/faults: fault, and as you like operation (name or path; any, if left out), times
(1, if left out), probability and seed (without end, unless times is given), seconds, retryAfter,
rows, skip (how many requests pass first).
A request is struck by one fault, the oldest that concerns it. Example:
  curl -d '{"fault": "lost-after-acceptance", "operation": "smsSend"}' http://127.0.0.1:8025/_sandbox/faults"""

_CHOICES = """\
  more segments than maxSegments        declined with TOOLONG
  other characters than GSM 7-bit       replaced by a plain one or "?", never refused
  status of a text that still waits     INQUEUE
  status of a cancelled text            NOTFOUND
  credits of a FAILED text              0 in its status row, not paid back to the balance
  an id or a number twice               two rows, two texts
  reply to no text                      outgoingApiMessageId is null
  STOP replies                          are incoming messages too (--no-optouts-in-incoming)
  order of the scheduled list           the oldest first (--newest-first)
  confirmation of an opt-out            is not sent
  a segment                             1 credit to 27, 1.3 to any other country
  200 kB                                200,000 bytes
  a wrong key                           401"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sandbox and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    ended = _ended_by_signal()
    try:
        with Sandbox(**vars(options)) as box:
            _announce(box)
            ended.wait()
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


def _ended_by_signal() -> threading.Event:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    return ended


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_winsms.sandbox",
        description=_DESCRIPTION,
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default %(default)s)")
    parser.add_argument("--port", type=int, default=8025, help="0 takes a free one (default %(default)s)")
    parser.add_argument("--api-key", default=API_KEY, help="the key it takes (default %(default)s)")
    parser.add_argument("--speed", type=float, default=1, help=_SPEED)
    parser.add_argument(
        "--state", metavar="FILE", help="keep everything in a file, mode 0600 (default: in memory)"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides the fates of texts (default 0)")
    parser.add_argument("--credits", type=float, default=10_000, help="to start with (default %(default)s)")
    parser.add_argument("--wire", choices=("v2", "v3"), default="v2", help=_WIRE)
    parser.add_argument(
        "--optouts-in-incoming",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether replies that opt out are incoming messages too (default: they are)",
    )
    parser.add_argument(
        "--newest-first",
        action="store_true",
        help="the list of scheduled texts begins with the newest (default: with the oldest)",
    )
    return parser


_SPEED = (
    "how many seconds pass here in one second (default 1); 0 stands still until it is advanced. Not 1, and a "
    "schedule counted from wall time may be past here"
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
        "where the document is silent": _CHOICES,
    }
    return "\n\n".join(f"{title}:\n{text}" for title, text in sections.items())


def _taken(control: Control) -> str:
    """Return what a control takes, unless its section says it better."""
    if control.path.endswith("/faults"):
        return ""
    return f"\n      {control.takes}" if control.takes else ""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    pairs = list(rows)
    width = max(len(left) for left, _ in pairs)
    return "\n".join(f"  {left:<{width}}  {right}" for left, right in pairs)


if __name__ == "__main__":
    sys.exit(main())
