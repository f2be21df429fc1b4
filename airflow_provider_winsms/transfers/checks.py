"""Checks of a load's parameters that depend on each other. DAG files run them, so they import little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.ledger.schema import TABLES
from airflow_provider_winsms.warehouse.datasets import NUMBER

if TYPE_CHECKING:
    from airflow_provider_winsms.options import LoadedPrivacy, LoadedText
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


def check_privacy(dataset: Dataset, privacy: LoadedPrivacy, text: LoadedText, *, include_raw: bool) -> None:
    """Refuse what would lose rows, or show what is to be hidden.

    :raises InvalidMessage: if ``privacy`` does not go with the dataset, or ``include_raw`` with the others.
    """
    _check_masks(dataset, privacy)
    if include_raw:
        _check_raw(dataset, privacy, text)


def _check_masks(dataset: Dataset, privacy: LoadedPrivacy) -> None:
    """Refuse masked numbers where they would be keys: two numbers with the same mask would be one row."""
    if privacy == "masked" and NUMBER in dataset.key:
        msg = (
            f'privacy="masked" does not go with the dataset {dataset.name!r}: its rows are told apart by '
            "their numbers, and different numbers have the same mask, so that rows would be lost. Give "
            'privacy="keyed_hash", which hides numbers and keeps them apart.'
        )
        raise InvalidMessage(msg)


def _check_raw(dataset: Dataset, privacy: LoadedPrivacy, text: LoadedText) -> None:
    """Refuse raw rows of a ledger, and raw rows that show what is to be hidden."""
    if dataset.is_from_ledger:
        msg = f"`include_raw` keeps the gateway's row; {dataset.name!r} is read from a ledger."
        raise InvalidMessage(msg)
    if privacy != "none" or text != "keep":
        msg = (
            "`include_raw` keeps the whole row, with its number and its text, which `privacy` or `text` "
            "is to hide. Leave one of them out."
        )
        raise InvalidMessage(msg)
