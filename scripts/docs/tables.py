"""Blocks on the ledger's tables, the datasets, and connections, generated from the code."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import TYPE_CHECKING

from airflow_provider_winsms.ledger.schema import TABLES, MessageState
from airflow_provider_winsms.warehouse.datasets import DATASETS, RAW
from airflow_provider_winsms.warehouse.table import WITHOUT_TRANSACTIONS
from scripts.docs.markdown import grid, names, paragraph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.ledger.schema import LedgerTable
    from airflow_provider_winsms.warehouse.datasets import Dataset


def blocks() -> dict[str, str]:
    """Return the blocks, by their names."""
    return {
        **{f"ledger-table-{table.name}": _table(table) for table in TABLES},
        "ledger-states": grid(("state", "meaning"), _states()),
        **{f"dataset-{dataset.name}": _dataset(dataset) for dataset in DATASETS.values()},
        "connections-without-transactions": paragraph(names(sorted(WITHOUT_TRANSACTIONS))),
    }


def _table(table: LedgerTable) -> str:
    rows = (
        (f"`{c.name}`", c.kind, c.meaning + ("" if c.is_required else " (may be null)"))
        for c in table.columns
    )
    keys = f"Primary key: {names(table.key)}."
    unique = f" Unique: {names(table.unique)}." if table.unique else ""
    indexes = f" Indexes: {'; '.join(map(names, table.indexes))}." if table.indexes else ""
    meaning = paragraph(f"{table.meaning} {keys}{unique}{indexes}")
    return f"{meaning}\n\n{grid(('column', 'kind', 'meaning'), rows)}"


def _states() -> Iterator[tuple[str, str]]:
    """Yield each state, and the docstring below it in the source."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(MessageState))).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - getsource returned one class
    for before, node in zip(definition.body, definition.body[1:], strict=False):
        match before, node:
            case ast.Assign(targets=[ast.Name(name)]), ast.Expr(ast.Constant(str(meaning))):
                yield f"`{MessageState[name]}`", meaning.replace("``", "`")


def _dataset(dataset: Dataset) -> str:
    rows = (
        (f"`{c.name}`", c.kind, "" if c.is_required else "yes", c.meaning, f"`{c.wire}`" if c.wire else "")
        for c in (*dataset.columns, *(() if dataset.is_from_ledger else (RAW,)))
    )
    columns = grid(("column", "kind", "null", "meaning", "from"), rows)
    indexed = [column.name for column in dataset.columns if column.is_indexed]
    indexes = f" Index: {names(indexed)}." if indexed else ""
    meaning = paragraph(f"{dataset.meaning} Primary key: {names(dataset.key)}.{indexes}")
    return f"{meaning}\n\n{columns}"
