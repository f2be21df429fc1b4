"""The choices that a DAG file names are those that the tables of the package have."""

from __future__ import annotations

from typing import get_args

from airflow_provider_winsms.inbound.feeds import LISTS
from airflow_provider_winsms.options import LoadedDataset, WatchedDataset
from airflow_provider_winsms.warehouse.datasets import DATASETS


def test_every_dataset_can_be_named() -> None:
    assert set(get_args(LoadedDataset)) == set(DATASETS)


def test_every_list_that_can_be_watched_can_be_named() -> None:
    assert set(get_args(WatchedDataset)) == set(LISTS)
