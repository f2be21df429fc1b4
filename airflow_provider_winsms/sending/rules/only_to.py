"""The rule that texts only the people on a list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.sending.rules.numbers import addresses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.sending.rules.base import Draft, RuleContext


@dataclass(frozen=True, slots=True, init=False)
class OnlyTo:
    """Takes out everybody who is not on a list, as ``not_allowed``.

    The extra ``only_numbers`` of the connection does the same for every task that sends through it.

    :param numbers: the numbers that may be texted, in any spelling.
    :param variable: the Airflow variable that holds them: a JSON list, or a text with commas. It is read
        when the task runs.
    :raises InvalidMessage: unless exactly one of both is given.
    """

    numbers: tuple[str, ...] = field(repr=False)
    variable: str | None

    def __init__(self, numbers: Iterable[str] | None = None, *, variable: str | None = None) -> None:
        if (numbers is None) == (variable is None):
            msg = "OnlyTo needs numbers, or the name of an Airflow variable; exactly one of both."
            raise InvalidMessage(msg)
        given = (numbers,) if isinstance(numbers, str) else tuple(numbers or ())
        object.__setattr__(self, "numbers", tuple(map(str, given)))
        object.__setattr__(self, "variable", variable)

    def apply(self, draft: Draft, context: RuleContext) -> None:
        """Take out everybody who is not on the list."""
        given: object = self.numbers if self.variable is None else context.variable(self.variable)
        name = "The numbers of OnlyTo" if self.variable is None else f"The Airflow variable {self.variable!r}"
        allowed = addresses(given, context, name)
        for entry in draft:
            if entry.recipient.address not in allowed:
                draft.reject(entry.position, RejectReason.NOT_ALLOWED)
