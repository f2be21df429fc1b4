"""Markdown pages that people edit. This package writes only the blocks between two marks.

A block is ``<!-- generated: NAME -->``, the generated text, and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.docs import answers, cookbook, excerpts, grafana, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = Path(__file__).resolve().parents[2] / "docs"

_MARK = re.compile(r"<!-- (?:generated: (?P<name>\S+)|end) -->")


class MarkError(ValueError):
    """A page has an unknown block, or a block without a beginning or an end."""


def pages() -> list[Path]:
    """Return every page, those in folders too."""
    return sorted(FOLDER.rglob("*.md"))


def blocks() -> dict[str, str]:
    """Return the content of each block, by its name."""
    return {**tables.blocks(), **answers.blocks(), **excerpts.blocks(), **cookbook.blocks()}


def fresh_files() -> dict[Path, str]:
    """Return the content of each page, plot and dashboard, by its path, with every block generated afresh."""
    content = blocks()
    plots = {FOLDER / name: plot for name, plot in answers.plots().items()}
    texts = {path: filled(path.read_text(), content) for path in pages()}
    return texts | plots | {FOLDER / "grafana" / "sms.json": grafana.dashboard()}


def filled(page: str, content: Mapping[str, str]) -> str:
    """Return a page with its blocks filled.

    :raises MarkError: if a mark has no partner, or names no block.
    """
    return "".join(_parts(page, content))


def block_names(page: str) -> list[str]:
    """Return the names of a page's blocks."""
    return [mark["name"] for mark in _MARK.finditer(page) if mark["name"]]


def _parts(page: str, content: Mapping[str, str]) -> Iterator[str]:
    at, open_block = 0, ""
    for mark in _MARK.finditer(page):
        if bool(mark["name"]) is bool(open_block):
            msg = f"{mark[0]} has no partner."
            raise MarkError(msg)
        yield f"\n\n{_content(open_block, content)}\n\n" if open_block else page[at : mark.start()]
        yield mark[0]
        at, open_block = mark.end(), mark["name"] or ""
    if open_block:
        msg = f"<!-- generated: {open_block} --> has no partner."
        raise MarkError(msg)
    yield page[at:]


def _content(name: str, content: Mapping[str, str]) -> str:
    if name not in content:
        msg = f"No block is named {name!r}. Named are: {', '.join(content)}."
        raise MarkError(msg)
    return content[name]
