"""The modules that users import."""

from __future__ import annotations

from airflow_provider_winsms.get_provider_info import get_provider_info

VOCABULARY = ("exceptions", "messages", "gsm7")


def public_modules() -> list[str]:
    """Return the modules that the provider info names, and the vocabulary."""
    info = get_provider_info()
    named = [
        module
        for section in ("hooks", "operators", "sensors", "triggers")
        for entry in info[section]
        for module in entry["python-modules"]
    ]
    transfers = [entry["python-module"] for entry in info["transfers"]]
    notifiers = [path.rpartition(".")[0] for path in info["notifications"]]
    return [*(f"airflow_provider_winsms.{name}" for name in VOCABULARY), *named, *transfers, *notifiers]
