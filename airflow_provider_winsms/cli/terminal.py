"""What the commands print. No sign in a name or a text steers a terminal or is read as markup."""

from __future__ import annotations

import sys
from typing import Any

from airflow.cli.simple_table import AirflowConsole


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
