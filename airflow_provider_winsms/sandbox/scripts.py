"""Scripted answers: a list answers with given rows, unchanged, in place of the account's."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from airflow_provider_winsms.sandbox import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_winsms.sandbox.operations import Operation
    from airflow_provider_winsms.sandbox.state import Row


class ListQuery(NamedTuple):
    """The rows that a request asks for.

    :param offset: how many rows come before the page; 0 for a list without pages.
    :param limit: the most rows of the page.
    :param ids: the ids in a status request.
    """

    offset: int = 0
    limit: int = sys.maxsize
    ids: Sequence[int] = ()


class Listing(NamedTuple):
    """A script's answer to a request.

    :param rows: they go out unchanged, valid or not.
    :param total: the total number of rows that the answer states, if the list has pages.
    """

    rows: Sequence[Any] | wire.JsonRows
    total: Any = None

    def __repr__(self) -> str:
        """Show no row."""
        return f"Listing(total={self.total!r})"


Script: TypeAlias = "Callable[[ListQuery], Listing]"
"""Answers a request. It is called in several threads at once.

A ``wire.RequestRefused`` that it raises is answered as the gateway answers an error.
"""


class Scripts:
    """The scripts, by the names of their operations."""

    def __init__(self) -> None:
        self._scripts: dict[str, Script] = {}

    def add(self, operation: Operation, script: Script) -> None:
        """Have a script answer an operation, in place of any earlier script.

        :raises ValueError: if the operation does more than list rows.
        """
        if not operation.lists:
            msg = f"{operation.name} cannot be scripted: it does more than list rows."
            raise ValueError(msg)
        self._scripts[operation.name] = script

    def clear(self) -> None:
        """Remove every script."""
        self._scripts.clear()

    def answer(self, operation: Operation, query: Mapping[str, str], body: Any) -> tuple[Row, int] | None:
        """Return the answer to a request and its number of rows; ``None`` if no script answers it.

        :raises wire.RequestRefused: if the page or the ids are invalid.
        """
        script = self._scripts.get(operation.name)
        if script is None:
            return None
        list_query = _list_query(operation, query, body)
        listing = script(list_query)
        rows = listing.rows if isinstance(listing.rows, wire.JsonRows) else list(listing.rows)
        count = rows.length if isinstance(rows, wire.JsonRows) else len(rows)
        return {operation.rows: rows, **_paging(operation, list_query, listing)}, count


def of_rows(rows: Sequence[Any]) -> Script:
    """Return a script that lists rows. The sequence may change between two requests."""
    return lambda query: Listing(rows[query.offset : query.offset + query.limit], len(rows))


def _list_query(operation: Operation, query: Mapping[str, str], body: Any) -> ListQuery:
    if operation.is_paged:
        return ListQuery(*wire.page(query))
    return ListQuery(ids=wire.message_ids(body)) if operation.method == "POST" else ListQuery()


def _paging(operation: Operation, query: ListQuery, listing: Listing) -> Row:
    if not operation.is_paged:
        return {}
    return {
        "resultsOffset": query.offset,
        "resultsLimit": query.limit,
        "resultsTotalAvailable": listing.total,
    }
