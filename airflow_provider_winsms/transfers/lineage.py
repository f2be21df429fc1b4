"""The lineage of a load, for OpenLineage: its inputs and outputs. It needs the extra ``lineage``.

Datasets are named by the specification (OpenLineage, ``spec/Naming.md``). Databases that it leaves out are
named as other tools name them, so that both mean the same table. Lineage holds no row. Of a connection it
holds only the server or file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    datasource_dataset,
    documentation_dataset,
    input_statistics_input_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.sql.compiler import dialect_of
from airflow_provider_winsms.sql.types import type_names

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from openlineage.client.facet_v2 import DatasetFacet

    from airflow_provider_winsms.ledger.base import LedgerAddress
    from airflow_provider_winsms.transfers.sources import LedgerSource, ListSource
    from airflow_provider_winsms.warehouse.relations import TableName

_FILES = {"duckdb", "sqlite"}
"""Types of connections whose host is a file."""

_WITHOUT_SCHEMAS = {"mysql"}
"""Types of connections whose databases have no schemas: a "schema" is a database there."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A finished load.

    :param database: the hook of the table's database.
    """

    source: ListSource | LedgerSource
    database: DbApiHook
    table: TableName
    rows_read: int
    rows_loaded: int

    def lineage(self) -> OperatorLineage[Any, Any]:
        """Return the inputs and outputs of the load."""
        inputs = [self._list()] if self.source.asks_gateway else []
        inputs += self._ledger_tables(self.source.ledger) if self.source.ledger else []
        return OperatorLineage(inputs=inputs, outputs=self._tables())

    def _list(self) -> InputDataset:
        """Return the list of the gateway.

        No gateway names its accounts, and a key is a secret. So the name of the connection tells apart the
        lists of two accounts.
        """
        endpoint = self.source.hook.endpoint
        namespace = f"{endpoint.gateway.name.lower()}://{urlsplit(endpoint.base_url).netloc}"
        rows = None if self.source.ledger else self.rows_read
        return _input(namespace, f"{endpoint.name}.{self.source.dataset.name}", rows)

    def _ledger_tables(self, ledger: LedgerAddress) -> list[InputDataset]:
        is_there = ledger.conn_id == self.database.get_conn_id()
        location = DatabaseLocation.of(self.database if is_there else sql_hook(ledger.conn_id))
        parts = [column.wire.partition(".")[0] for column in self.source.dataset.columns if column.wire]
        names = [f"{ledger.prefix}{part.removeprefix('sms_')}" for part in dict.fromkeys(parts)]
        return [_input(location.namespace, location.named(name)) for name in names]

    def _tables(self) -> list[OutputDataset]:
        location = DatabaseLocation.of(self.database, self.table.schema)
        tables = [self._table(location, self.table, self.rows_loaded)]
        return (
            [*tables, self._table(location, self.table.history)]
            if self.source.dataset.has_history
            else tables
        )

    def _table(self, location: DatabaseLocation, name: TableName, rows: int | None = None) -> OutputDataset:
        facets = {"dataSource": _source(location.namespace), "schema": self._schema()}
        if rows is None:
            return OutputDataset(location.namespace, location.named(name.table), facets=facets)
        facets["documentation"] = documentation_dataset.DocumentationDatasetFacet(self.source.dataset.meaning)
        written = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)
        return OutputDataset(
            location.namespace,
            location.named(name.table),
            facets=facets,
            outputFacets={"outputStatistics": written},
        )

    def _schema(self) -> DatasetFacet:
        types = type_names(dialect_of(self.database.conn_type))
        fields = [
            schema_dataset.SchemaDatasetFacetFields(column.name, types[column.kind], column.meaning)
            for column in self.source.dataset.columns
        ]
        return schema_dataset.SchemaDatasetFacet(fields=fields)


class DatabaseLocation(NamedTuple):
    """A database's name in lineage.

    :param namespace: the server, or the file.
    :param above: the name parts before the table: the database, and the schema.
    """

    namespace: str
    above: tuple[str, ...]

    @classmethod
    def of(cls, hook: DbApiHook, schema: str | None = None) -> DatabaseLocation:
        """Return the database of a hook: in the hook's own words, or else by its connection.

        :param schema: the schema of the tables; ``None``: the one of unqualified names.
        """
        return cls._by_hook(hook, schema) or cls._by_connection(hook, schema)

    def named(self, table: str) -> str:
        """Return the name of a table."""
        return ".".join((*self.above, table))

    @classmethod
    def _by_hook(cls, hook: DbApiHook, schema: str | None) -> DatabaseLocation | None:
        """Return the hook's own words, which Airflow's SQL operators use too."""
        try:
            info = hook.get_openlineage_database_info(hook.connection)
            if info is None:
                return None
            namespace = f"{info.scheme}://{info.authority}" if info.authority else info.scheme
            found = schema or hook.get_openlineage_default_schema()
        # Some hooks import another provider, and some query the database.
        except Exception:  # noqa: BLE001
            return None
        return cls(namespace, _above(hook.conn_type, info.database, found))

    @classmethod
    def _by_connection(cls, hook: DbApiHook, schema: str | None) -> DatabaseLocation:
        connection = hook.connection
        kind, host = hook.conn_type, _host(connection)
        if kind in _FILES:
            # As dbt names DuckDB tables. A file of SQLite is one database, named after its main schema.
            database = PurePath(host).stem if kind == "duckdb" else None
            return cls(f"{kind}://{host}", _above(kind, database, schema or "main"))
        authority = f"{host}:{connection.port}" if connection.port else host
        return cls(f"{kind}://{authority}", _above(kind, connection.schema, schema))


def _host(connection: Connection) -> str:
    """Return the host or file without a user, key or options, which some people add."""
    location = (connection.host or "").partition("?")[0]
    if connection.conn_type in _FILES:
        return location.removeprefix("file:")
    return location.rpartition("://")[2].rpartition("@")[2].rstrip("/")


def _above(conn_type: str, database: str | None, schema: str | None) -> tuple[str, ...]:
    parts = (schema or database,) if conn_type in _WITHOUT_SCHEMAS else (database, schema)
    return tuple(part for part in parts if part)


def _input(namespace: str, name: str, rows: int | None = None) -> InputDataset:
    facets = {"dataSource": _source(namespace)}
    if rows is None:
        return InputDataset(namespace, name, facets=facets)
    read = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=rows)
    return InputDataset(namespace, name, facets=facets, inputFacets={"inputStatistics": read})


def _source(namespace: str) -> DatasetFacet:
    return datasource_dataset.DatasourceDatasetFacet(name=namespace, uri=namespace)
