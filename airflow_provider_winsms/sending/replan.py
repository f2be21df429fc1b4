"""Replans a send whose list has changed since an earlier try of the same task.

Claimed requests keep their keys. Each of their recipients is matched with a recipient of the current list: by
number, text and time, or else by number and text. Of several with the same text, the nearest time is taken.
New requests follow the claimed ones, and hold the rest of the current list. A number is left out if an
earlier try claimed another text to it that is no longer in the list: that text may have been edited. For the
same reason such a number is not sent to again after it was declined.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, groupby
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from airflow_provider_winsms.exceptions import IdempotencyConflict
from airflow_provider_winsms.ledger.base import RecipientDigest, RequestKey, short_hash_of_address
from airflow_provider_winsms.messages import Message, Recipient, Recipients
from airflow_provider_winsms.sending.message_list import MessagePart
from airflow_provider_winsms.sending.plan import (
    ListChanges,
    Plan,
    Request,
    merge_equal,
    split_into_requests,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.ledger.base import Ledger, RequestRecord, ResendPlan
    from airflow_provider_winsms.sending.plan import Duplicates

Slot: TypeAlias = "tuple[RequestKey, int]"
"""A position in a claimed request."""

_NOT_TOLD = (
    "The list has changed since an earlier try, which did not write down its recipients, so the rest is "
    'unknown. Nothing more was sent. Clear the task with on_clear="resend" to send to everybody in '
    "the list, or start a new DAG run."
)

_NOBODY = Message("", (), None)
_NO_NUMBER = Recipient("0")
"""Stands for a recipient who is no longer in the list. Only a hash of the number is known."""


class ListedRecipient(NamedTuple):
    """A recipient in the current list: the index of the message, and the index in it, from 0."""

    digest: RecipientDigest
    message: int
    recipient: int


class ResentRecipient(NamedTuple):
    """A recipient of an earlier round to whom a later round sends again."""

    digest: RecipientDigest
    slot: Slot


Candidate = TypeVar("Candidate", ListedRecipient, ResentRecipient)
"""A recipient who may be the one in a slot."""


def replan(
    messages: Sequence[Message],
    gateway: Gateway,
    ledger: Ledger,
    *,
    duplicates: Duplicates,
    is_held: bool,
    allowed: Callable[[list[Message]], Sequence[Message]] = lambda rest: rest,
    most_recipients: int | None = None,
) -> list[Plan]:
    """Return the rounds that send the rest of a list. An earlier try has claimed a part of it.

    :param messages: the current list, without duplicates.
    :param ledger: has the batch open, and has taken it over.
    :param is_held: whether messages without a time will get one.
    :param allowed: returns what rules leave of the messages that no try has claimed.
    :param most_recipients: in one new request; ``None``: as many as the gateway takes.
    :returns: a plan for each round in the ledger, and at least one. The first has the ``changes``.
    :raises IdempotencyConflict: if the ledger has not kept whom a claimed request holds.
    """
    claims = _Claims(ledger)
    current = _CurrentList(claims, messages, ledger)
    split = partial(split_into_requests, gateway=gateway, is_held=is_held, most_recipients=most_recipients)
    rest = list(split(allowed(list(current.rest()))))
    requests = (*(current.request(key) for key in claims.keys_of(1)), *rest)
    first = Plan(
        requests,
        sum(request.size for request in requests),
        duplicates.count,
        is_held,
        tuple(duplicates.first),
        current.changes(sum(request.size for request in rest)),
    )
    rounds = [first]
    for round_, resend_plan in enumerate(claims.resend_plans, start=2):
        left = split(merge_equal(claims.left(rounds, resend_plan)))
        requests = (*(current.request(key) for key in claims.keys_of(round_)), *left)
        rounds.append(Plan(requests, sum(request.size for request in requests), 0, is_held))
    return rounds


@dataclass(frozen=True, slots=True)
class _Claim:
    record: RequestRecord
    digests: Sequence[RecipientDigest]


class _Claims:
    """The claimed requests of a batch, and the recipients whom a later round has claimed again."""

    def __init__(self, ledger: Ledger) -> None:
        self.resend_plans = ledger.rounds()
        self._claims: dict[RequestKey, _Claim] = {}
        self._origins: dict[Slot, Slot] = {}
        self._sent_again: dict[Slot, Slot] = {}
        for round_ in range(1, len(self.resend_plans) + 2):
            self._read_round(ledger, round_)
        for round_, resend_plan in enumerate(self.resend_plans, start=2):
            self._trace(round_, resend_plan)

    def keys_of(self, round_: int) -> list[RequestKey]:
        """Return the keys of the claimed requests of a round, in order."""
        return [key for key in self._claims if key.round == round_]

    def digests(self, key: RequestKey) -> Sequence[RecipientDigest]:
        """Return the recipients of a request, as digests."""
        return self._claims[key].digests

    def first_round(self) -> dict[Slot, RecipientDigest]:
        """Return the recipient in each slot of the first round."""
        return dict(self._round(1))

    def origin(self, slot: Slot) -> Slot:
        """Return the slot of the first round in which a recipient was."""
        while slot in self._origins:
            slot = self._origins[slot]
        return slot

    def is_sent_again(self, slot: Slot) -> bool:
        """Tell whether a later round has claimed the recipient again."""
        return slot in self._sent_again

    def was_texted(self, slot: Slot) -> bool:
        """Tell whether the last round with the recipient had them accepted, or may have."""
        while slot in self._sent_again:
            slot = self._sent_again[slot]
        key, position = slot
        return position not in self._claims[key].record.declined

    def left(self, rounds: Sequence[Plan], resend_plan: ResendPlan) -> Iterator[Message]:
        """Yield messages to the recipients of a round that no request of it has claimed yet."""
        for key, positions in sorted(resend_plan.items()):
            request = rounds[key.round - 1].requests[key.request - 1]
            yield from request.messages_to(p for p in positions if not self.is_sent_again((key, p)))

    def _round(self, round_: int) -> Iterator[tuple[Slot, RecipientDigest]]:
        for key in self.keys_of(round_):
            for position, digest in enumerate(self.digests(key)):
                yield (key, position), digest

    def _read_round(self, ledger: Ledger, round_: int) -> None:
        for key in (RequestKey(round_, of) for of in count(1)):
            record = ledger.find(key)
            if record is None:
                return
            digests = ledger.recipient_digests(key)
            if digests is None or len(digests) != record.size:
                raise IdempotencyConflict(_NOT_TOLD)
            self._claims[key] = _Claim(record, digests)

    def _trace(self, round_: int, resend_plan: ResendPlan) -> None:
        """Find the earlier slot of each recipient of a round.

        The order may differ: a recipient who was gone for a while comes after the others.
        """
        candidates = defaultdict[str, list[ResentRecipient]](list)
        for key, positions in sorted(resend_plan.items()):
            digests = self.digests(key)
            for position in positions:
                candidates[digests[position].number].append(
                    ResentRecipient(digests[position], (key, position))
                )
        held = dict(self._round(round_))
        found = _matched(held, candidates)
        if len(found) < len(held):
            raise IdempotencyConflict(_NOT_TOLD)
        for slot, source in found.items():
            self._origins[slot], self._sent_again[source.slot] = source.slot, slot


class _CurrentList:
    """Matches the recipients of the current list with the slots of claimed requests."""

    def __init__(self, claims: _Claims, messages: Sequence[Message], ledger: Ledger) -> None:
        self._claims = claims
        self._messages = messages
        self._candidates = _by_number(messages, ledger)
        held = claims.first_round()
        self._entries = _matched(held, self._candidates)
        lost = [(slot, digest) for slot, digest in held.items() if slot not in self._entries]
        self._gone = len(lost)
        texted = {digest.number for slot, digest in lost if claims.was_texted(slot)}
        declined = [
            slot for slot in self._entries if held[slot].number in texted and not claims.was_texted(slot)
        ]
        for slot in declined:
            del self._entries[slot]
        self._changed = len(declined) + sum(len(self._candidates.pop(number, ())) for number in texted)

    def changes(self, added: int) -> ListChanges:
        """Return how the list has changed, in counts."""
        return ListChanges(len(self._entries), added, self._gone, self._changed)

    def rest(self) -> Iterator[Message]:
        """Yield messages to the recipients who are still to be sent to, in the order of the list."""
        entries = sorted(
            (e.message, e.recipient) for candidates in self._candidates.values() for e in candidates
        )
        for index, alike in groupby(entries, key=lambda entry: entry[0]):
            message = self._messages[index]
            yield replace(
                message, recipients=Recipients(message.recipients[position] for _, position in alike)
            )

    def request(self, key: RequestKey) -> Request:
        """Return a claimed request with the recipients who are still in the list."""
        digests = self._claims.digests(key)
        slots = [(key, position) for position in range(len(digests))]
        entries = [self._entries.get(self._claims.origin(slot)) for slot in slots]
        parts = list(self._parts(entries, digests))
        return Request(
            parts=tuple(part for part, _ in parts),
            current_parts=tuple(part for _, part in parts),
            gone=frozenset(
                position
                for (_, position), entry in zip(slots, entries, strict=True)
                if entry is None and not self._claims.is_sent_again((key, position))
            ),
        )

    def _parts(
        self, entries: Iterable[ListedRecipient | None], digests: Iterable[RecipientDigest]
    ) -> Iterator[tuple[MessagePart, MessagePart]]:
        """Yield slices of a message: with the time that was claimed, and with the current time."""
        pairs = zip(entries, digests, strict=True)
        for (index, send_at), alike in groupby(pairs, key=lambda pair: (_message(pair[0]), pair[1].send_at)):
            message = _NOBODY if index is None else self._messages[index]
            recipients = Recipients(self._recipient(entry) for entry, _ in alike)
            current = replace(message, recipients=recipients)
            end = len(recipients)
            yield MessagePart(replace(current, send_at=send_at), 0, end), MessagePart(current, 0, end)

    def _recipient(self, entry: ListedRecipient | None) -> Recipient:
        return _NO_NUMBER if entry is None else self._messages[entry.message].recipients[entry.recipient]


def _by_number(messages: Sequence[Message], ledger: Ledger) -> defaultdict[str, list[ListedRecipient]]:
    entries = defaultdict[str, list[ListedRecipient]](list)
    for index, message in enumerate(messages):
        text = ledger.short_hash(message.text)
        send_at = message.send_at and message.send_at.in_timezone("UTC")
        for position, recipient in enumerate(message.recipients):
            number = short_hash_of_address(
                recipient.kind, ledger.short_hash(recipient.number), ledger.short_hash
            )
            digest = RecipientDigest(number, text, send_at)
            entries[digest.number].append(ListedRecipient(digest, index, position))
    return entries


def _message(entry: ListedRecipient | None) -> int | None:
    return None if entry is None else entry.message


def _matched(
    held: Mapping[Slot, RecipientDigest], candidates: Mapping[str, list[Candidate]]
) -> dict[Slot, Candidate]:
    """Match slots with candidates: by number, text and time, or by nearest time. Remove those."""
    found: dict[Slot, Candidate] = {}
    for choose in (_exact_match, _nearest_match):
        for slot, digest in held.items():
            some = candidates.get(digest.number)
            if some and slot not in found and (one := choose(digest, some)) is not None:
                some.remove(one)
                found[slot] = one
    return found


def _exact_match(digest: RecipientDigest, some: list[Candidate]) -> Candidate | None:
    return next((one for one in some if one.digest == digest), None)


def _nearest_match(digest: RecipientDigest, some: list[Candidate]) -> Candidate | None:
    alike = [one for one in some if one.digest.text == digest.text]
    return min(alike, key=lambda one: _seconds_between(one.digest.send_at, digest.send_at), default=None)


def _seconds_between(one: DateTime | None, other: DateTime | None) -> float:
    """Return how far apart two times are. A text without a time is nearest to another without one."""
    if one is None or other is None:
        return 0.0 if one is other else float("inf")
    return abs((one - other).total_seconds())
