"""The commands of ``airflow sms`` as data. Airflow's command line loads them at each start."""

from __future__ import annotations

from argparse import Action
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

_COMMANDS = "airflow_provider_winsms.cli.commands"
_PERSON = "airflow_provider_winsms.cli.person"
_DEFAULT_PREFIX = "sms_"


class _AddLedger(Action):
    """Adds a ledger: its connection, and the default prefix."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, _: Any = None) -> None:  # noqa: ARG002 - its signature
        namespace.ledgers = [*(namespace.ledgers or ()), (values, _DEFAULT_PREFIX)]


class _SetPrefix(Action):
    """Sets the prefix of the ledger before it."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, _: Any = None) -> None:
        if not namespace.ledgers:
            parser.error("give each --ledger-prefix after its --ledger-conn-id")
        *others, (conn_id, _) = namespace.ledgers
        namespace.ledgers = [*others, (conn_id, values)]


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
    default=_DEFAULT_PREFIX,
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

_NUMBER = Arg(
    ("--number",),
    help=(
        "The person's number, in any spelling. With - it is read from the standard input, and stays out of "
        "the shell's history."
    ),
    required=True,
)
_LEDGERS = Arg(
    ("--ledger-conn-id",),
    help="The connection of a ledger to search. It may be given several times.",
    action=_AddLedger,
    dest="ledgers",
    metavar="LEDGER_CONN_ID",
)
_PREFIXES = Arg(
    ("--ledger-prefix",),
    help="The prefix of the ledger named before it. Default: sms_.",
    action=_SetPrefix,
    dest="ledgers",
    metavar="LEDGER_PREFIX",
)
_TABLES = Arg(
    ("--table",),
    help=(
        "A table of SmsToSqlOperator to search. The history of opt-outs goes with their table. It may be "
        "given several times."
    ),
    action="append",
    dest="tables",
    metavar="CONN_ID:[SCHEMA.]TABLE",
)
_SMS_CONN_IDS = Arg(
    ("--sms-conn-id",),
    help=(
        "The connection of the gateway, with the country code and the key of hashed numbers. It may be given "
        "several times, for several keys. Default: winsms_default."
    ),
    action="append",
    dest="sms_conn_ids",
    metavar="SMS_CONN_ID",
)
_UNMASKED = Arg(
    ("--unmasked",), help="Show the number, texts and references as they are.", action="store_true"
)

_REPORTED_LEDGER = Arg(("--ledger-conn-id",), help="The connection of the ledger.", required=True)
_HTML = Arg(("--html",), help="The file to write.", required=True, metavar="FILE")
_DAYS = Arg(
    ("--days",),
    help="The number of days, today included. Default: 30.",
    type=positive_int(allow_zero=False),
    default=30,
)
_TIME_ZONE = Arg(
    ("--time-zone",), help="The time zone of the days, as an IANA name. Default: UTC.", default="UTC"
)
_DAG_ID = Arg(("--dag-id",), help="Only the texts of this DAG.")
_OPT_OUTS = Arg(
    ("--opt-outs",),
    help="A table of the dataset opt_outs beside the ledger, for the plots of opt-outs.",
    metavar="TABLE",
)

_WHERE = (_LEDGERS, _PREFIXES, _TABLES, _SMS_CONN_IDS)


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
_SHOW = ActionCommand(
    name="show",
    help="List all that ledgers and tables hold on one person",
    description=(
        "List all that the named ledgers and tables hold on one person. Number, texts and references are "
        "masked. No number is shown but the one that is typed. --output json or yaml lists every column."
    ),
    func=lazy_load_command(f"{_PERSON}.show"),
    args=(_NUMBER, *_WHERE, _UNMASKED, ARG_OUTPUT, ARG_VERBOSE),
)
_FORGET = ActionCommand(
    name="forget",
    help="Take one person's number and texts out of ledgers and tables",
    description=(
        "Take the number, the texts and the references of one person out of the named ledgers and tables, "
        "each in one transaction. Counts, costs, states and message ids stay, and so does an opt-out."
    ),
    func=lazy_load_command(f"{_PERSON}.forget"),
    args=(_NUMBER, *_WHERE, ARG_YES, ARG_VERBOSE),
)

_REPORT = ActionCommand(
    name="report",
    help="Write an HTML file with plots of what a ledger recorded",
    description=(
        "Write one HTML file: delivery and cost by day and DAG, declined texts by reason, requests whose "
        "outcome is unknown, and the last batches. It has no number and no text, and loads nothing."
    ),
    func=lazy_load_command("airflow_provider_winsms.cli.report.report"),
    args=(
        _REPORTED_LEDGER,
        _LEDGER_PREFIX,
        _HTML,
        _DAYS,
        _TIME_ZONE,
        _DAG_ID,
        _OPT_OUTS,
        ARG_VERBOSE,
    ),
)


def get_sms_cli_commands() -> list[CLICommand]:
    """Return the commands."""
    return [
        GroupCommand(
            name="sms",
            help="Check, report and resolve SMS, show or forget a person",
            subcommands=(_CHECK, _REPORT, _UNRESOLVED, _RESOLVE, _SHOW, _FORGET),
        )
    ]
