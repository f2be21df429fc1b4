"""Checks of the parameters of a campaign. DAG files run them, so they import little."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.options import shown


def check_query(name: str, sql: object) -> None:
    """Check that a parameter can be a query.

    :raises InvalidMessage: it is empty, or no text.
    """
    if not isinstance(sql, str) or not sql.strip():
        what = "empty" if isinstance(sql, str) else f"of type {type(sql).__name__}"
        msg = f"`{name}` is {what}. Give one query as text, or the name of a file that ends with .sql."
        raise InvalidMessage(msg)


def check_column(name: str, column: object) -> None:
    """Check that a parameter can be the name of a column.

    :raises InvalidMessage: it is empty, or no text.
    """
    if not isinstance(column, str) or not column.strip():
        msg = f"`{name}` must be the name of a column of the query; got {shown(column)}."
        raise InvalidMessage(msg)


def check_text_template(name: str, text: object) -> None:
    """Check that a parameter is a template of texts: its syntax, its filters and its tests.

    :raises InvalidMessage: it is not.
    """
    from airflow_provider_winsms.gateways.alphabets import refuse_unsendable
    from airflow_provider_winsms.sending.row_template import check_row_template

    check_row_template(name, text)
    refuse_unsendable(str(text))


def check_one_text(text: str | None, text_column: str | None) -> None:
    """Require a template or a column of texts, and not both.

    :raises InvalidMessage: both are given, or none is.
    """
    if (text is None) == (text_column is None):
        given = "neither is" if text is None else "both are"
        msg = (
            f"The texts come from the template `text` or from the column `text_column`; {given} given. Give "
            "one of them."
        )
        raise InvalidMessage(msg)


def check_query_parameters(name: str, parameters: object) -> None:
    """Check that a parameter can hold the parameters of a query.

    :raises InvalidMessage: it is no list and no dict.
    """
    if not isinstance(parameters, (list, tuple, Mapping)):
        msg = f"`{name}` is of type {type(parameters).__name__}. Give a list or a dict."
        raise InvalidMessage(msg)
