"""Tables and lists in Markdown."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDTH = 118


def grid(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def names(words: Iterable[str]) -> str:
    """Return names, separated by commas."""
    return ", ".join(f"`{word}`" for word in words)


def paragraph(text: str) -> str:
    """Return a text, wrapped to the usual width."""
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
