"""What is sent, in counts: for the page of a task, which shows no number and no personal text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_winsms.sending.message_list import MessageList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.messages import Message

# A few signs between digits do not hide a number from a reader. Letters do.
_NUMBER = re.compile(r"\d(?:[\W_]{0,3}\d){4,}")


def recipients_in_words(messages: Sequence[Message]) -> str:
    """Return ``5,000 recipients``."""
    if isinstance(messages, MessageList):
        return grouped(messages.recipients, "recipient")
    return grouped(sum(len(message.recipients) for message in messages), "recipient")


def messages_in_words(messages: Sequence[Message]) -> str:
    """Return ``3 messages to 120 recipients``."""
    return f"{grouped(len(messages), 'message')} to {recipients_in_words(messages)}"


def size_in_words(text: str, gateway: Gateway) -> str:
    """Return the size of a spelled text: ``1 segment, 63 of 160 septets``."""
    alphabet = gateway.alphabet_of(text)
    units, segments = alphabet.size_of(text)
    return f"{grouped(segments, 'segment')}, {units:,} of {alphabet.units_in(segments):,} {alphabet.unit}"


def grouped(count: int, thing: str) -> str:
    """Return ``1 recipient``, ``5,000 recipients``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def not_shown(words: str) -> str:
    """Return counts in place of a value: ``5,000 recipients, not shown``."""
    return f"{words}, not shown"


def mask_numbers(text: str) -> str:
    """Return a text with six stars in place of each run of five digits or more, also if they are spaced."""
    return _NUMBER.sub("******", text)
