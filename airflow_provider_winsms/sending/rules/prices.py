"""What texts cost: segments times the price of a segment in the country of the number."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import PHONE
from airflow_provider_winsms.options import shown
from airflow_provider_winsms.phone import country_code_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.messages import Message, Recipient

_LONGEST_PREFIX = 15


def amount_of(name: str, value: object) -> Decimal:
    """Return an amount that a DAG gives: a number or its text.

    :raises InvalidMessage: if it is none, or is less than 0.
    """
    is_number = isinstance(value, (int, float, str, Decimal)) and not isinstance(value, bool)
    try:
        amount = Decimal(str(value)) if is_number else Decimal("NaN")
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        msg = f'{name} must be an amount, 0 or more, such as 500 or "12.50"; got {shown(value)}.'
        raise InvalidMessage(msg)
    return amount


def checked_prices(prices: object) -> tuple[tuple[str, Decimal], ...]:
    """Return prices by prefix, as a DAG gives them.

    :raises InvalidMessage: if a prefix has no digits, or a price is no amount.
    """
    given = getattr(prices, "items", None)
    pairs = list(given()) if given else []
    if not pairs:
        msg = f'prices must map prefixes of numbers to amounts, such as {{"27": 1}}; got {shown(prices)}.'
        raise InvalidMessage(msg)
    for prefix, _ in pairs:
        if not isinstance(prefix, str) or not prefix.isdecimal() or len(prefix) > _LONGEST_PREFIX:
            msg = f'prices has the prefix {shown(prefix)}. Give the first digits of numbers, such as "27".'
            raise InvalidMessage(msg)
    return tuple(sorted((prefix, amount_of(f"prices[{prefix!r}]", price)) for prefix, price in pairs))


@dataclass(slots=True)
class Estimate:
    """What texts will cost.

    :ivar unknown: how many recipients have a number without a price, by the calling code of its country.
    """

    total: Decimal = Decimal(0)
    unknown: Counter[str] = field(default_factory=Counter)

    @property
    def unknown_countries(self) -> str:
        """The countries without a price, with the number of recipients in each."""
        return ", ".join(f"+{code} ({count})" for code, count in sorted(self.unknown.items()))


class PriceList:
    """The price of one segment, by the first digits of a number. The longest prefix decides.

    :param prices: by prefix; ``None``: 1 in the gateway's own country.
    """

    def __init__(self, prices: Iterable[tuple[str, Decimal]] | None, gateway: Gateway) -> None:
        own = ((gateway.number_plan.country_code, Decimal(1)),)
        self._prices: Mapping[str, Decimal] = dict(own if prices is None else prices)
        self._lengths = sorted({len(prefix) for prefix in self._prices}, reverse=True)
        self._gateway = gateway

    def estimate(self, texts: Iterable[tuple[Message, Recipient]]) -> Estimate:
        """Return what texts will cost.

        :param texts: the message and the recipient of each; those of a message come one after the other.
        """
        estimate = Estimate()
        for message, alike in groupby(texts, key=itemgetter(0)):
            segments = self.segments_of(message.text)
            for _, recipient in alike:
                price = self.price_of(recipient)
                if price is None:
                    estimate.unknown[_calling_code(recipient)] += 1
                else:
                    estimate.total += segments * price
        return estimate

    def segments_of(self, text: str) -> int:
        """Return how many segments a spelled text takes, in the first alphabet that carries it."""
        alphabets = self._gateway.capabilities.alphabets
        alphabet = next((each for each in alphabets if each.carries(text)), alphabets[-1])
        return alphabet.count_segments(text)

    def price_of(self, recipient: Recipient) -> Decimal | None:
        """Return the price of a segment to a recipient; ``None`` if there is none."""
        if recipient.kind != PHONE:
            return None
        prefixes = (recipient.number[:length] for length in self._lengths)
        return next((self._prices[prefix] for prefix in prefixes if prefix in self._prices), None)


def _calling_code(recipient: Recipient) -> str:
    """Return the calling code of a phone's country. It tells nothing of the phone."""
    if recipient.kind != PHONE:
        return recipient.kind
    return country_code_of(recipient.number) or "?"
