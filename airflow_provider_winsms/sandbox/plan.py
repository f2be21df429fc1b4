"""Delivery plans: the magic numbers, and a plan for a text to any other number.

The same seed and the same sequence of accepted texts give the same outcomes after the same delays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

DELIVERED = "DELIVERED"
"""The sandbox's own word; on the wire it is ``statusDelivered: true`` and a blank error code."""

INQUEUE = "INQUEUE"
SENT = "SENT"
FAILED = "FAILED"
SENDINGFAILED = "SENDINGFAILED"
NOTFOUND = "NOTFOUND"
BADDEST = "BADDEST"
WASPADNC = "WASPADNC"

FREE = frozenset({FAILED, SENDINGFAILED})
"""Outcomes that make ``creditCost`` of the status row 0. The balance stays debited: the document says "may
be 0 under certain conditions" of the row, and does not mention a refund."""

REPLY_DELAY = 5.0
"""Seconds from a text to a magic number until its reply."""

_DELIVERED_SHARE = 0.95
_E164 = re.compile(r"[1-9][0-9]{6,14}", re.ASCII)
_SPEC_BADDEST = "276666666666"
_HOME = "27"
_HOME_PRICE, _ABROAD_PRICE = 10, 13
_UNIT = 2**32


@dataclass(frozen=True, slots=True)
class DeliveryPlan:
    """Seconds until a text goes to the network and until its final status; ``None`` is never."""

    sent_after: float | None
    final_after: float | None
    outcome: str


@dataclass(frozen=True, slots=True)
class MagicNumber:
    """A number with a fixed outcome.

    :param error: the ``acceptError`` with which it is always declined.
    :param plan: the delivery plan of an accepted text.
    :param reply: the text of its reply.
    """

    number: str
    meaning: str
    error: str | None = None
    plan: DeliveryPlan | None = None
    reply: str | None = None


_AT_ONCE = DeliveryPlan(0, 0, DELIVERED)

MAGIC_NUMBERS = {
    magic.number: magic
    for magic in (
        MagicNumber("27000000001", "declined: INSUFFICIENT CREDITS", error="INSUFFICIENT CREDITS"),
        MagicNumber("27000000002", "declined: ACCOUNTLOCKED", error="ACCOUNTLOCKED"),
        MagicNumber("27000000003", "declined: TRIALNOT2SELF", error="TRIALNOT2SELF"),
        MagicNumber("27000000004", "declined: TOOLONG", error="TOOLONG"),
        MagicNumber("27000000005", "declined: BADDEST", error=BADDEST),
        MagicNumber("27000000006", "declined: OPTEDOUT", error="OPTEDOUT"),
        MagicNumber("27000000007", "declined: WASPADNC, unless the account is transactional", error=WASPADNC),
        MagicNumber("27000000009", "declined: QUOTAREACHED, a code no document knows", error="QUOTAREACHED"),
        MagicNumber("27000000010", "delivered at once", plan=_AT_ONCE),
        MagicNumber("27000000011", "FAILED at once", plan=DeliveryPlan(0, 0, FAILED)),
        MagicNumber("27000000012", "SENDINGFAILED at once", plan=DeliveryPlan(None, 0, SENDINGFAILED)),
        MagicNumber("27000000013", "stays SENT for ever", plan=DeliveryPlan(0, None, SENT)),
        MagicNumber("27000000014", "stays INQUEUE for ever", plan=DeliveryPlan(None, None, INQUEUE)),
        MagicNumber(
            "27000000015", "REROUTED at once, a status no document knows", plan=DeliveryPlan(0, 0, "REROUTED")
        ),
        MagicNumber("27000000016", "BADDEST at once, as in an example", plan=DeliveryPlan(None, 0, BADDEST)),
        MagicNumber("27000000020", 'delivered, replies "YES" after 5 seconds', plan=_AT_ONCE, reply="YES"),
        MagicNumber("27000000021", 'delivered, replies "STOP" after 5 seconds', plan=_AT_ONCE, reply="STOP"),
    )
}
"""Every number with a fixed outcome: 00x are declined, 01x have a fixed status, 02x reply."""


def is_number(number: str) -> bool:
    """Whether a number has E.164 digits without the plus, and is not the document's example of a bad one."""
    return _E164.fullmatch(number) is not None and number != _SPEC_BADDEST


def price(number: str) -> int:
    """Return the cost of a segment, in tenths: 1 credit in South Africa, elsewhere 1.3 as in an example."""
    return _HOME_PRICE if number.startswith(_HOME) else _ABROAD_PRICE


def plan_for(number: str, seed: int, message_id: int) -> DeliveryPlan:
    """Return the delivery plan of the text with this id to this number."""
    magic = MAGIC_NUMBERS.get(number)
    return (magic and magic.plan) or _ordinary(seed, message_id)


def _ordinary(seed: int, message_id: int) -> DeliveryPlan:
    outcome, queued, travelled = _draws(seed, message_id)
    sent_after = 1 + 4 * queued
    final_after = sent_after + 1 + 114 * travelled**3
    return DeliveryPlan(sent_after, final_after, DELIVERED if outcome < _DELIVERED_SHARE else FAILED)


def _draws(seed: int, message_id: int) -> tuple[float, float, float]:
    digest = blake2b(f"{message_id}:{seed}".encode(), digest_size=12).digest()
    first, second, third = (int.from_bytes(digest[at : at + 4]) / _UNIT for at in (0, 4, 8))
    return first, second, third
