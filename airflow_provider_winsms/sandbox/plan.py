"""What becomes of a text: the magic numbers, and a delivery plan for every other number.

The same seed and the same sequence of accepted texts give the same outcomes at the same delays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

DELIVERED = "DELIVERED"
"""An outcome of this sandbox; on the wire it is ``statusDelivered: true`` and a blank error code."""

INQUEUE = "INQUEUE"
SENT = "SENT"
FAILED = "FAILED"
SENDINGFAILED = "SENDINGFAILED"
NOTFOUND = "NOTFOUND"
BADDEST = "BADDEST"
WASPADNC = "WASPADNC"

FREE = frozenset({FAILED, SENDINGFAILED})
"""Outcomes that make ``creditCost`` of the status row 0. The balance keeps what was debited: the document
says "may be 0 under certain conditions" of the row, and nothing of a refund."""

REPLY_DELAY = 5.0
"""Seconds from the delivery to a magic number that answers to its answer."""

_DELIVERED_SHARE = 0.95
_E164 = re.compile(r"[1-9][0-9]{6,14}", re.ASCII)
_SPEC_BADDEST = "276666666666"
_HOME = "27"
_HOME_PRICE, _ABROAD_PRICE = 10, 13
_UNIT = 2**32


@dataclass(frozen=True, slots=True)
class DeliveryPlan:
    """How a text fares: seconds until it goes to the network and until its last status; ``None`` is never."""

    sent_after: float | None
    final_after: float | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Magic:
    """A number with a fixed fate.

    :param declines: the ``acceptError`` it is always declined with.
    :param plan: how an accepted text fares.
    :param answers: what its owner replies.
    """

    number: str
    meaning: str
    declines: str | None = None
    plan: DeliveryPlan | None = None
    answers: str | None = None


_AT_ONCE = DeliveryPlan(0, 0, DELIVERED)

MAGIC_NUMBERS = {
    magic.number: magic
    for magic in (
        Magic("27000000001", "declined: INSUFFICIENT CREDITS", declines="INSUFFICIENT CREDITS"),
        Magic("27000000002", "declined: ACCOUNTLOCKED", declines="ACCOUNTLOCKED"),
        Magic("27000000003", "declined: TRIALNOT2SELF", declines="TRIALNOT2SELF"),
        Magic("27000000004", "declined: TOOLONG", declines="TOOLONG"),
        Magic("27000000005", "declined: BADDEST", declines=BADDEST),
        Magic("27000000006", "declined: OPTEDOUT", declines="OPTEDOUT"),
        Magic("27000000007", "declined: WASPADNC, unless the account is transactional", declines=WASPADNC),
        Magic("27000000009", "declined: QUOTAREACHED, a code no document knows", declines="QUOTAREACHED"),
        Magic("27000000010", "delivered at once", plan=_AT_ONCE),
        Magic("27000000011", "FAILED at once", plan=DeliveryPlan(0, 0, FAILED)),
        Magic("27000000012", "SENDINGFAILED at once", plan=DeliveryPlan(None, 0, SENDINGFAILED)),
        Magic("27000000013", "stays SENT for ever", plan=DeliveryPlan(0, None, SENT)),
        Magic("27000000014", "stays INQUEUE for ever", plan=DeliveryPlan(None, None, INQUEUE)),
        Magic(
            "27000000015", "REROUTED at once, a status no document knows", plan=DeliveryPlan(0, 0, "REROUTED")
        ),
        Magic("27000000016", "BADDEST at once, as in an example", plan=DeliveryPlan(None, 0, BADDEST)),
        Magic("27000000020", 'delivered, answers "YES" after 5 seconds', plan=_AT_ONCE, answers="YES"),
        Magic("27000000021", 'delivered, answers "STOP" after 5 seconds', plan=_AT_ONCE, answers="STOP"),
    )
}
"""Every number with a fixed fate: 00x are declined, 01x fare as they say, 02x answer."""


def is_number(number: str) -> bool:
    """Whether a number can be texted: E.164 digits without the plus, and not the document's bad example."""
    return _E164.fullmatch(number) is not None and number != _SPEC_BADDEST


def price(number: str) -> int:
    """Return what one segment costs, in tenths: one credit in South Africa; abroad 1.3, as in an example."""
    return _HOME_PRICE if number.startswith(_HOME) else _ABROAD_PRICE


def plan_for(number: str, seed: int, message_id: int) -> DeliveryPlan:
    """Return how the text with this id to this number fares."""
    magic = MAGIC_NUMBERS.get(number)
    return (magic and magic.plan) or _ordinary(seed, message_id)


def _ordinary(seed: int, message_id: int) -> DeliveryPlan:
    fate, queued, travelled = _draws(seed, message_id)
    sent_after = 1 + 4 * queued
    final_after = sent_after + 1 + 114 * travelled**3
    return DeliveryPlan(sent_after, final_after, DELIVERED if fate < _DELIVERED_SHARE else FAILED)


def _draws(seed: int, message_id: int) -> tuple[float, float, float]:
    digest = blake2b(f"{message_id}:{seed}".encode(), digest_size=12).digest()
    first, second, third = (int.from_bytes(digest[at : at + 4]) / _UNIT for at in (0, 4, 8))
    return first, second, third
