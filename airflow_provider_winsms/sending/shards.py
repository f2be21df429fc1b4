"""Shards of a campaign: parts of its list that are sent by tasks of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.exceptions import IdempotencyConflict, InvalidMessage
from airflow_provider_winsms.options import check_count, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.ledger.task_state import TaskStore
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.runtime import Log
    from airflow_provider_winsms.sending.composer import Composer, Content

MOST_SHARDS = 1024

_INDEX = re.compile(r"[0-9]{1,9}", re.ASCII)
_SHARD_KEY = "sms_shard"


class Shard(NamedTuple):
    """One of several parts of a list. A number is in the same part in every query, whatever its order.

    :param place: from 0.
    :param shards: how many parts there are.
    """

    place: int
    shards: int

    def has(self, number: str) -> bool:
        """Tell whether a number is in this part.

        :param number: international digits, so that all spellings of a number are in one part.
        """
        # No release may change this: a person would get into another part, and be texted twice.
        digest = blake2b(number.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) % self.shards == self.place

    def __str__(self) -> str:
        """Return its place among the shards."""
        return f"{self.place} of {self.shards}"


@dataclass(frozen=True, slots=True)
class RememberedShard:
    """A content that is composed only if earlier tries of the task composed the same shard.

    A person is in one shard as long as there are as many. In another number of shards, a task would send to
    people to whom another one has sent.

    :param resends: whether a cleared task sends all again, and so may send another shard.
    """

    content: Content = field(repr=False)
    shard: Shard | None
    store: TaskStore
    resends: bool

    def compose(self, composer: Composer, log: Log) -> Sequence[Message]:
        """Return the messages.

        :raises IdempotencyConflict: if an earlier try composed another shard.
        :raises SmsError: as the content does.
        """
        now = "all rows" if self.shard is None else f"shard {self.shard}"
        before = self.store.get(_SHARD_KEY)
        may_differ = self.resends and self.store.this_try.was_cleared
        if before not in {None, now} and not may_differ:
            msg = (
                f"An earlier try of this task had {before}, and this one has {now}. Other tasks may have "
                "sent to the same recipients. Nothing was sent. Give `shards` and `shard` as they were, or "
                'start a new DAG run. A cleared task with on_clear="resend" sends all of its shard again.'
            )
            raise IdempotencyConflict(msg)
        messages = self.content.compose(composer, log)
        if before != now:
            self.store.set(_SHARD_KEY, now)
        return messages

    def in_words(self, messages: Sequence[Message], gateway: Gateway) -> Mapping[str, str]:
        """Return what the content returns."""
        return self.content.in_words(messages, gateway)


def check_shards(name: str, shards: object) -> None:
    """Check that a parameter is a number of shards.

    :raises InvalidMessage: it is not.
    """
    check_count(name, shards, least=1, most=MOST_SHARDS)


def check_shard(name: str, shard: object) -> None:
    """Check that a parameter can be the index of a shard: a whole number, or its text.

    :raises InvalidMessage: it is not.
    """
    _index(name, shard)


def shard_of(shard: object, shards: int | None) -> Shard | None:
    """Return the shard that two parameters name; ``None`` if there are no shards.

    :raises InvalidMessage: if only one of them is given, or there is no such shard.
    """
    if shards is None and shard is None:
        return None
    if shards is None or shard is None:
        missing = "shards" if shards is None else "shard"
        msg = (
            f"`shards` and `shard` go together; `{missing}` is missing. To send all of 20 shards: "
            ".partial(..., shards=20).expand(shard=list(range(20)))."
        )
        raise InvalidMessage(msg)
    place = _index("shard", shard)
    if place >= shards:
        msg = f"shard must be from 0 to {shards - 1}, as there are {shards} shards; got {place}."
        raise InvalidMessage(msg)
    return Shard(place, shards)


def _index(name: str, shard: object) -> int:
    """Return the index of a shard, which a template renders as text."""
    text = str(shard).strip() if isinstance(shard, (int, str)) and not isinstance(shard, bool) else ""
    if not _INDEX.fullmatch(text) or (index := int(text)) >= MOST_SHARDS:
        msg = f"{name} must be the index of a shard, a whole number from 0 on; got {shown(shard)}."
        raise InvalidMessage(msg)
    return index
