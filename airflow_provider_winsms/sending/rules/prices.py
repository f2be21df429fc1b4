"""What texts cost: segments times the price of a segment in the country of the number."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import PHONE, amount_text
from airflow_provider_winsms.options import shown
from airflow_provider_winsms.phone import country_code_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.messages import Message, Recipient

ELSEWHERE = "other"
"""The country of a number without a known country code, and of what is no phone."""

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


class CostEstimate:
    """What texts would cost, by country. A country with a number without a price has no cost."""

    def __init__(self) -> None:
        self._recipients: Counter[tuple[str, Decimal | None]] = Counter()
        self._segments: Counter[tuple[str, Decimal | None]] = Counter()

    def add(self, country: str, price: Decimal | None, segments: int) -> None:
        """Add a text of so many segments.

        :param price: of a segment; ``None`` if there is none.
        """
        self._recipients[country, price] += 1
        self._segments[country, price] += segments

    @property
    def total(self) -> Decimal:
        """The cost of all texts with a price."""
        costs = (price * count for (_, price), count in self._segments.items() if price is not None)
        return sum(costs, Decimal(0))

    @property
    def unpriced(self) -> dict[str, int]:
        """How many recipients have a number without a price, by country."""
        found = ((country, count) for (country, price), count in self._recipients.items() if price is None)
        return dict(sorted(found))

    @property
    def total_text(self) -> str | None:
        """The cost of all texts, as decimal text; ``None`` if a number has no price."""
        return self._cost(list(self._segments))

    def by_country(self) -> dict[str, dict[str, Any]]:
        """Return counts and cost by country code."""
        keys: dict[str, list[tuple[str, Decimal | None]]] = {}
        for key in self._segments:
            keys.setdefault(key[0], []).append(key)
        return {
            country: {
                "recipients": sum(self._recipients[key] for key in of_country),
                "segments": sum(self._segments[key] for key in of_country),
                "cost": self._cost(of_country),
            }
            for country, of_country in sorted(keys.items())
        }

    def _cost(self, keys: Sequence[tuple[str, Decimal | None]]) -> str | None:
        costs = [price * self._segments[country, price] for country, price in keys if price is not None]
        return amount_text(sum(costs, Decimal(0))) if len(costs) == len(keys) else None


class PriceList:
    """The price of one segment, by the first digits of a number. The longest prefix decides.

    :param prices: by prefix; ``None``: 1 in the gateway's own country.
    """

    def __init__(self, prices: Iterable[tuple[str, Decimal]] | None, gateway: Gateway) -> None:
        own = ((gateway.number_plan.country_code, Decimal(1)),)
        self._prices: Mapping[str, Decimal] = dict(own if prices is None else prices)
        self._lengths = sorted({len(prefix) for prefix in self._prices}, reverse=True)
        self._gateway = gateway

    def estimate(self, texts: Iterable[tuple[Message, Recipient]]) -> CostEstimate:
        """Return what texts will cost.

        :param texts: the message and the recipient of each; those of a message come one after the other.
        """
        estimate = CostEstimate()
        for message, alike in groupby(texts, key=itemgetter(0)):
            segments = self._gateway.alphabet_of(message.text).count_segments(message.text)
            for _, recipient in alike:
                estimate.add(_country_of(recipient), self.price_of(recipient), segments)
        return estimate

    def price_of(self, recipient: Recipient) -> Decimal | None:
        """Return the price of a segment to a recipient; ``None`` if there is none."""
        if recipient.kind != PHONE:
            return None
        prefixes = (recipient.number[:length] for length in self._lengths)
        return next((self._prices[prefix] for prefix in prefixes if prefix in self._prices), None)


def _country_of(recipient: Recipient) -> str:
    """Return the calling code of a phone's country. It tells nothing of the phone."""
    return (country_code_of(recipient.number) if recipient.kind == PHONE else None) or ELSEWHERE
