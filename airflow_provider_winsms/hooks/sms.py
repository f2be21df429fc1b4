"""The hook that all gateways share: it reads an Airflow connection, and has one method per operation."""

from __future__ import annotations

import math
import re
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pendulum
from airflow.providers.common.compat.sdk import BaseHook
from airflow.sdk.log import mask_secret

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    InvalidMessage,
    SmsError,
    UnsupportedCapability,
)
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.hooks.base_urls import base_url_of
from airflow_provider_winsms.hooks.connections import connection_named, extras_of, hook_behind
from airflow_provider_winsms.messages import credits_text
from airflow_provider_winsms.options import CheckNumbers, check_choice, check_conn_id

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Connection
    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import BeforeSend, Call, Gateway
    from airflow_provider_winsms.gateways.endpoint import Endpoint
    from airflow_provider_winsms.gateways.transport import AsyncTransport, Transport
    from airflow_provider_winsms.messages import (
        Balance,
        Cancellation,
        Columns,
        DeliveryReport,
        IncomingMessage,
        Message,
        MessageId,
        OptOut,
        Page,
        Receipt,
        ScheduledMessage,
        SubAccount,
    )
    from airflow_provider_winsms.runtime import ClockReading

T = TypeVar("T")

_NAME = re.compile(r"[a-z][a-z_]{0,29}")
"""What the name of an extra looks like. What does not may be a secret that stands in its place."""

WHAT = "an SMS gateway (type 'winsms', its API key as the password)"
"""What a connection must lead to, for errors."""


class SmsHook(BaseHook):
    """A gateway behind an Airflow connection. Operators use it; a hook of one gateway names what differs.

    Each method makes one request and returns what the gateway answered, in the words of ``messages``. All
    of them raise ``ConfigurationError`` for a connection that is missing or malformed, ``InvalidMessage``,
    before any request, for what one request cannot hold, and what ``Transport.execute`` raises. Lists are
    read by ``offset`` and ``limit``, in rows; ``None`` is the connection's page size.
    """

    conn_name_attr: ClassVar[str] = "sms_conn_id"
    default_base_url: ClassVar[str]
    connection_fields: ClassVar[Mapping[str, Mapping[str, Any]]]

    def __init__(self, sms_conn_id: str) -> None:
        super().__init__()
        check_conn_id(type(self).conn_name_attr, sms_conn_id)
        self.sms_conn_id = sms_conn_id
        self._transport: Transport | None = None
        self._endpoint: Endpoint | None = None

    @staticmethod
    def of(sms_conn_id: str) -> SmsHook:
        """Return the hook of whichever gateway a connection names.

        :raises ConfigurationError: if there is no such connection, or it is not one of an SMS gateway.
        """
        return SmsHook.of_connection(connection_named(sms_conn_id, WHAT))

    @staticmethod
    def of_connection(connection: Connection) -> SmsHook:
        """Return the hook for a connection that is at hand, without looking it up again.

        It may wait for the process that masks secrets in logs, so that no event loop may call it.
        """
        hook = hook_behind(connection, SmsHook, WHAT)
        hook._endpoint = hook.endpoint_of(connection)  # noqa: SLF001 - its own class
        return hook

    def make_gateway(self, *, time_zone: str, country_code: str) -> Gateway:
        """Return the gateway that this hook is of; a hook of one gateway says which."""
        raise NotImplementedError

    @property
    def endpoint(self) -> Endpoint:
        """The connection, read: where the gateway is reached, how, and as whom."""
        if self._endpoint is None:
            self._endpoint = self.endpoint_of(connection_named(self.sms_conn_id, WHAT))
        return self._endpoint

    @property
    def gateway(self) -> Gateway:
        """The gateway, which describes calls."""
        return self.endpoint.gateway

    @property
    def hashes(self) -> KeyedHash:
        """Keyed hashes under the connection's ``hash_secret``, or under the API key if it has none."""
        return KeyedHash(self.endpoint.hash_secret or self.endpoint.api_key)

    @property
    def page_size(self) -> int:
        """Rows asked for in one request of a list."""
        return self.endpoint.page_size

    def get_conn(self) -> Transport:
        """Return the transport that carries calls: one pooled session for the life of the hook."""
        if self._transport is None:
            from airflow_provider_winsms.gateways.transport import Transport

            self._transport = Transport(self.endpoint)
        return self._transport

    def get_async_conn(self) -> AsyncTransport:
        """Return a transport for an event loop, to be opened with ``async with``."""
        from airflow_provider_winsms.gateways.transport import AsyncTransport

        return AsyncTransport(self.endpoint)

    def execute(self, call: Call[T], before_send: BeforeSend = nullcontext) -> T:
        """Carry out a call that the gateway described. Takes and raises what ``Transport.execute`` does."""
        return self.get_conn().execute(call, before_send)

    def send(self, message: Message, *, check_numbers: CheckNumbers = "possible") -> tuple[Receipt, ...]:
        """Send one text to as many recipients as one request takes.

        This is one submission, without a memory: a caller that repeats it sends again.

        :param check_numbers: as of ``SmsSendOperator``.
        :returns: one receipt per recipient, in their order.
        :raises InvalidMessage: if it cannot be sent, does not fit into one request, or names a recipient
            twice.
        :raises OutcomeUnknown: if the answer was lost.
        """
        (checked,) = self._one_request([message], check_numbers)
        return self.execute(self.gateway.send(checked))

    def send_batch(
        self, messages: Sequence[Message], *, check_numbers: CheckNumbers = "possible"
    ) -> tuple[Receipt, ...]:
        """Send different texts in one request. Takes, returns and raises what ``send`` does."""
        return self.execute(self.gateway.send_batch(self._one_request(messages, check_numbers)))

    def get_delivery_reports(self, message_ids: Sequence[MessageId]) -> tuple[DeliveryReport, ...]:
        """Ask how far texts have come, for as many ids as one request takes."""
        self._must_fit(message_ids, self.gateway.limits.message_ids, "message ids")
        return self.execute(self.gateway.delivery_reports(message_ids))

    def cancel_scheduled(self, message_ids: Sequence[MessageId]) -> tuple[Cancellation, ...]:
        """Cancel scheduled texts that have not gone out, for as many ids as one request takes."""
        self._must_fit(message_ids, self.gateway.limits.message_ids, "message ids")
        return self.execute(self.gateway.cancel(message_ids))

    def get_scheduled(self, offset: int = 0, limit: int | None = None) -> Page[ScheduledMessage]:
        """List texts that wait for their time."""
        return self.execute(self.gateway.scheduled(*self._window(offset, limit)))

    def get_incoming(self, offset: int = 0, limit: int | None = None) -> Page[IncomingMessage]:
        """List texts that phones sent to the account: oldest first in the one example, not by promise."""
        return self.execute(self.gateway.incoming(*self._window(offset, limit)))

    def get_short_code_incoming(self, offset: int = 0, limit: int | None = None) -> Page[IncomingMessage]:
        """List texts that phones sent to the account's short or long code."""
        return self.execute(self.gateway.short_code(*self._window(offset, limit)))

    def get_opt_outs(self) -> Columns[OptOut]:
        """List every number that may not be texted."""
        return self.execute(self.gateway.opt_outs())

    def stream_opt_outs(self, before_send: BeforeSend = nullcontext) -> Generator[Columns[OptOut]]:
        """List what ``get_opt_outs`` does in parts, as they arrive: however many there are, in little memory.

        Takes, yields and raises what ``Transport.stream`` does. Only an iterator that has ended has given
        them all.
        """
        return self.get_conn().stream(self.gateway.opt_outs(), before_send)

    def get_balance(self) -> Balance:
        """Ask for the credits left: ``None`` where the gateway states no amount that can be read."""
        return self.execute(self.gateway.balance())

    def read_clock(self, now: Callable[[], DateTime]) -> ClockReading | None:
        """Ask for the balance, and return what the answer tells of the gateway's clock.

        :param now: this machine's clock.
        :returns: ``None`` if the gateway tells nothing of it.
        """
        with suppress(UnsupportedCapability):
            return self.get_conn().read_clock(self.gateway.balance(), now)
        return None

    def transfer_credits(self, sender: int, receiver: int, quantity: int) -> bool:
        """Move whole credits from one account number to another; ``False`` if the gateway declined.

        :raises OutcomeUnknown: if the answer was lost; the credits may have moved.
        """
        if any(type(number) is not int or number < 1 for number in (sender, receiver, quantity)):
            msg = "Account numbers and the quantity of credits must be whole numbers above 0."
            raise InvalidMessage(msg)
        return self.execute(self.gateway.transfer_credits(sender, receiver, quantity))

    def get_sub_accounts(self) -> tuple[SubAccount, ...]:
        """List the accounts that this one owns."""
        return self.execute(self.gateway.sub_accounts())

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the balance, once, which costs nothing. The message holds no secret."""
        from airflow_provider_winsms.gateways.transport import Transport

        try:
            with Transport(self.endpoint, attempts=1) as transport:
                balance = transport.execute(self.gateway.balance())
        except SmsError as error:
            return False, str(error)
        if balance.credits is None:
            return True, "Connected; the gateway states no balance that can be read."
        return True, f"Connected; {credits_text(balance.credits)} credits left."

    def endpoint_of(self, connection: Connection) -> Endpoint:
        """Read a connection. What is secret in its extras is masked in logs from now on.

        :raises ConfigurationError: saying which part is wrong, and never showing a secret.
        """
        from airflow_provider_winsms.gateways.endpoint import Endpoint

        where = f"The connection {connection.conn_id!r}"
        settings = _settings(extras_of(connection), self.connection_fields, where)
        gateway = self.make_gateway(
            time_zone=_time_zone(settings.pop("time_zone"), where), country_code=settings.pop("country_code")
        )
        return Endpoint(
            name=str(connection.conn_id),
            gateway=gateway,
            base_url=base_url_of(connection, self.default_base_url),
            api_key=_api_key(connection, where),
            **settings,
        )

    def _window(self, offset: int, limit: int | None) -> tuple[int, int]:
        rows = self.page_size if limit is None else limit
        most = self.gateway.limits.page_rows
        if offset < 0 or not 1 <= rows <= most:
            msg = f"offset must be 0 or more and limit from 1 to {most}; got {offset} and {rows}."
            raise InvalidMessage(msg)
        return offset, rows

    def _one_request(self, messages: Sequence[Message], check_numbers: CheckNumbers) -> tuple[Message, ...]:
        from airflow_provider_winsms.sending.composer import Composer
        from airflow_provider_winsms.sending.plan import plan

        check_choice("check_numbers", check_numbers, CheckNumbers)
        composer = Composer(self.gateway, pendulum.now, check_numbers)
        planned = plan(map(composer.check, messages), self.gateway)
        if planned.duplicates or len(planned.requests) != 1:
            msg = (
                f"This does not make one request: it would take {len(planned.requests)}, and names "
                f"{planned.duplicates} recipients twice. SmsSendOperator takes lists of any length."
            )
            raise InvalidMessage(msg)
        return planned.requests[0].messages()

    @staticmethod
    def _must_fit(values: Sequence[object], most: int, what: str) -> None:
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
            msg = f"Give a list of {what}; got one {type(values).__name__}."
            raise InvalidMessage(msg)
        if not 1 <= len(values) <= most:
            msg = f"One request takes 1 to {most} {what}; got {len(values)}."
            raise InvalidMessage(msg)


def _api_key(connection: Connection, where: str) -> str:
    key = (connection.password or "").strip()
    if not key:
        msg = f"{where} has no API key. Put it into the password."
        raise ConfigurationError(msg)
    if not key.isascii() or not key.isprintable() or " " in key:
        msg = f"{where} has an API key (the password) with characters that no header can carry."
        raise ConfigurationError(msg)
    if key != connection.password:
        # Airflow masks the password as it stands, with the blanks around it.
        mask_secret(key)
    return key


def _settings(
    given: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]], where: str
) -> dict[str, Any]:
    for name, field in fields.items():
        if field["schema"].get("format") == "password" and given.get(name):
            mask_secret(given[name])
    unknown = sorted(set(given) - set(fields))
    if unknown:
        shown = ", ".join(name if _NAME.fullmatch(name) else "(not shown)" for name in unknown)
        msg = f"{where} has unknown extras: {shown}. Known are: {', '.join(fields)}."
        raise ConfigurationError(msg)
    return {name: _setting(name, given.get(name), field["schema"], where) for name, field in fields.items()}


def _setting(name: str, value: Any, schema: Mapping[str, Any], where: str) -> Any:
    """Read one extra by its schema. Extras of a connection in URI form are all text."""
    import jsonschema

    if value is None or value == "":
        return schema["default"]
    kind = schema["type"][0]
    try:
        read = _FROM_TEXT[kind](value) if isinstance(value, str) else value
        jsonschema.validate(read, dict(schema))
    except (ValueError, jsonschema.ValidationError):
        msg = f"{where} has a wrong extra {name!r}: it must be {_wanted(schema)}."
        raise ConfigurationError(msg) from None
    return read


def _wanted(schema: Mapping[str, Any]) -> str:
    if "pattern" in schema:
        return f"printable text that matches {schema['pattern']}"
    noun = {"integer": "a whole number", "number": "a number", "string": "text"}[schema["type"][0]]
    return f"{noun} from {schema['minimum']} to {schema['maximum']}" if "minimum" in schema else noun


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _printable(text: str) -> str:
    if not text.isprintable():
        msg = "not printable"
        raise ValueError(msg)
    return text


_FROM_TEXT: dict[str, Any] = {"string": _printable, "integer": int, "number": _finite}


def _time_zone(name: str, where: str) -> str:
    try:
        return pendulum.timezone(name).name
    except (ValueError, KeyError, OSError):
        msg = f"{where} has an unknown time_zone. Give an IANA name, such as Africa/Johannesburg."
        raise ConfigurationError(msg) from None
