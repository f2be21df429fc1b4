"""``airflow sms unresolved`` and ``airflow sms resolve``. No number and no text is ever shown."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow.cli.simple_table import AirflowConsole
from airflow.utils.cli import action_cli, suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from airflow_provider_winsms.cli.instances import is_under_way, state_of
from airflow_provider_winsms.exceptions import InvalidMessage, SmsError, UnsupportedCapability
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.ledger.base import Place
from airflow_provider_winsms.messages import counted

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from airflow_provider_winsms.cli.task_state import TaskStateHistory
    from airflow_provider_winsms.ledger.history import Parked
    from airflow_provider_winsms.messages import MessageId

_DEFAULT_PREFIX = "sms_"


class History(Protocol):
    """A ledger, for a person who decides."""

    def unresolved(self) -> list[Parked]:
        """Return the requests with recipients in doubt."""

    def resolve(self, batch_id: str, place: Place, accepted: Sequence[MessageId] | None) -> None:
        """Write what a person found out about the recipients in doubt of a request."""


@suppress_logs_and_warning
@providers_configuration_loaded
def unresolved(args: Namespace) -> None:
    """List requests of unknown outcome, and how to resolve each."""
    with _errors_end_it(), _history(args) as history:
        rows = [_printable_row(_row(parked, args)) for parked in history.unresolved()]
        _warn_of_unreadable(history)
    hints = [(row["if_not_accepted"], row["if_accepted"]) for row in rows]
    if args.output == "table":
        rows = [{name: v for name, v in row.items() if not name.startswith("if_")} for row in rows]
    # Brackets in a name are no markup.
    AirflowConsole(markup=False, emoji=False).print_as(rows, args.output)
    if args.output == "table" and hints:
        _say("")
        _say("Find out from the gateway what became of the recipients, say so, and clear the task:")
        for not_accepted, accepted in hints:
            _say(f"  {not_accepted}")
            _say(f"  {accepted}")


@action_cli  # type: ignore[untyped-decorator] # it writes to Airflow's audit log
@providers_configuration_loaded
def resolve(args: Namespace) -> None:
    """Take down what a person found out about one request."""
    with _errors_end_it(), _history(args) as history:
        accepted = _accepted(args)
        place = Place(args.round, args.request)
        parked = _find(history.unresolved(), args, place)
        _refuse_while_under_way(parked)
        if accepted is not None and len(accepted) != parked.recipients:
            msg = (
                f"{_named(place)} has {counted(parked.recipients, 'recipient')} in doubt, and "
                f"{counted(len(accepted), 'id')} came with --accepted. Give one id for each, in their order."
            )
            raise InvalidMessage(msg)
        _say(_announcement(parked, is_accepted=accepted is not None))
        if not args.yes and not _is_confirmed():
            sys.exit("Nothing was written.")
        history.resolve(args.batch_id, place, accepted)
        _say(f"Written. Now clear {_task(parked)}.")


@contextmanager
def _errors_end_it() -> Iterator[None]:
    try:
        yield
    except SmsError as error:
        sys.exit(_printable(str(error)))


@contextmanager
def _history(args: Namespace) -> Iterator[History]:
    if args.ledger_conn_id is None:
        with _task_state_history() as history:
            yield history
        return
    from airflow_provider_winsms.ledger.history import SmsHistory

    # As the scheduler does: else connections in the metadata database are not looked for.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    with SmsHistory(sql_hook(args.ledger_conn_id), args.ledger_prefix) as tables:
        yield tables


def _task_state_history() -> TaskStateHistory:
    try:
        from airflow_provider_winsms.cli.task_state import TaskStateHistory
    except ModuleNotFoundError:
        msg = "Before Airflow 3.3 there is no task state store. Give --ledger-conn-id."
        raise UnsupportedCapability(msg) from None
    return TaskStateHistory()


def _warn_of_unreadable(history: History) -> None:
    if count := getattr(history, "unreadable", 0):
        sys.stderr.write(
            f"{count} sends cannot be read here: the values of the task state store are kept elsewhere "
            "([workers] state_store_backend).\n"
        )


def _row(parked: Parked, args: Namespace) -> dict[str, Any]:
    command = _command(parked, args)
    return {
        "batch_id": parked.batch_id,
        "dag_id": parked.dag_id,
        "run_id": parked.run_id,
        "task_id": parked.task_id,
        "map_index": parked.map_index,
        "round": parked.place.round,
        "request": parked.place.number,
        "recipients": parked.recipients,
        "submitted_at": parked.intended_at.isoformat(timespec="seconds"),
        "due_at": parked.send_at and parked.send_at.isoformat(timespec="seconds"),
        "if_not_accepted": f"{command} --not-accepted",
        "if_accepted": f"{command} --accepted {_placeholders(parked.recipients)}",
    }


def _command(parked: Parked, args: Namespace) -> str:
    words = ["airflow", "sms", "resolve", parked.batch_id, "--request", str(parked.place.number)]
    if parked.place.round > 1:
        words += ["--round", str(parked.place.round)]
    if args.ledger_conn_id is not None:
        words += ["--ledger-conn-id", args.ledger_conn_id]
        if args.ledger_prefix != _DEFAULT_PREFIX:
            words += ["--ledger-prefix", args.ledger_prefix]
    return shlex.join(words)


def _placeholders(recipients: int) -> str:
    return {1: "ID", 2: "ID_1 ID_2"}.get(recipients, f"ID_1 ... ID_{recipients}")


def _accepted(args: Namespace) -> list[MessageId] | None:
    """Return the ids, or ``None`` if the texts were not accepted."""
    if bool(args.accepted) is args.not_accepted:
        msg = (
            "Give either --accepted, with the message id of each recipient in doubt, or --not-accepted. Ask "
            "the gateway if you do not know."
        )
        raise InvalidMessage(msg)
    if args.not_accepted:
        return None
    if not all(text.isascii() and text.isdigit() for text in args.accepted):
        msg = "A message id is a whole number. Give them with spaces between, as in --accepted 101 102."
        raise InvalidMessage(msg)
    return [int(text) for text in args.accepted]


def _find(parked: Sequence[Parked], args: Namespace, place: Place) -> Parked:
    of_batch = {each.place: each for each in parked if each.batch_id == args.batch_id}
    if place in of_batch:
        return of_batch[place]
    if of_batch:
        in_doubt = ", ".join(f"--request {p.number} --round {p.round}" for p in sorted(of_batch))
        msg = f"{_named(place)} of this batch is not in doubt. Those that are: {in_doubt}."
        raise InvalidMessage(msg)
    where = "the task state store" if args.ledger_conn_id is None else f"the ledger {args.ledger_conn_id!r}"
    hint = " Or give the task's own --ledger-conn-id, if it has one." if args.ledger_conn_id is None else ""
    msg = (
        f"Nothing of a batch {args.batch_id!r} is in doubt in {where}: there is none of that id, it was "
        "resolved, or the task has sent anew since. See `airflow sms unresolved`." + hint
    )
    raise InvalidMessage(msg)


def _refuse_while_under_way(parked: Parked) -> None:
    if is_under_way(state := state_of(parked)):
        msg = f"{_task(parked)} is {state}, and may still find out itself. Decide when it has ended."
        raise InvalidMessage(msg[0].upper() + msg[1:])


def _announcement(parked: Parked, *, is_accepted: bool) -> str:
    what = (
        "was ACCEPTED by the gateway. They are not sent again"
        if is_accepted
        else "was NOT accepted by the gateway. The task sends to them when it is cleared: who did get the "
        "text gets it TWICE"
    )
    each = "the 1 recipient" if parked.recipients == 1 else f"each of the {parked.recipients} recipients"
    return (
        f"{_named(parked.place)} of the batch {parked.batch_id}, {_task(parked)}: you say that the text to "
        f"{each} in doubt {what}. This cannot be undone."
    )


def _is_confirmed() -> bool:
    try:
        return input("Write that down? [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        return False


def _named(place: Place) -> str:
    return f"Request {place.number}" + (f" of round {place.round}" if place.round > 1 else "")


def _task(parked: Parked) -> str:
    index = "" if parked.map_index < 0 else f"[{parked.map_index}]"
    return f"the task {parked.dag_id}.{parked.task_id}{index} of the run {parked.run_id}"


def _say(words: str) -> None:
    sys.stdout.write(f"{_printable(words)}\n")


def _printable_row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _printable(value) if isinstance(value, str) else value for name, value in row.items()}


def _printable(text: str) -> str:
    """Write out what would steer a terminal, or begin a line: whoever can write a row could else hide it."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
