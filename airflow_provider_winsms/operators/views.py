"""The operator that creates views over loaded tables, or over a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_winsms.options import (
    check_conn_id,
    check_identifier,
    check_prefix,
    check_time_zone,
    check_view_prefix,
    optional,
)
from airflow_provider_winsms.utils.errors import permanent_errors_fail_at_once
from airflow_provider_winsms.utils.parameters import CheckedParameters
from airflow_provider_winsms.utils.templates import TemplatedFields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.utils.parameters import JointCheck
    from airflow_provider_winsms.warehouse.views import SourceTables


_SOURCES = ("deliveries", "incoming", "opt_outs", "schema", "ledger_prefix")


def _source_tables(*given: str | None) -> SourceTables:
    from airflow_provider_winsms.warehouse.views import SourceTables

    return SourceTables(**dict(zip(_SOURCES, given, strict=True)))


class SmsViewsOperator(CheckedParameters, TemplatedFields, BaseOperator):
    """Create views for the most frequent questions, over tables that ``SmsToSqlOperator`` loads, or a ledger.

    The views show delivery, declined texts, time to deliver and cost by day and DAG; replies and opt-outs by
    campaign, which is a task of a DAG run; and texts to numbers that had opted out, which must be none.
    ``docs/questions.md`` lists their names and columns, and what they show. No view shows a number or a text.
    All views work with hashed numbers. A table with masked numbers is refused, as they cannot be compared.

    The texts come from a table that a load fills (``deliveries``), or from the tables that the sends write
    themselves (``ledger_prefix``). Give one of the two. The figures are the same.

    Run the operator once after the first load or send, and again after each upgrade of this package. It
    replaces existing views, so the task can be repeated. It changes no row. PostgreSQL, MySQL, MariaDB,
    SQLite and DuckDB are tested. Any other database is refused, because it may count days and times
    differently.

    Returns ``{"schema": ..., "views": [...]}``, the names of the views.

    :param sql_conn_id: the connection of the database. (templated)
    :param deliveries: the table with the dataset ``deliveries``. (templated)
    :param ledger_prefix: the ``ledger_prefix`` of the sends whose ``ledger_conn_id`` is this connection, by
        default ``"sms_"`` there. (templated)
    :param incoming: the table with the dataset ``incoming``. ``None`` leaves out the views that read it.
        (templated)
    :param opt_outs: the table with the dataset ``opt_outs``. Its history table stands beside it. ``None``
        leaves out the views that read it. (templated)
    :param schema: the schema of the tables and the views. ``None``: the connection's default, which is the
        schema of a ledger. (templated)
    :param view_prefix: the prefix of the views' names. It may be the prefix of the ledger: no name of a view
        is a name of the ledger. (templated)
    :param time_zone: the IANA name of the time zone of the days. (templated)
    """

    template_fields: Sequence[str] = (
        "sql_conn_id",
        "deliveries",
        "ledger_prefix",
        "incoming",
        "opt_outs",
        "schema",
        "view_prefix",
        "time_zone",
    )
    text_fields: ClassVar[tuple[str, ...]] = tuple(template_fields)
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        "sql_conn_id": check_conn_id,
        "deliveries": optional(check_identifier),
        "ledger_prefix": optional(check_prefix),
        "incoming": optional(check_identifier),
        "opt_outs": optional(check_identifier),
        "schema": optional(check_identifier),
        "view_prefix": check_view_prefix,
        "time_zone": check_time_zone,
    }
    joint_checks: ClassVar[tuple[JointCheck, ...]] = ((_SOURCES, _source_tables),)
    ui_color = "#d6e6f5"

    def __init__(
        self,
        *,
        sql_conn_id: str,
        deliveries: str | None = None,
        ledger_prefix: str | None = None,
        incoming: str | None = None,
        opt_outs: str | None = None,
        schema: str | None = None,
        view_prefix: str = "sms_",
        time_zone: str = "UTC",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql_conn_id = sql_conn_id
        self.deliveries = deliveries
        self.ledger_prefix = ledger_prefix
        self.incoming = incoming
        self.opt_outs = opt_outs
        self.schema = schema
        self.view_prefix = view_prefix
        self.time_zone = time_zone
        self.check_when_read()

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's own signature
        """Create the views, and return their names."""
        from airflow_provider_winsms.hooks.connections import sql_hook
        from airflow_provider_winsms.warehouse.views import create_views

        with permanent_errors_fail_at_once():
            self.check_when_rendered()
            tables = _source_tables(*(getattr(self, name) for name in _SOURCES))
            views = create_views(sql_hook(self.sql_conn_id), tables, self.view_prefix, self.time_zone)
        self.log.info("Made %d views: %s.", len(views), ", ".join(views))
        return {"schema": self.schema, "views": list(views)}
