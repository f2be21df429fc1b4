"""The hook of all gateways: it reads an Airflow connection, and has one method per operation."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pendulum
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_winsms.exceptions import InvalidMessage, SmsError, UnsupportedCapability
from airflow_provider_winsms.hooks.connections import ConnectionKind, connection_named, hook_for
from airflow_provider_winsms.options import CheckNumbers, Encoding, check_choice, check_conn_id

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Connection
    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import BeforeSend, Call, Gateway
    from airflow_provider_winsms.gateways.endpoint import Endpoint
    from airflow_provider_winsms.gateways.transport import AsyncTransport, Transport
    from airflow_provider_winsms.hashing import KeyedHash
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
    )
    from airflow_provider_winsms.runtime import ClockReading

T = TypeVar("T")


class SmsHook(BaseHook):
    """A gateway behind an Airflow connection. Operators use it; each gateway has a subclass.

    Each method makes one request and returns the gateway's answer in the classes of ``messages``. Each raises
    ``ConfigurationError`` for a missing or malformed connection, ``InvalidMessage``, before any request, for
    input that does not fit into one request, and the errors of ``Transport.execute``. Lists are read by
    ``offset`` and ``limit``, in rows; ``None`` is the connection's page size.
    """

    conn_name_attr: ClassVar[str] = "sms_conn_id"
    default_base_url: ClassVar[str]
    has_login: ClassVar[bool] = False
    """Whether the connection's login is a part of the credentials."""
    connection_fields: ClassVar[Mapping[str, Mapping[str, Any]]]

    def __init__(self, sms_conn_id: str) -> None:
        super().__init__()
        check_conn_id(type(self).conn_name_attr, sms_conn_id)
        self.sms_conn_id = sms_conn_id
        self._transport: Transport | None = None

    @staticmethod
    def of(sms_conn_id: str) -> SmsHook:
        """Return the hook of a connection's gateway.

        :raises ConfigurationError: there is no such connection, or it is not one of an SMS gateway.
        """
        return SmsHook.of_connection(connection_named(sms_conn_id, EXPECTED_CONNECTION))

    @staticmethod
    def of_connection(connection: Connection) -> SmsHook:
        """Return the hook of a connection that was already looked up.

        It may wait for the process that masks secrets in logs, so an event loop must not call it.
        """
        hook = hook_for(connection, SmsHook, EXPECTED_CONNECTION)
        hook.endpoint = hook._endpoint_of(connection)  # noqa: SLF001 - its own class
        return hook

    def make_gateway(self, *args: Any, **kwargs: Any) -> Gateway:
        """Return the gateway of this hook. Each subclass makes its own, from the extras that only it has."""
        raise NotImplementedError

    @cached_property
    def endpoint(self) -> Endpoint:
        """The endpoint that the connection describes."""
        return self._endpoint_of(connection_named(self.sms_conn_id, EXPECTED_CONNECTION))

    @cached_property
    def gateway(self) -> Gateway:
        """The gateway, which describes calls."""
        return self.endpoint.gateway

    @cached_property
    def hashes(self) -> KeyedHash:
        """Keyed hashes under the connection's ``hash_secret``, or under the API key if there is none."""
        return self.endpoint.hashes

    @property
    def page_size(self) -> int:
        """Rows per request of a list."""
        return self.endpoint.page_size

    def get_conn(self) -> Transport:
        """Return the transport that executes calls: one pooled session for the life of the hook."""
        if self._transport is None:
            from airflow_provider_winsms.gateways.transport import Transport

            self._transport = Transport(self.endpoint)
        return self._transport

    def get_async_conn(self) -> AsyncTransport:
        """Return a transport for an event loop. Open it with ``async with``."""
        from airflow_provider_winsms.gateways.transport import AsyncTransport

        return AsyncTransport(self.endpoint)

    def execute(self, call: Call[T], before_send: BeforeSend = nullcontext) -> T:
        """Execute a call of the gateway, as ``Transport.execute`` does."""
        return self.get_conn().execute(call, before_send)

    def send(
        self,
        message: Message,
        *,
        check_numbers: CheckNumbers = "possible",
        encoding: Encoding = "transliterate",
    ) -> tuple[Receipt, ...]:
        """Send one text to as many recipients as fit into one request.

        This is one submission without a ledger: a caller that repeats it sends again.

        :param check_numbers: as in ``SmsSendOperator``.
        :param encoding: as in ``SmsSendOperator``.
        :returns: one receipt per recipient, in their order.
        :raises InvalidMessage: the text cannot be sent, does not fit into one request, or names a recipient
            twice.
        :raises OutcomeUnknown: the answer was lost.
        """
        (checked,) = _one_request(self.endpoint, [message], check_numbers, encoding)
        return self.execute(self.gateway.send(checked))

    def send_batch(
        self,
        messages: Sequence[Message],
        *,
        check_numbers: CheckNumbers = "possible",
        encoding: Encoding = "transliterate",
    ) -> tuple[Receipt, ...]:
        """Send different texts in one request. Parameters, result and errors are those of ``send``."""
        self.gateway.require("batch")
        checked = _one_request(self.endpoint, messages, check_numbers, encoding)
        return self.execute(self.gateway.send_batch(checked))

    def get_delivery_reports(self, message_ids: Sequence[MessageId]) -> tuple[DeliveryReport, ...]:
        """Ask for the delivery states of as many ids as fit into one request."""
        _check_fits(message_ids, self.gateway.limits.status_ids, "message ids")
        return self.execute(self.gateway.delivery_reports(message_ids))

    def cancel_scheduled(self, message_ids: Sequence[MessageId]) -> tuple[Cancellation, ...]:
        """Cancel scheduled texts that are not sent yet: as many ids as fit into one request."""
        _check_fits(message_ids, self.gateway.limits.cancel_ids, "message ids")
        return self.execute(self.gateway.cancel(message_ids))

    def get_scheduled(self, offset: int = 0, limit: int | None = None) -> Page[ScheduledMessage]:
        """List scheduled texts that are not sent yet."""
        return self._page("list_scheduled", offset, limit)

    def get_incoming(self, offset: int = 0, limit: int | None = None) -> Page[IncomingMessage]:
        """List texts that phones sent to the account: oldest first in the one example, not by promise."""
        return self._page("incoming", offset, limit)

    def get_short_code_incoming(self, offset: int = 0, limit: int | None = None) -> Page[IncomingMessage]:
        """List texts that phones sent to the account's short or long code."""
        return self._page("short_code", offset, limit)

    def get_opt_outs(self) -> Columns[OptOut]:
        """List every number that may not be texted."""
        return self.execute(self.gateway.opt_outs())

    def stream_opt_outs(self, before_send: BeforeSend = nullcontext) -> Generator[Columns[OptOut]]:
        """Yield the list of ``get_opt_outs`` in parts, as they arrive, in bounded memory.

        Parameters, parts and errors are those of ``Transport.stream``. The list is complete only when the
        iterator has ended.
        """
        return self.get_conn().stream(self.gateway.opt_outs(), before_send)

    def get_balance(self) -> Balance:
        """Ask for the balance: ``None`` if the gateway states no readable amount."""
        return self.execute(self.gateway.balance())

    def read_clock(self, now: Callable[[], DateTime]) -> ClockReading | None:
        """Make a call that costs nothing, and return the gateway's clock by its answer.

        :param now: this machine's clock.
        :returns: ``None`` if the answer states no time.
        """
        with suppress(UnsupportedCapability):
            return self.get_conn().read_clock(self.gateway.ping(), now)
        return None

    def test_connection(self) -> tuple[bool, str]:
        """Make a call that costs nothing, in one attempt. The message holds no secret."""
        from airflow_provider_winsms.gateways.transport import Transport

        try:
            with Transport(self.endpoint, attempts=1) as transport:
                return True, f"Connected; {transport.execute(self.gateway.ping())}."
        except SmsError as error:
            return False, str(error)

    def _endpoint_of(self, connection: Connection) -> Endpoint:
        from airflow_provider_winsms.hooks.endpoints import endpoint_of

        return endpoint_of(connection, self)

    def _page(self, capability: str, offset: int, limit: int | None) -> Page[Any]:
        from airflow_provider_winsms.gateways.lists import pages_by_offset

        self.gateway.require(capability)
        return pages_by_offset(self.gateway, capability, self.execute)(*self._page_range(offset, limit))

    def _page_range(self, offset: int, limit: int | None) -> tuple[int, int]:
        rows = self.page_size if limit is None else limit
        most = self.gateway.limits.page_rows
        if offset < 0 or not 1 <= rows <= most:
            msg = f"offset must be 0 or more and limit from 1 to {most}; got {offset} and {rows}."
            raise InvalidMessage(msg)
        return offset, rows


def _one_request(
    endpoint: Endpoint, messages: Sequence[Message], check_numbers: CheckNumbers, encoding: Encoding
) -> tuple[Message, ...]:
    from airflow_provider_winsms.sending.composer import Composer
    from airflow_provider_winsms.sending.plan import plan

    check_choice("check_numbers", check_numbers, CheckNumbers)
    check_choice("encoding", encoding, Encoding)
    composer = Composer(endpoint.gateway, pendulum.now, check_numbers, encoding)
    planned = plan(map(composer.check, messages), endpoint.gateway)
    if planned.duplicates or len(planned.requests) != 1:
        msg = (
            f"This does not make one request: it would take {len(planned.requests)}, and names "
            f"{planned.duplicates} recipients twice. SmsSendOperator takes lists of any length."
        )
        raise InvalidMessage(msg)
    checked = planned.requests[0].messages()
    only = endpoint.only_numbers
    if only is not None and any(
        each.address not in only for message in checked for each in message.recipients
    ):
        msg = (
            f"The connection {endpoint.name!r} texts only its `only_numbers`, and a recipient is not one of "
            "them. Nothing was sent."
        )
        raise InvalidMessage(msg)
    return checked


def _check_fits(values: Sequence[object], most: int, things: str) -> None:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        msg = f"Give a list of {things}; got one {type(values).__name__}."
        raise InvalidMessage(msg)
    if not 1 <= len(values) <= most:
        msg = f"One request takes 1 to {most} {things}; got {len(values)}."
        raise InvalidMessage(msg)


EXPECTED_CONNECTION = ConnectionKind("an SMS gateway", SmsHook)
"""Describes a connection of this hook, for errors."""
