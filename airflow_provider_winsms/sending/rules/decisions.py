"""The decisions of rules, as one compact text that a ledger keeps. A later try follows them."""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from base64 import b64decode, b64encode
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

import pendulum

from airflow_provider_winsms.exceptions import IdempotencyConflict
from airflow_provider_winsms.ledger.base import Rejected
from airflow_provider_winsms.messages import Recipients, RejectReason
from airflow_provider_winsms.sending.message_list import MessageList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.sending.rules.base import Draft

_OTHER_LIST = (
    "The ledger has decisions of rules about another list. Nothing was sent. Start a new DAG run, or clear "
    'the task with on_clear="resend".'
)


@dataclass(frozen=True, slots=True)
class Decided:
    """What is left of a list, and who was taken out of it.

    :param messages: with their moved times.
    """

    messages: MessageList = field(repr=False)
    rejected: list[Rejected]


@dataclass(frozen=True, slots=True)
class Decisions:
    """What rules have decided about each recipient of a list, in the order of the list.

    :param rules: identifies the rules.
    :param palette: the outcomes: a reason, a new time, or ``None`` for a recipient who is kept as they are.
    :param outcomes: the index in ``palette`` for each recipient.
    """

    rules: str
    palette: Sequence[RejectReason | DateTime | None]
    outcomes: array[int]

    @classmethod
    def of(cls, rules: str, draft: Draft) -> Decisions:
        """Return the decisions that a draft holds."""
        return cls(rules, draft.palette, draft.outcomes)

    @classmethod
    def from_text(cls, text: str) -> Decisions:
        """Return decisions from their text."""
        row = json.loads(text)
        outcomes = array("H", zlib.decompress(b64decode(row["outcomes"])))
        return cls(row["rules"], [_outcome(word) for word in row["palette"]], _little_endian(outcomes))

    def to_text(self) -> str:
        """Return the decisions as ASCII: a few bytes for each recipient who is taken out."""
        packed = zlib.compress(_little_endian(self.outcomes[:]).tobytes(), 9)
        words = ["" if outcome is None else str(outcome) for outcome in self.palette]
        return json.dumps({"rules": self.rules, "palette": words, "outcomes": b64encode(packed).decode()})

    def applied_to(self, messages: Sequence[Message], round_up: Callable[[DateTime], DateTime]) -> Decided:
        """Return the messages to the recipients who are kept, and the others with their reasons.

        :param round_up: returns the first time from a moved one on that the gateway can send at.
        :raises IdempotencyConflict: if the decisions are about another list.
        """
        if len(self.outcomes) != sum(len(message.recipients) for message in messages):
            raise IdempotencyConflict(_OTHER_LIST)
        times = [None if isinstance(o, RejectReason) or o is None else round_up(o) for o in self.palette]
        decided, start = Decided(MessageList(), []), 0
        for message in messages:
            end = start + len(message.recipients)
            if any(self.outcomes[start:end]):
                for kept in self._kept(message, start, times):
                    decided.messages.append(kept)
                decided.rejected.extend(self._rejected(message, start))
            else:
                decided.messages.append(message)
            start = end
        return decided

    def _kept(self, message: Message, start: int, times: Sequence[DateTime | None]) -> Iterator[Message]:
        pairs = zip(self.outcomes[start : start + len(message.recipients)], message.recipients, strict=True)
        kept = (pair for pair in pairs if not isinstance(self.palette[pair[0]], RejectReason))
        for index, alike in groupby(kept, key=lambda pair: pair[0]):
            recipients = Recipients(recipient for _, recipient in alike)
            yield replace(message, recipients=recipients, send_at=times[index] or message.send_at)

    def _rejected(self, message: Message, start: int) -> Iterator[Rejected]:
        for place, recipient in enumerate(message.recipients, start):
            outcome = self.palette[self.outcomes[place]]
            if isinstance(outcome, RejectReason):
                yield Rejected(outcome, recipient.reference)


def _outcome(word: str) -> RejectReason | DateTime | None:
    if not word:
        return None
    if word in _REASONS:
        return RejectReason(word)
    time = pendulum.parse(word)
    assert isinstance(time, pendulum.DateTime)  # noqa: S101 - `Draft` takes nothing else
    return time.in_timezone("UTC")


_REASONS = frozenset(map(str, RejectReason))


def _little_endian(outcomes: array[int]) -> array[int]:
    if sys.byteorder == "big":
        outcomes.byteswap()
    return outcomes
