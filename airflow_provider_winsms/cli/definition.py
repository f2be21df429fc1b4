"""The commands of ``airflow sms`` as data. Airflow's command line loads them at each start."""

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

_TEXT = Arg(
    ("text",),
    help="The text. With - it is read from the standard input, and stays out of the shell's history.",
    metavar="TEXT",
)
_STRICT = Arg(
    ("--strict",),
    help='Refuse other spellings too, as encoding="strict" does.',
    action="store_true",
)

_LEDGER_CONN_ID = Arg(
    ("--ledger-conn-id",),
    help="The task's ledger_conn_id, if it has one. Default: Airflow's task state store.",
)
_LEDGER_PREFIX = Arg(
    ("--ledger-prefix",),
    help="The task's ledger_prefix, with which the names of the ledger's tables begin.",
    default="sms_",
)
_BATCH_ID = Arg(("batch_id",), help="The id of the batch, from `airflow sms unresolved`.", metavar="BATCH_ID")
_REQUEST = Arg(
    ("--request",),
    help="The index of the request in its round.",
    type=positive_int(allow_zero=False),
    required=True,
    metavar="N",
)
_ROUND = Arg(
    ("--round",),
    help="The round of the request. Default: 1.",
    type=positive_int(allow_zero=False),
    default=1,
    metavar="N",
)
_ACCEPTED = Arg(
    ("--accepted",),
    help="The gateway accepted the texts. Give one message id for each recipient in doubt, in their order.",
    nargs="+",
    metavar="ID",
)
_NOT_ACCEPTED = Arg(
    ("--not-accepted",),
    help="The gateway accepted none of the texts. The task sends them after you clear it.",
    action="store_true",
)


_CHECK = ActionCommand(
    name="check",
    help="Show the septets and segments of a text, and the characters that are respelt or refused",
    description=(
        "Show how a text is sent in the GSM 7-bit alphabet: its septets and segments, and each character "
        "that is respelt or refused, with its position. No gateway is asked, and nothing is stored. The "
        "exit status is 1 if the text is refused."
    ),
    func=lazy_load_command("airflow_provider_winsms.cli.linter.check"),
    args=(_TEXT, _STRICT, ARG_OUTPUT, ARG_VERBOSE),
)
_UNRESOLVED = ActionCommand(
    name="unresolved",
    help="List requests whose outcome is unknown, with the commands that resolve them",
    func=lazy_load_command(f"{_COMMANDS}.unresolved"),
    args=(_LEDGER_CONN_ID, _LEDGER_PREFIX, ARG_OUTPUT, ARG_VERBOSE),
)
_RESOLVE = ActionCommand(
    name="resolve",
    help="Record whether the gateway accepted the texts of one request",
    description="First ask the gateway whether it accepted them. Then give --accepted or --not-accepted.",
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


def get_sms_cli_commands() -> list[CLICommand]:
    """Return the commands."""
    return [
        GroupCommand(
            name="sms",
            help="Check texts, and resolve SMS whose outcome is unknown",
            subcommands=(_CHECK, _UNRESOLVED, _RESOLVE),
        )
    ]
