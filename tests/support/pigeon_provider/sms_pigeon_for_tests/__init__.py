"""A provider for connections of the made-up gateway Pigeon."""

from __future__ import annotations

from typing import Any

from sms_pigeon_for_tests.connection import FIELDS, UI_FIELD_BEHAVIOUR


def get_provider_info() -> dict[str, Any]:
    return {
        "package-name": "sms-pigeon-for-tests",
        "name": "Pigeon for tests",
        "description": "A made-up gateway.",
        "connection-types": [
            {
                "connection-type": "pigeon",
                "hook-class-name": "sms_pigeon_for_tests.hook.PigeonHook",
                "hook-name": "Pigeon",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": FIELDS,
            }
        ],
    }
