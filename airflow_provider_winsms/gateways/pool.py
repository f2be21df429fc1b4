"""The pool of connections beneath the transport: one request, and its answer within the answer's bounds."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import SendStopped
from airflow_provider_winsms.gateways.responses import (
    FRAMING_FACTOR,
    LONGEST_HEAD,
    RequestBody,
    answer_limit,
    lost_answer,
    malformed_answer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from airflow_provider_winsms.gateways.auth import Headers
    from airflow_provider_winsms.gateways.base import Call
    from airflow_provider_winsms.gateways.endpoint import Endpoint
    from airflow_provider_winsms.gateways.session import Exchange

# The shortest keep-alive of common servers is 5 seconds (Apache httpd, Node.js).
_LONGEST_IDLE = 3.0


class ConnectionPool:
    """Submits requests with ``requests``, over one pooled session that several threads may share.

    :param clock: returns monotonic seconds.
    """

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float]) -> None:
        from airflow_provider_winsms.gateways.session import Session

        self._endpoint = endpoint
        self._clock = clock
        # Without TLS the gateway is on this machine. A proxy would read the key and the texts.
        self._session = Session(trust_env=endpoint.base_url.startswith("https:"))
        self._last_used = clock()
        self._in_flight: set[Exchange] = set()
        self._is_aborted = False

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def abort(self) -> None:
        """Close all connections, also those in use: running requests end, and no further one begins."""
        self._is_aborted = True
        for exchange in list(self._in_flight):
            exchange.abort()
        self.close()

    @contextmanager
    def response_to(
        self, call: Call[Any], headers: Headers
    ) -> Iterator[tuple[requests.Response, Iterator[bytes]]]:
        """Submit a request; yield the head of its answer, and the chunks of its body as they arrive.

        :param headers: those that authenticate it.
        """
        from airflow_provider_winsms.gateways.session import NETWORK_ERRORS, cause_of, has_no_connection

        self._retire_idle_connections()
        body = RequestBody(call.body)
        with self._exchange(call) as exchange:
            try:
                with self._submit(call, body, headers, exchange) as response:
                    yield response, self._chunks(call, response, exchange)
            except ValueError as error:
                if exchange.is_awaited:
                    raise lost_answer(call, type(error).__name__, self._endpoint) from None
                raise malformed_answer(call, error, body, self._endpoint) from None
            except NETWORK_ERRORS as error:
                never_left = body.never_left or has_no_connection(error)
                cause = exchange.broken_bound or cause_of(error)
                raise lost_answer(call, cause, self._endpoint, never_left=never_left) from None
            finally:
                self._last_used = self._clock()

    def _submit(
        self, call: Call[Any], body: RequestBody, headers: Headers, exchange: Exchange
    ) -> requests.Response:
        return self._session.submit(
            exchange,
            call.method,
            self._endpoint.url_of(call),
            self._endpoint.headers_of(call, headers),
            params=call.query,
            data=body or None,
            timeout=(self._endpoint.connect_timeout, self._endpoint.read_timeout),
        )

    @contextmanager
    def _exchange(self, call: Call[Any]) -> Iterator[Exchange]:
        """Bound an answer, and let ``abort`` end it.

        :raises SendStopped: the pool was aborted.
        """
        from airflow_provider_winsms.gateways.session import Exchange

        most = LONGEST_HEAD + FRAMING_FACTOR * call.max_answer_bytes
        exchange = Exchange(self._endpoint.answer_timeout, most, self._clock)
        self._in_flight.add(exchange)
        try:
            if self._is_aborted:
                msg = f"{call.operation}: nothing more is asked; its connection is closed."
                raise SendStopped(msg)
            yield exchange
        finally:
            self._in_flight.discard(exchange)

    def _chunks(self, call: Call[Any], response: requests.Response, exchange: Exchange) -> Iterator[bytes]:
        """Yield the chunks of a body as they arrive, within its bounds."""
        from airflow_provider_winsms.gateways.session import EncodingError, body_of

        length, most = 0, answer_limit(call, response.status_code)
        exchange.resume()
        try:
            for chunk in body_of(response):
                length += len(chunk)
                if length > most:
                    raise lost_answer(call, f"its answer is longer than {most} bytes", self._endpoint)
                yield chunk
                exchange.resume()
        except EncodingError as error:
            raise lost_answer(call, f"its answer {error}", self._endpoint) from None

    def _retire_idle_connections(self) -> None:
        """Close idle connections: if the gateway closes one just as a send leaves, the send is lost."""
        if self._clock() - self._last_used > _LONGEST_IDLE:
            self._session.close()
