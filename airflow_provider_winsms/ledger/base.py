"""What a memory of sends must be able to do."""

from __future__ import annotations

from typing import Protocol


class Ledger(Protocol):
    """Remembers, beyond the life of a process, that a task may have sent."""

    has_intended: bool

    def may_have_sent(self) -> bool:
        """Tell whether an earlier try may have submitted a request."""

    def intend(self) -> None:
        """Remember that a request is about to leave. When this returns, the memory is committed."""

    def withdraw(self) -> None:
        """Forget the intent: the request provably was not carried out, and none was before it."""
