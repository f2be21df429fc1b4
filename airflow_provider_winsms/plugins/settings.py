"""The settings of the page, in Airflow's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import conf

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.ledger.unresolved import DEFAULT_PREFIX
from airflow_provider_winsms.options import check_identifier, check_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECTION = "winsms"


@dataclass(frozen=True, slots=True)
class PageSettings:
    """Which ledgers the page shows.

    :param ledger_conn_ids: their connections.
    :param ledger_prefix: the beginning of the names of their tables.
    :param opt_outs_tables: tables of the dataset ``opt_outs`` beside ledgers, by their connections.
    """

    ledger_conn_ids: Sequence[str]
    ledger_prefix: str
    opt_outs_tables: Mapping[str, str]


def read_settings() -> PageSettings:
    """Read the settings.

    :raises ConfigurationError: one of them has no meaning.
    """
    prefix = conf.get(SECTION, "ledger_prefix", fallback=DEFAULT_PREFIX)
    check_prefix(f"[{SECTION}] ledger_prefix", prefix)
    conn_ids = tuple(dict.fromkeys(_list_of("ledger_conn_ids")))
    tables = dict(_place(each, conn_ids) for each in _list_of("opt_outs_tables"))
    return PageSettings(conn_ids, prefix, tables)


def _list_of(option: str) -> list[str]:
    given = conf.get(SECTION, option, fallback="")
    return [each for item in given.split(",") if (each := item.strip())]


def _place(text: str, conn_ids: Sequence[str]) -> tuple[str, str]:
    conn_id, _, table = text.rpartition(":")
    if conn_id not in conn_ids:
        msg = (
            f"[{SECTION}] opt_outs_tables has {text!r}. Expected a connection of ledger_conn_ids, a colon "
            "and a table, such as warehouse:opt_outs."
        )
        raise ConfigurationError(msg)
    check_identifier(f"[{SECTION}] opt_outs_tables", table)
    return conn_id, table
