"""Scripted answers: the rows that a list is to answer with in place of the account's, as they are given."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from airflow_provider_winsms.sandbox import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_winsms.sandbox.operations import Operation
    from airflow_provider_winsms.sandbox.state import Row


class Asked(NamedTuple):
    """What a request asks for.

    :param offset: how many rows come before the page; 0 of a list that has no pages.
    :param limit: the most rows of the page.
    :param ids: whose rows are asked for, of a status request.
    """

    offset: int = 0
    limit: int = sys.maxsize
    ids: Sequence[int] = ()


class Listing(NamedTuple):
    """What a script answers a request with.

    :param rows: they go out as they are, whatever they are.
    :param total: how many rows there are in all, as an answer with a page states it.
    """

    rows: Sequence[Any] | wire.Encoded
    total: Any = None

    def __repr__(self) -> str:
        """Show no row."""
        return f"Listing(total={self.total!r})"


Script: TypeAlias = "Callable[[Asked], Listing]"
"""Answers a request; several are answered at a time, each in its own thread.

What it raises as a ``wire.Refusal`` is answered as the gateway answers an error.
"""


class Scripts:
    """The scripts that were given, by the names of the operations that they answer."""

    def __init__(self) -> None:
        self._scripts: dict[str, Script] = {}

    def add(self, operation: Operation, script: Script) -> None:
        """Have a script answer an operation, in place of the one before.

        :raises ValueError: if the operation does more than list rows.
        """
        if not operation.lists:
            msg = f"{operation.name} cannot be scripted: it does more than list rows."
            raise ValueError(msg)
        self._scripts[operation.name] = script

    def clear(self) -> None:
        """Forget every script."""
        self._scripts.clear()

    def answer(self, operation: Operation, query: Mapping[str, str], body: Any) -> tuple[Row, int] | None:
        """Return the answer to a valid request and its number of rows; ``None`` if no script answers it.

        :raises wire.Refusal: if the request asks for what no page or no id can be.
        """
        script = self._scripts.get(operation.name)
        if script is None:
            return None
        asked = _asked(operation, query, body)
        listing = script(asked)
        rows = listing.rows if isinstance(listing.rows, wire.Encoded) else list(listing.rows)
        count = rows.length if isinstance(rows, wire.Encoded) else len(rows)
        return {operation.rows: rows, **_paging(operation, asked, listing)}, count


def of_rows(rows: Sequence[Any]) -> Script:
    """Return a script that lists rows; the sequence may change between two requests."""
    return lambda asked: Listing(rows[asked.offset : asked.offset + asked.limit], len(rows))


def _asked(operation: Operation, query: Mapping[str, str], body: Any) -> Asked:
    if operation.is_paged:
        return Asked(*wire.page(query))
    return Asked(ids=wire.message_ids(body)) if operation.method == "POST" else Asked()


def _paging(operation: Operation, asked: Asked, listing: Listing) -> Row:
    if not operation.is_paged:
        return {}
    return {
        "resultsOffset": asked.offset,
        "resultsLimit": asked.limit,
        "resultsTotalAvailable": listing.total,
    }
