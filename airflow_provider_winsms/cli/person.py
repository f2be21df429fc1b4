"""``airflow sms show`` and ``airflow sms forget``: what is held on one person, and its removal.

They show no number but the one that is typed. Airflow's audit log keeps the whole command line of a command
that writes to it. So these two do not.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.utils.cli import suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from airflow_provider_winsms.cli.instances import look_for_connections_in_metadata
from airflow_provider_winsms.cli.terminal import (
    console,
    exit_on_error,
    is_confirmed,
    print_line,
    printable_row,
    typed_input,
)
from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.messages import mask_number, pluralize
from airflow_provider_winsms.phone import InvalidPhoneNumber

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_winsms.cli.places import Finding
    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.ledger.person import Person

    Row = Mapping[str, Any]

_DEFAULT_SMS_CONN_IDS = ("winsms_default",)

_PERSONAL_COLUMNS = frozenset({"text", "raw", "reference"})

_TABLE_COLUMNS = (
    *("message_id", "number", "text", "raw", "reference", "state", "reason", "cost", "received_at"),
    *(
        "opted_out_at",
        "first_seen_at",
        "removed_at",
        "submitted_at",
        "send_at",
        "dag_id",
        "run_id",
        "task_id",
    ),
)
"""The columns for a terminal, in their order. JSON and YAML have all."""

_ELSEWHERE = (
    (
        "The provider writes no whole number and no text into Airflow's logs, XComs and task state store. "
        "DAGs may have put some there: in their files, in what a task returned, in events with `expose`."
    ),
    (
        "Not searched: the gateway's own records, backups, copies of the tables, and texts of other people "
        "that mention the number. Ask the gateway to delete its records."
    ),
)
_NOT_LOADED_YET = (
    "If the gateway lists texts of this person that no load has read yet, the next load brings them with the "
    "number. Then run the command again."
)
_OPT_OUT_STAYS = (
    "An opt-out stays, under a keyed hash of the number, by which loads find it. Keep the `hash_secret` of "
    "the connection: under another one, the next load lists the number again."
)
_LEDGER_TOO = "These deliveries come from a ledger, which has the number too: name it with --ledger-conn-id."
_RETRIES_KNOW = (
    "A keyed hash of the number stays in the ledger. By it a retry knows the recipient, and sends no text "
    "twice."
)


@suppress_logs_and_warning
@providers_configuration_loaded
def show(args: Namespace) -> None:
    """List all that the named places hold on one person."""
    from airflow_provider_winsms.cli.places import places_of

    with exit_on_error():
        hooks = _hooks(args)
        person = _person(args, hooks)
        found = [place.find(person) for place in places_of(args)]
    view = _View(person, hooks[0].gateway, is_masked=not args.unmasked)
    notes = [*_unsearched(found), *_ELSEWHERE]
    if args.output in {"json", "yaml"}:
        show_record = console().print_as_json if args.output == "json" else console().print_as_yaml
        held = [
            {"place": name, "rows": list(map(view.row, rows))} for name, rows in _held(found).items() if rows
        ]
        show_record({"number": view.number, "held": held, "notes": notes})
        return
    for name, rows in _held(found).items():
        if rows:
            print_line(f"{name}: {pluralize(len(rows), 'row')}")
            console().print_as(list(map(view.short_row, rows)), args.output)
            print_line()
    if not any(_held(found).values()):
        print_line(f"{view.number}: nothing held")
    _print_notes(notes)


@suppress_logs_and_warning
@providers_configuration_loaded
def forget(args: Namespace) -> None:
    """Take number and texts of one person out of the named places."""
    from airflow_provider_winsms.cli.places import places_of

    with exit_on_error():
        hooks = _hooks(args)
        person, places = _person(args, hooks), places_of(args)
        found = [place.find(person) for place in places]
        if not any(_held(found).values()):
            print_line(f"{mask_number(person.number)}: nothing held")
            _print_notes([*_unsearched(found), *_ELSEWHERE])
            return
        _check_key(found, hooks[0])
        _announce(found, person)
        if not args.yes and not is_confirmed("Forget this person?"):
            sys.exit("Nothing was changed.")
        for place in places:
            for name, rows in place.forget(person).items():
                print_line(f"{name}: {pluralize(rows, 'row')} forgotten")
    _print_notes([*_unsearched(found), *_consequences(found), *_ELSEWHERE])


def _hooks(args: Namespace) -> list[SmsHook]:
    from airflow_provider_winsms.hooks.sms import SmsHook

    look_for_connections_in_metadata()
    return [SmsHook.of(conn_id) for conn_id in args.sms_conn_ids or _DEFAULT_SMS_CONN_IDS]


def _person(args: Namespace, hooks: Sequence[SmsHook]) -> Person:
    """Return the person whose number is typed.

    :raises InvalidMessage: if it is no phone number.
    """
    from airflow_provider_winsms.ledger.person import Person

    gateway = hooks[0].gateway
    number = typed_input() if args.number == "-" else args.number
    try:
        read = _read_number(gateway, number)
    except InvalidPhoneNumber as error:
        msg = f"--number {error}."
        raise InvalidMessage(msg) from None
    return Person(read, [hook.hashes for hook in hooks], gateway.number_plan)


def _read_number(gateway: Gateway, number: str) -> str:
    """Return international digits. A number may be stored that is not possible by today's number plans."""
    try:
        return gateway.address(number).number
    except InvalidPhoneNumber as error:
        try:
            return gateway.address(number, "off").number
        except InvalidPhoneNumber:
            raise error from None


class _View:
    """Rows as they are shown.

    :param is_masked: whether number, texts and references are masked.
    """

    def __init__(self, person: Person, gateway: Gateway, *, is_masked: bool) -> None:
        self.number = mask_number(person.number) if is_masked else person.number
        self._person = person
        self._gateway = gateway
        self._is_masked = is_masked

    def row(self, row: Row) -> dict[str, Any]:
        """Return a row with all its columns."""
        return printable_row({name: self._value(name, value) for name, value in row.items()})

    def short_row(self, row: Row) -> dict[str, Any]:
        """Return the columns of a row that a terminal has room for."""
        shown = self.row(row)
        return {name: _or_empty(shown[name]) for name in _TABLE_COLUMNS if name in shown}

    def _value(self, name: str, value: Any) -> Any:
        from airflow_provider_winsms.hashing import is_hash
        from airflow_provider_winsms.warehouse.mapping import redact_numbers

        if name == "number":
            return f"{self.number} (hashed)" if is_hash(value) else self.number
        if name not in _PERSONAL_COLUMNS or not value:
            return value
        if is_hash(value):
            return "(keyed hash)" if self._is_masked else value
        if self._is_masked:
            return f"({pluralize(len(value), 'character')})"
        return redact_numbers(value, is_kept=self._is_own)

    def _is_own(self, number: str) -> bool:
        try:
            return self._gateway.address(number, "off").number == self._person.number
        except InvalidPhoneNumber:
            return False


def _or_empty(value: Any) -> Any:
    return "" if value is None else value


def _held(found: Sequence[Finding]) -> dict[str, Sequence[Row]]:
    return {name: rows for each in found for name, rows in each.rows.items()}


def _check_key(found: Sequence[Finding], hook: SmsHook) -> None:
    """Require a key that outlives the API key, if a hash of the number is to keep an opt-out.

    :raises ConfigurationError: if there is none.
    """
    if _has_column(found, "opted_out_at") and not hook.endpoint.hash_secret:
        msg = (
            "An opt-out stays under a keyed hash of the number, which needs a key that outlives the API key: "
            f"put `hash_secret` into the extras of the connection {hook.sms_conn_id!r}. Nothing was changed."
        )
        raise ConfigurationError(msg)


def _announce(found: Sequence[Finding], person: Person) -> None:
    for name, rows in _held(found).items():
        print_line(f"{name}: {pluralize(len(rows), 'row')} on {mask_number(person.number)}")
    print_line(
        "Their numbers, texts, raw rows and references are taken out. Counts, costs, states and message ids "
        "stay. You cannot undo this."
    )


def _unsearched(found: Sequence[Finding]) -> Iterator[str]:
    for each in found:
        if each.other_keys:
            yield (
                f"{next(iter(each.rows))}: numbers hashed under another key could not be searched. Give "
                "--sms-conn-id with a connection whose key has one of these ids: "
                f"{', '.join(each.other_keys)}."
            )


def _consequences(found: Sequence[Finding]) -> Iterator[str]:
    """Yield what stays, and what a later load brings back."""
    held = _held(found)
    has_ledger = any(name.startswith("ledger ") for name in held)
    if any(rows for name, rows in held.items() if name.startswith("ledger ")):
        yield _RETRIES_KNOW
    if _has_column(found, "opted_out_at"):
        yield _OPT_OUT_STAYS
    if any(not name.startswith("ledger ") for name in held):
        yield _NOT_LOADED_YET
    if not has_ledger and _has_column(found, "batch_id"):
        yield _LEDGER_TOO


def _has_column(found: Sequence[Finding], name: str) -> bool:
    return any(name in row for rows in _held(found).values() for row in rows)


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        print_line(f"* {note}")
