"""Checks of a load's parameters that depend on each other. DAG files run them, so they import little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.ledger.schema import TABLES

if TYPE_CHECKING:
    from airflow_provider_winsms.options import LoadedText, Privacy
    from airflow_provider_winsms.warehouse.datasets import Dataset


def check_ledger(dataset: Dataset, ledger_conn_id: str | None, ledger_prefix: str, table: str) -> None:
    """Require a ledger for the dataset that is read from one, and none for the others.

    :raises InvalidMessage: if it is missing, or given for no use, or ``table`` is one of its tables.
    """
    if dataset.is_from_ledger and ledger_conn_id is None:
        msg = (
            f"The dataset {dataset.name!r} is read from a ledger: give `ledger_conn_id`, the one that "
            "your sends are given."
        )
        raise InvalidMessage(msg)
    if ledger_conn_id is not None and not dataset.is_from_ledger:
        msg = f"`ledger_conn_id` is for the dataset 'deliveries'; {dataset.name!r} has no ledger."
        raise InvalidMessage(msg)
    if dataset.is_from_ledger and table in {ledger_prefix + each.name for each in TABLES}:
        msg = f"`table` is {table!r}, which is the name of a table of the ledger. Give another."
        raise InvalidMessage(msg)


def check_raw(dataset: Dataset, privacy: Privacy, text: LoadedText) -> None:
    """Refuse raw rows of a ledger, and raw rows that show what is to be hidden.

    :raises InvalidMessage: if ``include_raw`` does not go with the other parameters.
    """
    if dataset.is_from_ledger:
        msg = f"`include_raw` keeps the gateway's row; {dataset.name!r} is read from a ledger."
        raise InvalidMessage(msg)
    if privacy != "none" or text != "keep":
        msg = (
            "`include_raw` keeps the whole row, with its number and its text, which `privacy` or `text` "
            "is to hide. Leave one of them out."
        )
        raise InvalidMessage(msg)
