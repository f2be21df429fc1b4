"""A provider for connections of a type that nobody knows, which lead to a PostgreSQL."""

from __future__ import annotations

from typing import Any


def provider_info() -> dict[str, Any]:
    return {
        "package-name": "sms-portable-for-tests",
        "name": "Portable for tests",
        "description": "Any database that has a hook.",
        "connection-types": [
            {"connection-type": "portable", "hook-class-name": "sms_portable_for_tests.hook.PortableHook"}
        ],
    }
