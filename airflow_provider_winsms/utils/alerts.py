"""Alerts of a notifier: few texts for many failures, each sent at most once."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pendulum
from airflow.providers.common.compat.sdk import Variable

from airflow_provider_winsms.exceptions import LedgerUnavailable
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.ledger.base import AlertLimit, HeldBack, Sender
from airflow_provider_winsms.ledger.batches import key_digest
from airflow_provider_winsms.ledger.task_state import TaskStateLedger, TaskStore
from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.options import Guarantee
from airflow_provider_winsms.sending.alert_text import alert_text
from airflow_provider_winsms.sending.attempt import SendAttempt, SendOrder
from airflow_provider_winsms.sending.composer import OneText
from airflow_provider_winsms.sending.policy import policy_of
from airflow_provider_winsms.sending.rules.calendar import OpeningHours
from airflow_provider_winsms.sending.submission import FIRST_REQUEST
from airflow_provider_winsms.utils.rule_context import TaskRuleContext, rules_of
from airflow_provider_winsms.utils.task_store import map_index_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pendulum import DateTime

    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.ledger.base import Alert, AlertStore, Ledger
    from airflow_provider_winsms.runtime import Clock, Log


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertOptions:
    """What a notifier was given, after rendering.

    :param key: alerts of one key count together.
    :param only_between: the times of the day at which texts go out; ``None``: at any.
    :param time_zone: of these times, of the day, and of the times in a text; ``None``: the gateway's.
    """

    text: str = field(repr=False)
    to: Any = field(repr=False)
    key: str = field(repr=False)
    sms_conn_id: str
    cooldown: timedelta
    most_per_day: int
    only_between: tuple[str, str] | None
    time_zone: str | None
    max_segments: int
    ledger_conn_id: str | None
    ledger_prefix: str


class AlertSend:
    """Sends the text of one alert, or holds it back."""

    def __init__(self, options: AlertOptions, hook: SmsHook, alert: Alert, clock: Clock, log: Log) -> None:
        self._options = options
        self._hook = hook
        self._clock = clock
        self._log = log
        self._zone = options.time_zone or hook.gateway.time_zone
        self._alert = alert
        self._attempt: SendAttempt | None = None
        self._is_stopped = False

    def stop(self) -> None:
        """Submit nothing any more."""
        self._is_stopped = True
        if self._attempt is not None:
            self._attempt.stop()

    def run(self) -> None:
        """Send the text, unless enough texts were sent.

        :raises SmsError: if it cannot be sent. Then the next alert counts this one.
        """
        with self._opened() as (store, ledger):
            held_back = self._admitted(store)
            if held_back is None:
                self._log.info("Alert held back. The next text of its key counts it.")
                return
            try:
                self._send(held_back, ledger)
            except BaseException:
                store.withdraw(self._alert, is_unknown=_may_be_out(ledger))
                raise

    def _admitted(self, store: AlertStore) -> HeldBack | None:
        now, options = self._alert.raised_at.in_timezone(self._zone), self._options
        if options.only_between and not OpeningHours.daily(options.only_between, self._zone).is_open(now):
            store.hold_back(self._alert)
            return None
        limit = AlertLimit(options.cooldown, options.most_per_day, now.start_of("day"))
        return store.admit(self._alert, limit)

    def _send(self, held_back: HeldBack, ledger: Ledger) -> None:
        options, hook = self._options, self._hook
        now = self._alert.raised_at.in_timezone(self._zone)
        text = alert_text(options.text, held_back, now, hook.gateway, options.max_segments)
        order = self._order()
        context = TaskRuleContext(hook, order, self._clock, self._log, None)
        self._attempt = SendAttempt(
            order,
            lambda composer: OneText(text, options.to).compose(composer, self._log),
            ledger,
            gateway=hook.gateway,
            execute=hook.get_conn().execute,
            hashes=hook.hashes,
            read_gateway_clock=hook.read_clock,
            clock=self._clock,
            log=self._log,
            rules=rules_of((), context),
        )
        if self._is_stopped:
            self._attempt.stop()
        self._attempt.run("fail_if_all")
        if held_back.alerts:
            self._log.info("The text tells of %s held back before.", pluralize(held_back.alerts, "alert"))

    def _order(self) -> SendOrder:
        gateway, endpoint = self._hook.gateway, self._hook.endpoint
        return SendOrder(
            key=self._batch_key,
            sender=self._alert.sender,
            max_tries=0,
            sms_conn_id=self._options.sms_conn_id,
            currency=gateway.currency,
            policy=policy_of(Guarantee.AT_MOST_ONCE, timedelta(0), gateway, endpoint),
            on_invalid="reject",
        )

    @property
    def _batch_key(self) -> str:
        return f"{self._alert.sender.key}@alert_{self._alert.id}"

    @contextmanager
    def _opened(self) -> Iterator[tuple[AlertStore, Ledger]]:
        hashes = self._hook.hashes
        if self._options.ledger_conn_id is None:
            in_memory = TaskStateLedger(TaskStore(None), hashes=hashes, is_of_one_try=True)
            yield VariableAlerts(), in_memory
            return
        from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions

        options = SqlOptions(self._options.ledger_prefix)
        with SqlLedger(sql_hook(self._options.ledger_conn_id), self._batch_key, hashes, options) as tables:
            yield tables.alerts, tables


def _may_be_out(ledger: Ledger) -> bool:
    """Tell whether somebody may have got the text of a send that failed."""
    try:
        record = ledger.find(FIRST_REQUEST)
    except LedgerUnavailable:
        return True
    return record is not None and bool(record.ids or record.in_doubt)


class VariableAlerts:
    """The ``AlertStore`` in Airflow variables, one for each key.

    It counts alerts that come one after another. Of alerts at the same moment, several may be admitted, and
    some may not be counted: a variable has no lock.
    """

    def admit(self, alert: Alert, limit: AlertLimit) -> HeldBack | None:
        """Note an alert. Return what its text is to tell of, or ``None`` if it is held back."""
        kept = self._read(alert)
        since = min(limit.day_begins_at, alert.raised_at - limit.cooldown)
        sent = [at for at in map(_instant, kept["sent_at"]) if at > since]
        is_over = not sent or alert.raised_at - sent[-1] >= limit.cooldown
        if not is_over or sum(at >= limit.day_begins_at for at in sent) >= limit.most_per_day:
            self.hold_back(alert)
            return None
        held_back = HeldBack(kept["held_back"], kept["held_since"] and _instant(kept["held_since"]))
        self._write(alert, [*sent, alert.raised_at], HeldBack(0, None))
        self._before = kept
        return held_back

    def hold_back(self, alert: Alert) -> None:
        """Note an alert for which no text is sent."""
        kept = self._read(alert)
        since = _instant(kept["held_since"]) if kept["held_since"] else alert.raised_at
        self._write(alert, map(_instant, kept["sent_at"]), HeldBack(kept["held_back"] + 1, since))

    def withdraw(self, alert: Alert, *, is_unknown: bool) -> None:
        """Let the next text count what the text of an admitted alert was to tell of."""
        sent_at = self._read(alert)["sent_at"] if is_unknown else self._before["sent_at"]
        Variable.set(self._name(alert), json.dumps({**self._before, "sent_at": sent_at}))
        if not is_unknown:
            self.hold_back(alert)

    def _read(self, alert: Alert) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads(Variable.get(self._name(alert), default="{}"))
        return {"sent_at": [], "held_back": 0, "held_since": None, **kept}

    def _write(self, alert: Alert, sent_at: Any, held_back: HeldBack) -> None:
        value = {
            "sent_at": [at.isoformat() for at in sent_at],
            "held_back": held_back.alerts,
            "held_since": held_back.since and held_back.since.isoformat(),
        }
        Variable.set(self._name(alert), json.dumps(value))

    @staticmethod
    def _name(alert: Alert) -> str:
        return f"sms_alert_{key_digest(alert.key)[:16]}"


def id_of(context: Mapping[str, Any], *names: str) -> str:
    """Return the id of the alert that an event raises. An event has one for each notifier.

    An event is the end of a try, or a missed deadline. One that cannot be told from others has a random id.

    :param names: tell notifiers apart.
    """
    instance = context.get("ti") or context.get("task_instance")
    deadline = context.get("deadline")
    event = getattr(instance, "id", None) or (isinstance(deadline, dict) and deadline.get("id"))
    state = str(getattr(instance, "state", ""))
    parts = (str(event or uuid4().hex), state, *names)
    return sha256("\0".join(parts).encode()).hexdigest()[:32]


def sender_of(context: Mapping[str, Any]) -> Sender:
    """Return the task instance of a callback, or the DAG run of a callback of a DAG or of a deadline."""
    instance = context.get("ti") or context.get("task_instance")
    owner = getattr(context.get("task"), "owner", "airflow")
    if instance is not None:
        index = map_index_of(instance)
        return Sender(instance.dag_id, instance.run_id, instance.task_id, index, owner)
    run = context.get("dag_run")
    if isinstance(run, dict):
        return Sender(str(run.get("dag_id", "")), str(run.get("dag_run_id", "")), "", -1, owner)
    dag_id = getattr(run or context.get("dag"), "dag_id", "")
    return Sender(dag_id, getattr(run, "run_id", ""), "", -1, owner)


def _instant(text: str) -> DateTime:
    return pendulum.instance(datetime.fromisoformat(text))
