"""Reads the numbers of a list that a rule compares recipients with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.options import items_of_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.sending.rules.base import RuleContext


def addresses(given: object, context: RuleContext, what: str) -> frozenset[str]:
    """Return numbers in the form in which entries have them, so that every spelling compares equal.

    :param given: numbers, or one text with commas.
    :param what: names the list, for the error.
    :raises ConfigurationError: if a value is no number.
    """
    values: Iterable[object] = items_of_text(given, what) if isinstance(given, str) else given  # type: ignore[assignment]
    found, wrong = set(), 0
    for value in values:
        address = context.address(value)
        if address is None:
            wrong += 1
        else:
            found.add(address)
    if wrong:
        msg = f"{what}: {wrong} of its values are no phone numbers. Nothing was sent. Correct the list."
        raise ConfigurationError(msg)
    return frozenset(found)
