"""``airflow sms unresolved`` and ``airflow sms resolve``. They never show a number or a text."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow.utils.cli import action_cli, suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from airflow_provider_winsms.cli.instances import is_active, look_for_connections_in_metadata, state_of
from airflow_provider_winsms.cli.terminal import (
    console,
    exit_on_error,
    is_confirmed,
    print_line,
    printable_row,
)
from airflow_provider_winsms.exceptions import InvalidMessage, UnsupportedCapability
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.messages import message_id_of, pluralize

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from airflow_provider_winsms.cli.task_state import TaskStateHistory
    from airflow_provider_winsms.ledger.unresolved import UnresolvedRequest
    from airflow_provider_winsms.messages import MessageId

_NO_ID = re.compile(r"[\s,;]|^(ID(_\d+)?|\.+)$")
"""Finds ids without spaces between them, and the words that stand for ids in the commands that are shown."""


class History(Protocol):
    """A record of sends, whose unknown outcomes a person resolves."""

    def unresolved(self) -> list[UnresolvedRequest]:
        """Return the requests with recipients in doubt."""

    def resolve(self, batch_id: str, key: RequestKey, accepted: Sequence[MessageId] | None) -> None:
        """Record whether the gateway accepted the texts to the recipients in doubt of a request."""


@suppress_logs_and_warning
@providers_configuration_loaded
def unresolved(args: Namespace) -> None:
    """List requests whose outcome is unknown, and the commands that resolve them."""
    with exit_on_error(), _history(args) as history:
        rows = [printable_row(_row(request, args)) for request in history.unresolved()]
        _warn_of_unreadable(history)
    hints = [(row["if_not_accepted"], row["if_accepted"]) for row in rows]
    if args.output == "table":
        rows = [{name: value for name, value in row.items() if not name.startswith("if_")} for row in rows]
    console().print_as(rows, args.output)
    if args.output == "table" and hints:
        print_line()
        print_line(
            "Ask the gateway whether it accepted the texts, run one of the two commands, and clear the task:"
        )
        for not_accepted, accepted in hints:
            print_line(f"  {not_accepted}")
            print_line(f"  {accepted}")


@action_cli  # type: ignore[untyped-decorator] # it writes to Airflow's audit log
@providers_configuration_loaded
def resolve(args: Namespace) -> None:
    """Record whether the gateway accepted the texts of one request."""
    with exit_on_error(), _history(args) as history:
        accepted = _accepted(args)
        key = RequestKey(args.round, args.request)
        request = _find_request(history.unresolved(), args, key)
        _refuse_while_active(request)
        if accepted is not None and len(accepted) != request.recipients:
            msg = (
                f"{_request_name(key)} has {pluralize(request.recipients, 'recipient')} in doubt, and "
                f"--accepted has {pluralize(len(accepted), 'id')}. Give one id for each recipient, in order."
            )
            raise InvalidMessage(msg)
        print_line(_announcement(request, is_accepted=accepted is not None))
        if not args.yes and not is_confirmed("Record this?"):
            sys.exit("Nothing was recorded.")
        history.resolve(args.batch_id, key, accepted)
        print_line(f"Recorded. Now clear {_task_name(request)}.")


@contextmanager
def _history(args: Namespace) -> Iterator[History]:
    if args.ledger_conn_id is None:
        with _task_state_history() as history:
            yield history
        return
    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.ledger.unresolved import UnresolvedRequests

    look_for_connections_in_metadata()
    with LedgerDatabase(sql_hook(args.ledger_conn_id), args.ledger_prefix) as ledger:
        yield UnresolvedRequests(ledger)


def _task_state_history() -> TaskStateHistory:
    try:
        from airflow_provider_winsms.cli.task_state import TaskStateHistory
    except ModuleNotFoundError:
        msg = "There is no task state store before Airflow 3.3. Give --ledger-conn-id."
        raise UnsupportedCapability(msg) from None
    return TaskStateHistory()


def _warn_of_unreadable(history: History) -> None:
    if count := getattr(history, "unreadable", 0):
        sys.stderr.write(
            f"{pluralize(count, 'send')} cannot be read here, because the task state store keeps its values "
            "elsewhere ([workers] state_store_backend).\n"
        )


def _row(request: UnresolvedRequest, args: Namespace) -> dict[str, Any]:
    commands = request.commands(args.ledger_conn_id, args.ledger_prefix)
    return {
        "batch_id": request.batch_id,
        "dag_id": request.dag_id,
        "run_id": request.run_id,
        "task_id": request.task_id,
        "map_index": request.map_index,
        "round": request.key.round,
        "request": request.key.request,
        "recipients": request.recipients,
        "submitted_at": request.claimed_at.isoformat(timespec="seconds"),
        "due_at": request.send_at and request.send_at.isoformat(timespec="seconds"),
        **commands._asdict(),
    }


def _accepted(args: Namespace) -> list[MessageId] | None:
    """Return the ids, or ``None`` if the texts were not accepted."""
    if bool(args.accepted) is args.not_accepted:
        msg = (
            "Give either --accepted, with the message id of each recipient in doubt, or --not-accepted. Ask "
            "the gateway if you do not know which."
        )
        raise InvalidMessage(msg)
    if args.not_accepted:
        return None
    if any(_NO_ID.search(text) for text in args.accepted):
        msg = (
            "Give the gateway's message ids in place of ID_1 and so on. Put spaces between ids, as in "
            "--accepted 101 102."
        )
        raise InvalidMessage(msg)
    return [message_id_of(text) for text in args.accepted]


def _find_request(
    requests: Sequence[UnresolvedRequest], args: Namespace, key: RequestKey
) -> UnresolvedRequest:
    of_batch = {each.key: each for each in requests if each.batch_id == args.batch_id}
    if key in of_batch:
        return of_batch[key]
    if of_batch:
        in_doubt = ", ".join(f"--request {key.request} --round {key.round}" for key in sorted(of_batch))
        msg = f"{_request_name(key)} of this batch is not in doubt. Requests in doubt: {in_doubt}."
        raise InvalidMessage(msg)
    where = "the task state store" if args.ledger_conn_id is None else f"the ledger {args.ledger_conn_id!r}"
    hint = (
        " If the task has a ledger_conn_id, give it with --ledger-conn-id."
        if args.ledger_conn_id is None
        else ""
    )
    msg = (
        f"No request of the batch {args.batch_id!r} is in doubt in {where}. The id may be wrong, the request "
        "may be resolved, or the task has sent again since. See `airflow sms unresolved`." + hint
    )
    raise InvalidMessage(msg)


def _refuse_while_active(request: UnresolvedRequest) -> None:
    if is_active(state := state_of(request)):
        msg = (
            f"{_task_name(request)} is {state}, and may still resolve the request itself. Wait until it ends."
        )
        raise InvalidMessage(msg[0].upper() + msg[1:])


def _announcement(request: UnresolvedRequest, *, is_accepted: bool) -> str:
    each = "the 1 recipient" if request.recipients == 1 else f"each of the {request.recipients} recipients"
    what = (
        f"ACCEPTED the text to {each} in doubt. They are not sent to again."
        if is_accepted
        else f"did NOT accept the text to {each} in doubt. After you clear the task, it sends to them: a "
        "recipient that has the text already gets it TWICE."
    )
    return (
        f"{_request_name(request.key)} of the batch {request.batch_id}, {_task_name(request)}: you record "
        f"that the gateway {what} You cannot undo this."
    )


def _request_name(key: RequestKey) -> str:
    return f"Request {key.request}" + (f" of round {key.round}" if key.round > 1 else "")


def _task_name(request: UnresolvedRequest) -> str:
    index = "" if request.map_index < 0 else f"[{request.map_index}]"
    return f"the task {request.dag_id}.{request.task_id}{index} of the run {request.run_id}"
