"""Refusals: which error answers the WinSMS documents have, and in which words."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from airflow_provider_winsms.gateways.winsms.parsing import is_text, is_time_stamp

REFUSALS = frozenset({400, 401, 404, 405, 413, 415, 422})
"""The statuses below 500 that the Swagger 2.0 document lists for POST requests: these and no others."""

ERROR_TEXTS = (
    "Invalid JSON payload received",
    "The 'AUTHORIZATION' header was not found.",
    "The resource requested does not exist.",
    "Request method should be set to",
    "Request POST data is",
    "Request content-type should be set to",
    "There is an error in the 'recipients' array",
    "At least one non-numeric api Id was supplied in the apiIds array.",
    "The offset parameter must be a number greater than or equal to 0.",
    "An unknown error has occurred",
)

# The oldest document adds the last four to every answer, and has no errorMessage in a 401.
_KEYS = frozenset(
    {
        *("timeStamp", "version", "statusCode", "errorMessage"),
        *("authResult", "authError", "validationResult", "validationError"),
    }
)


def is_refusal(status: int, document: Any) -> bool:
    """Whether an answer is the documented ``errorDetails``: the same status, and no other keys."""
    if status not in REFUSALS or not isinstance(document, dict):
        return False
    words = document.get("errorMessage")
    if words is None and status == HTTPStatus.UNAUTHORIZED:
        words = document.get("authError")
    return (
        document.keys() <= _KEYS
        and is_time_stamp(document.get("timeStamp"))
        and is_text(document.get("version"))
        and type(document.get("statusCode")) is int
        and document["statusCode"] == status
        and is_text(words)
    )
