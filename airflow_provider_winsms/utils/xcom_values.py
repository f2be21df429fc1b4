"""Tells whether the value of a field comes through an XCom, which Airflow stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XComArg
from airflow.sdk.definitions.xcom_arg import MapXComArg

from airflow_provider_winsms.utils.task_store import map_index_of
from airflow_provider_winsms.utils.templates import mapped_task_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import BaseOperator, Context


def warn_of_xcoms(operator: BaseOperator, fields: Sequence[str], context: Context) -> None:
    """Log a warning if numbers come through an XCom.

    :param operator: with its fields as the DAG file gave them.
    :param fields: those with numbers.
    """
    found = [field for field in fields if _comes_through_xcom(operator, field, context)]
    if found:
        operator.log.warning(
            "The numbers in %s came through an XCom. Airflow stores XComs, by default in its metadata "
            "database, and shows them in its web interface. Give a function instead: Airflow calls it while "
            "the task runs, and stores nothing of its result.",
            " and ".join(f"`{field}`" for field in found),
        )


def _comes_through_xcom(operator: BaseOperator, field: str, context: Context) -> bool:
    return is_from_xcom(getattr(operator, field)) or any(
        map(is_from_xcom, _mapped_values(operator, field, context))
    )


def _mapped_values(operator: BaseOperator, field: str, context: Context) -> Iterator[object]:
    """Yield what the DAG file maps a field over. The operator itself has only the value of its index."""
    mapped = mapped_task_of(operator)
    if mapped is None or field in mapped.partial_kwargs:
        return
    rows: Any = getattr(mapped.expand_input, "value", None)
    index = map_index_of(context["ti"])
    row = rows[index] if isinstance(rows, Sequence) and 0 <= index < len(rows) else rows
    yield row.get(field) if isinstance(row, Mapping) else row


def is_from_xcom(given: object) -> bool:
    """Return whether a value of a DAG file, or a part of it, is known to be the output of another task.

    ``XComArg.map`` counts as a function. It runs in this task, and may look numbers up by ids.
    """
    if isinstance(given, str):
        return "xcom_pull" in given and ("{{" in given or "{%" in given)
    if isinstance(given, Mapping):
        return any(map(is_from_xcom, given.values()))
    if isinstance(given, (list, tuple)):
        return any(map(is_from_xcom, given))
    return isinstance(given, XComArg) and not isinstance(given, MapXComArg)
