"""``airflow sms check``. It needs no gateway, no connection and no database, and stores nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.utils.cli import suppress_logs_and_warning

from airflow_provider_winsms.cli.terminal import console, print_line, printable_row, typed_input
from airflow_provider_winsms.gsm7 import check_text, name_of
from airflow_provider_winsms.messages import pluralize

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_provider_winsms.gsm7 import Refusal, Respelling, TextCheck


@suppress_logs_and_warning
def check(args: Namespace) -> None:
    """Show how a text is sent, and exit with status 1 if it is refused."""
    found = check_text(_text_of(args))
    if args.output in {"json", "yaml"}:
        show = console().print_as_json if args.output == "json" else console().print_as_yaml
        show(_record(found))
    else:
        _print_lines(found, args.output)
    if found.refused:
        sys.exit(f"Refused: {pluralize(len(found.refused), 'character')} without a spelling.")
    if args.strict and found.respelt:
        sys.exit(f'encoding="strict" refuses {pluralize(len(found.respelt), "character")}.')


def _text_of(args: Namespace) -> str:
    text = typed_input() if args.text == "-" else args.text
    if not text.strip():
        sys.exit("The text is empty. Give the words to send.")
    return str(text)


def _record(found: TextCheck) -> dict[str, Any]:
    return {
        "septets": found.septets,
        "room": found.room,
        "segments": found.segments,
        "sent": found.sent,
        "respelt": [{**_place(each), "spelling": each.spelling} for each in found.respelt],
        "refused": [_place(each) for each in found.refused],
    }


def _place(each: Respelling | Refusal) -> dict[str, Any]:
    # Half of a character, such as a byte that is no text, has no form in YAML.
    character = each.character.encode(errors="backslashreplace").decode()
    return {"position": each.position, "character": character, "name": name_of(each.character)}


def _print_lines(found: TextCheck, output: str) -> None:
    if found.segments is not None:
        print_line(f"{found.septets} of {found.room} septets, in {pluralize(found.segments, 'segment')}.")
        print_line(f"Sent as: {found.sent}")
        if found.respelt:
            print_line()
    sent_as = {each.position: repr(each.spelling) for each in found.respelt}
    rows = [
        printable_row({**_place(each), "sent_as": sent_as.get(each.position, "refused")})
        for each in found.lacking
    ]
    if rows:
        console().print_as(rows, output)
