"""The connection form of WinSMS, as data for Airflow (``get_provider_info``) and for the hook."""

from __future__ import annotations

from typing import Any

BASE_URL = "https://www.winsms.co.za/api/rest/v1"
"""The base URL of both WinSMS REST documents."""

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "port", "schema", "extra"],
    "relabeling": {"password": "API key", "host": "Base URL"},
    "placeholders": {
        "password": "from Client Zone > My Profile > Developers",
        "host": f"empty means {BASE_URL}",
    },
}

FIELDS: dict[str, dict[str, Any]] = {
    "time_zone": {
        "label": "Time zone",
        "description": "The time zone of the times in the gateway's requests and answers. The REST document "
        "names none. WinSMS South Africa means GMT+2.",
        "schema": {"type": ["string", "null"], "default": "Africa/Johannesburg"},
    },
    "country_code": {
        "label": "Country code",
        "description": "Replaces the leading 0 of a national number. With 27, a text to 082 555 0101 goes to "
        "27825550101.",
        "schema": {"type": ["string", "null"], "default": "27", "pattern": "^[1-9][0-9]{0,2}$"},
    },
    "connect_timeout": {
        "label": "Connect time-out (seconds)",
        "description": "The longest wait for the connection to open.",
        "schema": {"type": ["number", "null"], "default": 10, "minimum": 0.1, "maximum": 300},
    },
    "read_timeout": {
        "label": "Read time-out (seconds)",
        "description": "The longest wait for an answer. Keep it long: a send whose answer does not come is "
        "never repeated.",
        "schema": {"type": ["number", "null"], "default": 60, "minimum": 0.1, "maximum": 600},
    },
    "page_size": {
        "label": "Page size (rows)",
        "description": "The number of rows per request of a list.",
        "schema": {"type": ["integer", "null"], "default": 1000, "minimum": 1, "maximum": 1000},
    },
    "requests_per_second": {
        "label": "Requests per second",
        "description": "The rate limit of one task. Empty: no limit. WinSMS documents none.",
        "schema": {"type": ["number", "null"], "default": None, "minimum": 0.01, "maximum": 1000},
    },
    "max_concurrent_requests": {
        "label": "Concurrent requests",
        "description": "The most requests that a triggerer's poll or a task has open at a time, for delivery "
        "states or pages of a list.",
        "schema": {"type": ["integer", "null"], "default": 4, "minimum": 1, "maximum": 32},
    },
    "only_numbers": {
        "label": "Only to these numbers",
        "description": "Numbers with commas between them. Nobody else gets a text through this connection, "
        "whatever a DAG says. Empty: no limit.",
        "schema": {"type": ["string", "null"], "default": None},
    },
    "hash_secret": {
        "label": "Hash secret",
        "description": "The secret key for stored hashes of numbers and texts. Keep it: with another secret "
        "the same number has another hash. Empty: the ledger's digests use the API key.",
        "schema": {
            "type": ["string", "null"],
            "default": None,
            "format": "password",
            "pattern": "^.{16,}$",
        },
    },
}
