"""The connection form of Pigeon, as data for Airflow (``get_provider_info``) and for the hook."""

from __future__ import annotations

from typing import Any

BASE_URL = "https://api.pigeon.example/v2"

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["port", "schema", "extra"],
    "relabeling": {"login": "User", "password": "Password", "host": "Base URL"},
    "placeholders": {"host": BASE_URL},
}

FIELDS: dict[str, dict[str, Any]] = {
    "country_code": {
        "label": "Country code",
        "description": "Is put before a national number. With 48, a text to 512 345 678 goes to 48512345678.",
        "schema": {"type": ["string", "null"], "default": "48", "pattern": "^[1-9][0-9]{0,2}$"},
    },
    "page_size": {
        "label": "Page size (rows)",
        "description": "The number of rows per request of a list.",
        "schema": {"type": ["integer", "null"], "default": 50, "minimum": 1, "maximum": 50},
    },
    "read_timeout": {
        "label": "Read time-out (seconds)",
        "description": "The longest wait for an answer.",
        "schema": {"type": ["number", "null"], "default": 60, "minimum": 0.1, "maximum": 600},
    },
    "hash_secret": {
        "label": "Hash secret",
        "description": "The secret key for stored hashes of numbers and texts.",
        "schema": {
            "type": ["string", "null"],
            "default": None,
            "format": "password",
            "pattern": "^.{16,}$",
        },
    },
}
