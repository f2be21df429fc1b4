"""A rule whose decision differs in each try, so that it shows which try decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_winsms.messages import RejectReason

if TYPE_CHECKING:
    from airflow_provider_winsms.sending.rules.base import Draft, RuleContext


@dataclass(frozen=True)
class OnePersonByTry:
    """Takes out one person: the first in the first try, the second in the second."""

    number: ClassVar[int] = 1
    """Of the try that runs in this process."""

    def apply(self, draft: Draft, context: RuleContext) -> None:  # noqa: ARG002 - it asks nothing
        draft.reject(min(self.number, len(draft)) - 1, RejectReason.NOT_ALLOWED)
