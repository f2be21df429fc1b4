"""What the commands print. No sign in a name or a text steers a terminal or is read as markup."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.cli.simple_table import AirflowConsole

from airflow_provider_winsms.exceptions import SmsError

if TYPE_CHECKING:
    from collections.abc import Iterator


def console() -> AirflowConsole:
    """Return the console that prints tables. With markup, it would read brackets in a name as a style."""
    return AirflowConsole(markup=False, emoji=False)


def print_line(words: str = "") -> None:
    """Print one line."""
    sys.stdout.write(f"{printable(words)}\n")


def printable_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose texts are printable."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}


def printable(text: str) -> str:
    """Escape characters that control a terminal or begin a line: a row could hide itself with them."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def is_confirmed(question: str) -> bool:
    """Ask a question, and tell whether the answer is yes. Without a person to ask, it is no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        return False


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End the command with the text of an error, and no traceback."""
    try:
        yield
    except SmsError as error:
        sys.exit(printable(str(error)))


_STANDARD_INPUT = 0


def typed_input() -> str:
    """Return the standard input without the line end at its end, which ``echo`` and editors add."""
    with open(_STANDARD_INPUT, newline="", closefd=False) as typed:
        try:
            text = typed.read()
        except UnicodeDecodeError:
            sys.exit(f"The standard input is not text in {typed.encoding}.")
    return text.removesuffix("\n").removesuffix("\r")
