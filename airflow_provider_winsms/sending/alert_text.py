"""The text of an alert: whatever a task failed with, a text goes out that the gateway takes."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage

if TYPE_CHECKING:
    from pendulum import DateTime

    from airflow_provider_winsms.gateways.alphabets import Alphabet
    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.ledger.base import HeldBack

_UNREADABLE = "?"
_CUT = "..."
_BLANKS = re.compile(r"\s+")


def alert_text(text: str, held_back: HeldBack, now: DateTime, gateway: Gateway, max_segments: int) -> str:
    """Return the text to send: shortened to some segments, with the count of alerts that were held back.

    Blanks and line ends become one blank. A question mark stands in place of each character that the gateway
    cannot send.

    :param now: in the time zone in which times are told.
    """
    end = held_back_in_words(held_back, now)
    alphabet = gateway.alphabet_of(text)
    words = _spelled(_BLANKS.sub(" ", text).strip(), alphabet)
    if alphabet.count_segments(words + end) <= max_segments:
        return words + end

    def segments_of(length: int) -> int:
        return alphabet.count_segments(words[:length] + _CUT + end)

    fits = bisect_right(range(len(words)), max_segments, key=segments_of)
    return words[: max(0, fits - 1)].rstrip() + _CUT + end


def held_back_in_words(held_back: HeldBack, now: DateTime) -> str:
    """Return the sentence to append, such as `` 37 more since 02:10.``; empty if nothing was held back."""
    if held_back.since is None:
        return ""
    since = held_back.since.in_timezone(now.timezone or "UTC")
    is_today = since.date() == now.date()
    return f" {held_back.alerts} more since {since.format('HH:mm' if is_today else 'D MMM HH:mm')}."


def _spelled(text: str, alphabet: Alphabet) -> str:
    try:
        return alphabet.spell(text)
    except InvalidMessage:
        return "".join(_spelled(each, alphabet) if len(text) > 1 else _UNREADABLE for each in text)
