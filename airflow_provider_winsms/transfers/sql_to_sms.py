"""The operator that sends a text to each row of a query: a campaign from a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import conf

from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.operators import send_base
from airflow_provider_winsms.operators.send_base import SEND_CHECKS
from airflow_provider_winsms.options import Guarantee, check_conn_id, optional
from airflow_provider_winsms.sending.content import check_max_segments
from airflow_provider_winsms.sending.plan_id import NOT_GIVEN
from airflow_provider_winsms.sending.shards import check_shard, check_shards, shard_of
from airflow_provider_winsms.transfers.campaign_checks import (
    check_column,
    check_one_text,
    check_query,
    check_query_parameters,
    check_text_template,
)
from airflow_provider_winsms.utils.task_store import map_index_of, task_store_of
from airflow_provider_winsms.utils.templates import is_mapped_over

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.operators.send_base import GuaranteeName
    from airflow_provider_winsms.options import (
        Check,
        CheckNumbers,
        Encoding,
        OnChanged,
        OnClear,
        OnEmpty,
        OnInvalid,
        StoredPrivacy,
        StoredText,
        Tolerance,
    )
    from airflow_provider_winsms.sending.attempt import SendOrder
    from airflow_provider_winsms.sending.composer import Content
    from airflow_provider_winsms.sending.policy import Policy
    from airflow_provider_winsms.sending.query_content import QueryContent
    from airflow_provider_winsms.sending.rules.base import Rule
    from airflow_provider_winsms.sending.shards import Shard
    from airflow_provider_winsms.utils.parameters import JointCheck
    from airflow_provider_winsms.utils.send_task import SendTask
    from airflow_provider_winsms.utils.templates import Templated

    QueryParameters = Sequence[Any] | Mapping[str, Any] | None


class SqlToSmsOperator(send_base.SendOperator):
    """Send a text to the number in each row of a query, in as few requests as the gateway's limits allow.

    The text of a row is a template whose variables are the columns of the query. Rows are read some at a
    time, so a list may have any length: a million rows with texts of their own take less than 300 MB.

    Result, promises and parameters are those of ``SmsSendOperator``, except:

    :param sql: one query that only reads. It may be the name of a file that ends with ``.sql``. Each row is
        one text to one number. (templated; sensitive)
    :param sql_conn_id: the connection of the database. Its session keeps its own settings. (templated)
    :param text: the text of each row: a Jinja template whose variables are the row's columns, such as
        ``"Hi {{ name }}, ..."``. Airflow does not render it; it has no macros and no ``params``. A value is
        data, also if it looks like a template. A row is invalid if the template fails for it, or if the text
        would show a missing value (NULL). Give it or ``text_column``.
    :param text_column: the column with ready texts.
    :param number_column: the column with the numbers, one number in each row.
    :param reference_column: the column with your own name for each text, such as a customer's id, as
        ``SmsSendBatchOperator`` has it. ``None``: there is none.
    :param send_at_column: the column with the time of each text: an aware time, or its ISO 8601 text. A row
        with NULL is sent at once. ``None``: all are.
    :param max_segments: the most segments that each text may take, 1 to 6. ``None``: as many as it needs.
        (templated)
    :param sql_parameters: the parameters of the query, as its driver takes them: a list or a dict.
        (templated; sensitive)
    :param shards: into how many parts the list is cut by its numbers, at most 1024. A number is in the same
        part in every run, however it is written. ``None``: one task sends all. Do not change it between two
        tries of a run: people would get into other parts.
    :param shard: which part this task sends, from 0. For tasks side by side:
        ``SqlToSmsOperator.partial(..., shards=20).expand(shard=list(range(20)))``. Each part is a batch of
        its own, also under an ``idempotency_key``. (templated)
    :param on_invalid: what happens if rows are invalid. ``"fail"``: nothing is sent. The error gives the
        number of invalid rows and describes the first 20, by their positions and columns. ``"reject"``: all
        others are sent to, and the invalid rows are in ``rejected``. With shards, each row is judged by the
        task of its shard.
    :param on_changed: as for ``SmsSendOperator``. A retry runs the query again. ``None``:
        ``"send_the_rest"``; and ``"refuse"`` in a task that is mapped over anything but ``shard``.
    """

    template_fields: Sequence[str] = (
        "sql",
        "sql_conn_id",
        "sql_parameters",
        "max_segments",
        "shard",
        *send_base.SEND_TEMPLATES,
    )
    template_ext: Sequence[str] = (".sql",)
    text_fields: ClassVar[tuple[str, ...]] = (*send_base.SendOperator.text_fields, "sql_conn_id")
    row_templates: ClassVar[tuple[str, ...]] = ("text",)
    sensitive_fields: ClassVar[tuple[str, ...]] = ("sql", "sql_parameters")
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        **SEND_CHECKS,
        "sql": check_query,
        "sql_conn_id": check_conn_id,
        "text": optional(check_text_template),
        "text_column": optional(check_column),
        "number_column": check_column,
        "reference_column": optional(check_column),
        "send_at_column": optional(check_column),
        "max_segments": optional(check_max_segments),
        "sql_parameters": optional(check_query_parameters),
        "shards": optional(check_shards),
        "shard": optional(check_shard),
    }
    joint_checks: ClassVar[tuple[JointCheck, ...]] = (
        *send_base.SendOperator.joint_checks,
        (("text", "text_column"), check_one_text),
        (("shard", "shards"), shard_of),
    )

    def __init__(
        self,
        *,
        sql: str,
        sql_conn_id: str,
        text: str | None = None,
        text_column: str | None = None,
        number_column: str = "number",
        reference_column: str | None = None,
        send_at_column: str | None = None,
        max_segments: Templated[int | str | None] = None,
        sql_parameters: Templated[QueryParameters] = None,
        shards: int | None = None,
        shard: Templated[int | str | None] = None,
        sms_conn_id: str = "winsms_default",
        check_numbers: CheckNumbers = "possible",
        encoding: Encoding = "transliterate",
        on_rejected: Tolerance = "fail_if_all",
        on_invalid: OnInvalid = "fail",
        on_empty: OnEmpty = "fail",
        rules: Sequence[Rule] = (),
        approved_plan: Templated[str] = NOT_GIVEN,
        plan_only: bool = False,
        show_texts: bool = False,
        guarantee: GuaranteeName | Guarantee = Guarantee.AT_MOST_ONCE,
        hold: timedelta = timedelta(minutes=5),
        on_clear: OnClear = "resume",
        on_changed: OnChanged | None = None,
        cancel_on_kill: bool = False,
        idempotency_key: str | None = None,
        ledger_conn_id: str | None = None,
        ledger_prefix: str = "sms_",
        ledger_privacy: StoredPrivacy = "none",
        ledger_text: StoredText = "digest",
        wait_for_delivery: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        min_delivered: float = 1.0,
        poll_interval: timedelta | float = 10,
        max_poll_interval: timedelta | float = timedelta(hours=1),
        delivery_timeout: timedelta | float = timedelta(days=1),
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            sms_conn_id=sms_conn_id,
            check_numbers=check_numbers,
            encoding=encoding,
            on_rejected=on_rejected,
            on_invalid=on_invalid,
            on_empty=on_empty,
            rules=rules,
            approved_plan=approved_plan,
            plan_only=plan_only,
            show_texts=show_texts,
            guarantee=guarantee,
            hold=hold,
            on_clear=on_clear,
            on_changed=on_changed,
            cancel_on_kill=cancel_on_kill,
            idempotency_key=idempotency_key,
            ledger_conn_id=ledger_conn_id,
            ledger_prefix=ledger_prefix,
            ledger_privacy=ledger_privacy,
            ledger_text=ledger_text,
            wait_for_delivery=wait_for_delivery,
            deferrable=deferrable,
            min_delivered=min_delivered,
            poll_interval=poll_interval,
            max_poll_interval=max_poll_interval,
            delivery_timeout=delivery_timeout,
            multiple_outputs=multiple_outputs,
            **kwargs,
        )
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.text = text
        self.text_column = text_column
        self.number_column = number_column
        self.reference_column = reference_column
        self.send_at_column = send_at_column
        self.max_segments = max_segments
        self.sql_parameters = sql_parameters
        self.shards = shards
        self.shard = shard
        self.check_when_read()

    @property
    def _shard(self) -> Shard | None:
        return shard_of(self.shard, self.shards)

    def _content(self, **values: Any) -> QueryContent:
        from airflow_provider_winsms.sending.query_content import QueryContent, RowColumns
        from airflow_provider_winsms.sql.query import Query

        sql, parameters = values["sql"], values["sql_parameters"]
        check_query("sql", sql)
        if parameters is not None:
            check_query_parameters("sql_parameters", parameters)
        columns = RowColumns(
            self.number_column, self.text, self.text_column, self.reference_column, self.send_at_column
        )
        query = Query(sql_hook(self.sql_conn_id), sql, parameters)
        return QueryContent(query, columns, self.max_segments, self._shard)

    def _may_change(self, context: Context) -> bool:
        """Return whether a later try may send another list: a query may return other rows then.

        In a task that is mapped over its shards, a person stays in the shard, and so in the task.
        """
        return map_index_of(context["ti"]) < 0 or is_mapped_over(self, "shard")

    def _remembered(self, content: Content, task: SendTask) -> Content:
        from airflow_provider_winsms.sending.shards import RememberedShard

        store = task_store_of(task.context, task.scope)
        return RememberedShard(content, self._shard, store, resends=self.on_clear == "resend")

    def _order(self, task: SendTask, hook: SmsHook, policy: Policy) -> SendOrder:
        order = super()._order(task, hook, policy)
        if self._shard is None or self.idempotency_key is None:
            return order
        # Without the number of shards: with another number, most parts then conflict, and are not sent twice.
        return replace(order, key=f"{order.key}@shard{self._shard.place}")
