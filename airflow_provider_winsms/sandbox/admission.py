"""Checks of path, method, key, type and size, in this order, with the error texts of the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.sandbox.operations import BY_PATH
from airflow_provider_winsms.sandbox.wire import MAX_BODY, RequestRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_winsms.sandbox.operations import Operation

_NO_SUCH_PATH = "The resource requested does not exist. Please verify the path, spelling, and capitalisation"
_NO_KEY = (
    "The 'AUTHORIZATION' header was not found. Set the 'AUTHORIZATION' request header to your WinSMS API Key"
)
_WRONG_KEY = "The API Key in the 'AUTHORIZATION' request header is not valid."


class RawRequest(NamedTuple):
    """A request as the socket delivered it.

    :param api_key: the whole value of the ``AUTHORIZATION`` header; ``None`` without the header.
    :param size: the ``Content-Length``.
    """

    method: str
    path: str
    query: Mapping[str, str]
    api_key: str | None
    content_type: str
    size: int
    body: bytes

    def __repr__(self) -> str:
        """Show neither the key nor the content."""
        return f"RawRequest({self.method!r}, size={self.size})"


def admit(request: RawRequest, api_key: str) -> Operation:
    """Return the operation that a request may perform.

    :raises RequestRefused: 404, 405, 401, 415 or 413.
    """
    operation = BY_PATH.get(request.path)
    if operation is None:
        raise RequestRefused(404, _NO_SUCH_PATH)
    if request.method != operation.method:
        raise RequestRefused(
            405, f"Request method should be set to '{operation.method}', not '{request.method}'."
        )
    _check_key(request.api_key, api_key)
    if operation.method == "POST":
        _check_type(request.content_type)
        _check_size(request.size)
    return operation


def _check_key(given: str | None, expected: str) -> None:
    if given is None:
        raise RequestRefused(401, _NO_KEY)
    if given != expected:
        raise RequestRefused(401, _WRONG_KEY)


def _check_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RequestRefused(
            415, f"Request content-type should be set to 'application/json', not '{media_type}'."
        )


def _check_size(size: int) -> None:
    if size > MAX_BODY:
        kilobytes = -(-size // 1000)
        raise RequestRefused(
            413, f"Request POST data is: {kilobytes}kb. The maximum POST size allowed is 200kb."
        )
