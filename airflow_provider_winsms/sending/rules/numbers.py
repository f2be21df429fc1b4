"""Reads the numbers of a list that a rule compares recipients with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.options import items_of_text

if TYPE_CHECKING:
    from airflow_provider_winsms.sending.rules.base import RuleContext


def addresses(given: object, context: RuleContext, what: str) -> frozenset[str]:
    """Return numbers in the form in which entries have them, so that every spelling compares equal.

    :param given: numbers, one number, or one text with commas.
    :param what: names the list, for the error.
    :raises ConfigurationError: if a value is no number.
    """
    found, wrong = set(), 0
    for value in _values(given, what):
        address = context.address(value)
        if address is None:
            wrong += 1
        else:
            found.add(address)
    if wrong:
        msg = f"{what}: {wrong} of its values are no phone numbers. Nothing was sent. Correct the list."
        raise ConfigurationError(msg)
    return frozenset(found)


def _values(given: object, what: str) -> Iterable[object]:
    if isinstance(given, str):
        return items_of_text(given, what)
    # A variable that holds one number of digits is JSON for an integer.
    return given if isinstance(given, Iterable) else (given,)
