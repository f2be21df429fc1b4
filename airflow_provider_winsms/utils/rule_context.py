"""What the rules of a send may ask, answered by Airflow and by the gateway's hook."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Variable, conf

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.phone import InvalidPhoneNumber
from airflow_provider_winsms.sending.rules.only_to import OnlyTo
from airflow_provider_winsms.sending.rules.rule_set import RuleSet
from airflow_provider_winsms.sql.query import Query

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.ledger.base import Sender
    from airflow_provider_winsms.runtime import Clock, Log
    from airflow_provider_winsms.sending.attempt import SendOrder
    from airflow_provider_winsms.sending.rules.base import Rule
    from airflow_provider_winsms.utils.send_task import OpenLedger

_SECTION = "winsms"
_NOTHING = object()


def rules_of(rules: Sequence[Rule], context: TaskRuleContext) -> RuleSet:
    """Return the rules of a task, behind the one that its connection may have."""
    only = context.hook.endpoint.only_numbers
    of_connection = () if only is None else (OnlyTo(sorted(only)),)
    return RuleSet((*of_connection, *rules), context, context.hashes)


class TaskRuleContext:
    """The ``RuleContext`` of a task that sends.

    :param opened: the ledger of the task; ``None``: rules cannot ask it.
    """

    def __init__(
        self,
        hook: SmsHook,
        order: SendOrder,
        clock: Clock,
        log: Log,
        opened: OpenLedger | None,
        *,
        is_dry_run: bool = False,
    ) -> None:
        self.log = log
        self.history = opened and opened.history
        self.spending = opened and opened.spending
        self.is_dry_run = is_dry_run
        self.sms_conn_id = order.sms_conn_id
        self.batch_key = order.key
        self.sender: Sender = order.sender
        self.gateway: Gateway = hook.gateway
        self.hashes: KeyedHash = hook.hashes
        self.hook = hook
        self._policy = order.policy
        self._clock = clock
        self._opted_out: frozenset[str] | None = None

    @property
    def now(self) -> DateTime:
        """The present, in UTC."""
        return self._clock.now().in_timezone("UTC")

    @property
    def leaves_at(self) -> DateTime:
        """When a text without a time goes out, if it is submitted now."""
        now = self.now
        return self._policy.held_until(now, self.gateway) or now

    def opted_out(self) -> frozenset[str]:
        """Return the numbers on the gateway's opt-out list, which is read once."""
        self.gateway.require("opt_outs", "rules")
        if self._opted_out is None:
            numbers = (number for page in self.hook.stream_opt_outs() for number in page.column("number"))
            self._opted_out = frozenset(self.address(number) or number for number in numbers)
        return self._opted_out

    def balance(self) -> Decimal | None:
        """Return the credits of the account."""
        self.gateway.require("balance", "rules")
        return self.hook.get_balance().credits

    def address(self, number: object) -> str | None:
        """Return a number as it stands in an ``Entry``; ``None`` if it is none."""
        try:
            return self.gateway.address(number, "off").address
        except InvalidPhoneNumber:
            return None

    def rows(self, conn_id: str, sql: str) -> Iterator[Sequence[Any]]:
        """Yield the rows of a query.

        :raises QueryFailed: if the database refuses it.
        """
        with Query(sql_hook(conn_id), sql).opened() as found:
            yield from chain.from_iterable(found.chunks)

    def variable(self, key: str) -> Any:
        """Return an Airflow variable; its JSON value, if it is JSON.

        :raises ConfigurationError: if there is none.
        """
        value = Variable.get(key, default=_NOTHING)
        if value is _NOTHING:
            msg = f"There is no Airflow variable {key!r}, which a rule of this send reads. Nothing was sent."
            raise ConfigurationError(msg)
        try:
            return json.loads(value)
        except (TypeError, ValueError):
            return value

    def option(self, key: str) -> str | None:
        """Return an option of the section of this provider in Airflow's configuration."""
        value: str | None = conf.get(_SECTION, key, fallback=None)
        return value
