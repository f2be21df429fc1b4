"""The commands of ``airflow sms``, as Airflow's command line reads them each time it starts."""

from __future__ import annotations

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ARG_YES,
    ActionCommand,
    Arg,
    CLICommand,
    GroupCommand,
    lazy_load_command,
    positive_int,
)

_COMMANDS = "airflow_provider_winsms.cli.commands"

_LEDGER_CONN_ID = Arg(
    ("--ledger-conn-id",),
    help="The connection of the ledger, if the task has one. Without it: Airflow's task state store.",
)
_LEDGER_PREFIX = Arg(
    ("--ledger-prefix",), help="What the names of the ledger's tables begin with.", default="sms_"
)
_BATCH_ID = Arg(("batch_id",), help="The batch, as `airflow sms unresolved` shows it.", metavar="BATCH_ID")
_REQUEST = Arg(
    ("--request",),
    help="The number of the request.",
    type=positive_int(allow_zero=False),
    required=True,
    metavar="N",
)
_ROUND = Arg(
    ("--round",),
    help="The round of the request, if it is not the first.",
    type=positive_int(allow_zero=False),
    default=1,
    metavar="N",
)
_ACCEPTED = Arg(
    ("--accepted",),
    help="The gateway took the texts: their message ids, in the order of the recipients in doubt.",
    nargs="+",
    metavar="ID",
)
_NOT_ACCEPTED = Arg(
    ("--not-accepted",),
    help="The gateway took none of the texts: the task sends them once it is cleared.",
    action="store_true",
)


def get_sms_cli_commands() -> list[CLICommand]:
    """Return the commands."""
    unresolved = ActionCommand(
        name="unresolved",
        help="List requests of which nobody knows whether the gateway took their texts",
        func=lazy_load_command(f"{_COMMANDS}.unresolved"),
        args=(_LEDGER_CONN_ID, _LEDGER_PREFIX, ARG_OUTPUT, ARG_VERBOSE),
    )
    resolve = ActionCommand(
        name="resolve",
        help="Say what became of the recipients in doubt of one request",
        description="Find out from the gateway first. Give either --accepted or --not-accepted.",
        func=lazy_load_command(f"{_COMMANDS}.resolve"),
        args=(
            _BATCH_ID,
            _REQUEST,
            _ROUND,
            _ACCEPTED,
            _NOT_ACCEPTED,
            _LEDGER_CONN_ID,
            _LEDGER_PREFIX,
            ARG_YES,
            ARG_VERBOSE,
        ),
    )
    return [
        GroupCommand(name="sms", help="Resolve SMS of unknown outcome", subcommands=(unresolved, resolve))
    ]
