"""The provider's metadata: plain data that Airflow reads when it discovers providers."""

from __future__ import annotations

from typing import Any

from airflow_provider_winsms.gateways.winsms import connection as winsms

REPOSITORY = "https://github.com/airflow-provider-winsms/airflow-provider-winsms"

GATEWAYS = ("winsms",)
"""The folders in ``gateways/``."""


_OPTIONS = {
    "ledger_conn_ids": {
        "description": "The connections of the ledgers that the page shows, with commas between them.",
        "type": "string",
        "version_added": "0.1.0",
        "example": "warehouse, crm",
        "default": "",
    },
    "ledger_prefix": {
        "description": "The beginning of the names of their tables.",
        "type": "string",
        "version_added": "0.1.0",
        "example": "sms_",
        "default": "sms_",
    },
    "opt_outs_tables": {
        "description": (
            "Tables of the dataset opt_outs beside these ledgers, each as connection:table, with commas "
            "between them. With one, the page shows opt-outs."
        ),
        "type": "string",
        "version_added": "0.1.0",
        "example": "warehouse:opt_outs",
        "default": "",
    },
}
"""Airflow's configuration, section ``[winsms]``."""


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, valid against Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-winsms",
        "name": "SMS (WinSMS)",
        "description": "Send SMS through WinSMS, wait for their delivery, and load replies and opt-outs.",
        "integrations": [
            {
                "integration-name": "SMS",
                "external-doc-url": "https://www.winsms.co.za/",
                "logo": f"{REPOSITORY}/raw/main/docs/logo.svg",
                "tags": ["service"],
            }
        ],
        "operators": [
            {
                "integration-name": "SMS",
                "python-modules": [
                    "airflow_provider_winsms.operators.approval",
                    "airflow_provider_winsms.operators.sms",
                    "airflow_provider_winsms.operators.views",
                ],
            }
        ],
        "sensors": [{"integration-name": "SMS", "python-modules": ["airflow_provider_winsms.sensors.sms"]}],
        "hooks": [
            {
                "integration-name": "SMS",
                "python-modules": [
                    "airflow_provider_winsms.hooks.sms",
                    "airflow_provider_winsms.hooks.winsms",
                ],
            }
        ],
        "triggers": [{"integration-name": "SMS", "python-modules": ["airflow_provider_winsms.triggers.sms"]}],
        "notifications": ["airflow_provider_winsms.notifications.sms.SmsNotifier"],
        "queues": ["airflow_provider_winsms.queues.sms.SmsMessageQueueProvider"],
        "transfers": [
            {
                "source-integration-name": "SMS",
                "target-integration-name": "Common SQL",
                "python-module": "airflow_provider_winsms.transfers.sms_to_sql",
            },
            {
                "source-integration-name": "Common SQL",
                "target-integration-name": "SMS",
                "python-module": "airflow_provider_winsms.transfers.sql_to_sms",
            },
        ],
        "extra-links": [
            "airflow_provider_winsms.links.sms.SmsClientZoneLink",
            "airflow_provider_winsms.links.sms.SmsBatchesLink",
        ],
        "config": {"winsms": {"description": "The page SMS inside Airflow.", "options": _OPTIONS}},
        "cli": ["airflow_provider_winsms.cli.definition.get_sms_cli_commands"],
        "connection-types": [
            {
                "connection-type": "winsms",
                "hook-class-name": "airflow_provider_winsms.hooks.winsms.WinSMSHook",
                "hook-name": "WinSMS",
                "ui-field-behaviour": winsms.UI_FIELD_BEHAVIOUR,
                "conn-fields": winsms.FIELDS,
            }
        ],
    }
