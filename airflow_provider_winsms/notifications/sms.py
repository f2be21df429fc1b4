"""The notifier that sends a text when something happens in Airflow."""

from __future__ import annotations

import asyncio
import contextvars
import copy
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar

import jinja2
from airflow.providers.common.compat.sdk import BaseNotifier

from airflow_provider_winsms.exceptions import InvalidMessage, SmsError
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.options import (
    check_conn_id,
    check_count,
    check_prefix,
    optional,
    seconds,
    shown,
)
from airflow_provider_winsms.runtime import SYSTEM_CLOCK
from airflow_provider_winsms.sending.content import check_max_segments, check_sendable, check_to
from airflow_provider_winsms.utils.templates import redacting_errors

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.runtime import Clock
    from airflow_provider_winsms.utils.alerts import AlertOptions, AlertSend

_LONGEST_TIMEOUT = 60.0
_MOST_PER_DAY = 10_000
_MARKS = ("{{", "{%", "{#")


class SmsNotifier(BaseNotifier):
    """Send a text when a task or a DAG fails, succeeds, is retried, or misses its deadline.

    It limits texts: after one, further alerts of the same key are held back for ``cooldown``, and the next
    text counts them: ``sales_etl failed: load_orders. 37 more since 02:10.`` With ``ledger_conn_id``, this
    holds for all tasks together, also for those that fail at once. Without it, the counts are in an Airflow
    variable, which has no lock: it holds for failures one after another, and each task that fails at the same
    moment may send a text.

    It never fails its task, and delays it by ``timeout`` at most. Whatever goes wrong is a warning in the
    log, without numbers and without the text. Each text is sent at most once. If a text was surely not sent,
    the next alert may send one at once, and counts this alert.

    :param text: a template. It is shortened to ``max_segments``, and characters that the gateway cannot send
        become question marks. (templated)
    :param to: the recipients, as ``SmsSendOperator`` takes them. Airflow stores the arguments of the callback
        of a deadline: there, name a variable, ``"{{ var.value.on_call }}"``. (templated)
    :param sms_conn_id: the connection, whose type says which gateway. (templated)
    :param key: alerts of one key count together. ``None``: all alerts of the DAG. (templated)
    :param cooldown: the least time between two texts of a key.
    :param most_per_day: the most texts of a key from midnight to midnight.
    :param only_between: two times of the day, such as ``("07:00", "22:00")``. At other times, alerts are held
        back. A window may cross midnight. ``None``: texts go out at any time.
    :param time_zone: the IANA name of the zone of these times, of the day, and of the times in a text.
        ``None``: the zone of the gateway.
    :param max_segments: the most segments of a text.
    :param ledger_conn_id: the connection of a database with the ledger: PostgreSQL, MySQL, MariaDB or SQLite.
        Its table ``alerts`` has a row for each alert, and ``batches`` one for each text. (templated)
    :param ledger_prefix: the beginning of the names of the ledger's tables.
    :param timeout: the longest delay of the task, up to 60 seconds.
    :raises InvalidMessage: an argument is invalid.
    """

    template_fields: Sequence[str] = ("text", "to", "sms_conn_id", "key", "ledger_conn_id")
    checks: ClassVar[Mapping[str, Check]] = {
        "text": check_sendable,
        "to": check_to,
        "sms_conn_id": check_conn_id,
        "cooldown": seconds,
        "most_per_day": partial(check_count, least=1, most=_MOST_PER_DAY),
        "max_segments": check_max_segments,
        "ledger_conn_id": optional(check_conn_id),
        "ledger_prefix": check_prefix,
    }
    clock: ClassVar[Clock] = SYSTEM_CLOCK
    hook_of = staticmethod(SmsHook.of)
    """Finds the hook of the gateway; a seam for tests."""

    def __init__(
        self,
        *,
        text: str,
        to: Any,
        sms_conn_id: str = "winsms_default",
        key: str | None = None,
        cooldown: timedelta | float = timedelta(minutes=15),
        most_per_day: int = 20,
        only_between: tuple[str, str] | None = None,
        time_zone: str | None = None,
        max_segments: int = 2,
        ledger_conn_id: str | None = None,
        ledger_prefix: str = "sms_",
        timeout: timedelta | float = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        self.to = to
        self.sms_conn_id = sms_conn_id
        self.key = key
        self.cooldown = cooldown
        self.most_per_day = most_per_day
        self.only_between = only_between
        self.time_zone = time_zone
        self.max_segments = max_segments
        self.ledger_conn_id = ledger_conn_id
        self.ledger_prefix = ledger_prefix
        self.timeout = timeout
        self._check()

    def __call__(self, *args: Any) -> None:
        """Send a text, or hold it back. Whatever goes wrong is a warning in the log."""
        self.notify(args[0] if args else self.context)

    def __await__(self) -> Generator[Any, None, None]:
        """Do so in a triggerer."""
        return self.async_notify(self.context).__await__()

    def notify(self, context: Context) -> None:
        """Send a text, or hold it back. Whatever goes wrong is a warning in the log."""
        alert, done = _Alert(self, context), Future[None]()
        # A thread, as nothing else bounds the wait for a database. Being a daemon, it lets the process end.
        in_context = contextvars.copy_context().run
        Thread(target=lambda: in_context(alert.settle, done), daemon=True).start()
        try:
            done.result(seconds("timeout", self.timeout))
        except TimeoutError:
            alert.give_up()

    async def async_notify(self, context: Context) -> None:
        """Do so in a triggerer, whose event loop goes on meanwhile."""
        from asgiref.sync import sync_to_async

        alert = _Alert(self, context)
        try:
            # This way a thread may ask Airflow for connections and variables.
            done = sync_to_async(alert.run, thread_sensitive=False)()
            await asyncio.wait_for(done, seconds("timeout", self.timeout))
        except TimeoutError:
            alert.give_up()

    def _check(self) -> None:
        """Refuse what is known to be wrong when the DAG is read."""
        from airflow_provider_winsms.sending.rules.calendar import OpeningHours

        for name, check in self.checks.items():
            value = getattr(self, name)
            if not (isinstance(value, str) and any(mark in value for mark in _MARKS)):
                check(name, value)
        if not 0 < seconds("timeout", self.timeout) <= _LONGEST_TIMEOUT:
            msg = f"timeout must be from 0 to {_LONGEST_TIMEOUT:.0f} seconds; got {shown(self.timeout)}."
            raise InvalidMessage(msg)
        OpeningHours.daily(self.only_between or ("00:00", "24:00"), self.time_zone or "UTC").check()


class _Alert:
    """One call of a notifier. It raises nothing."""

    def __init__(self, notifier: SmsNotifier, context: Context) -> None:
        self._notifier = notifier
        self._context: Any = dict(context)
        self._log = notifier.log
        self._send: AlertSend | None = None
        self._is_given_up = False

    def settle(self, done: Future[None]) -> None:
        """Run, then end a future."""
        self.run()
        done.set_result(None)

    def run(self) -> None:
        """Send a text, or hold it back. Log what goes wrong, without any text that may be personal."""
        try:
            self._run()
        except SmsError as error:
            self._log.warning("The alert was not sent. %s", error)
        except Exception as error:  # noqa: BLE001 - an alert never fails its task
            self._log.warning("The alert was not sent: %s.", type(error).__name__)

    def give_up(self) -> None:
        """Submit nothing any more: the time is up."""
        self._is_given_up = True
        if self._send is not None:
            self._send.stop()
        self._log.warning(
            "The alert took longer than %g seconds, and was given up. If it had reached the gateway, it was "
            "sent.",
            seconds("timeout", self._notifier.timeout),
        )

    def _run(self) -> None:
        from airflow_provider_winsms.ledger.base import Alert
        from airflow_provider_winsms.utils.alerts import AlertSend, id_of, sender_of

        notifier = copy.copy(self._notifier)
        sender = sender_of(self._context)
        alert_id = id_of(self._context, notifier.text, str(notifier.key), notifier.sms_conn_id)
        redacting_errors(lambda: _render(notifier, self._context), "SmsNotifier")
        hook, options = notifier.hook_of(notifier.sms_conn_id), _options_of(notifier, sender.dag_id)
        alert = Alert(alert_id, options.key, sender, notifier.clock.now())
        self._send = AlertSend(options, hook, alert, notifier.clock, self._log)
        if self._is_given_up:
            self._send.stop()
        self._send.run()


def _render(notifier: SmsNotifier, given: Mapping[str, Any]) -> None:
    """Render the fields of a notifier. A name that is not there is an error, also without a DAG."""
    context: Any = {"var": _variables(), **given}  # the context of a deadline has no variables
    environment = notifier.get_template_env(context.get("dag"))
    if context.get("dag") is None:
        environment.undefined = jinja2.StrictUndefined
    notifier.render_template_fields(context, environment)


def _options_of(notifier: SmsNotifier, dag_id: str) -> AlertOptions:
    """Return the options of a notifier whose fields are rendered."""
    from airflow_provider_winsms.utils.alerts import AlertOptions

    for name in notifier.checks.keys() - {"text"}:
        notifier.checks[name](name, getattr(notifier, name))
    return AlertOptions(
        text=notifier.text,
        to=notifier.to,
        key=notifier.key or dag_id,
        sms_conn_id=notifier.sms_conn_id,
        cooldown=timedelta(seconds=seconds("cooldown", notifier.cooldown)),
        most_per_day=notifier.most_per_day,
        only_between=notifier.only_between,
        time_zone=notifier.time_zone,
        max_segments=int(notifier.max_segments),
        ledger_conn_id=notifier.ledger_conn_id,
        ledger_prefix=notifier.ledger_prefix,
    )


def _variables() -> dict[str, Any]:
    from airflow.sdk.execution_time.context import VariableAccessor

    return {
        "value": VariableAccessor(deserialize_json=False),
        "json": VariableAccessor(deserialize_json=True),
    }
