"""What a DAG gives to send: one text to several recipients, or a text for each of them.

The checks refuse what can be refused without a gateway. ``compose`` makes the messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Integral
from typing import TYPE_CHECKING, Protocol

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import Message, Recipient, is_table, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.runtime import Log
    from airflow_provider_winsms.sending.composer import Composer

_SEGMENTS = re.compile(r"\s*\+?0*[1-9][0-9]{0,2}(\.0*)?\s*")
"""A number of segments, as a template or a data frame may write it. A gateway allows up to some number."""


class Content(Protocol):
    """What is sent, and to whom."""

    def compose(self, composer: Composer, log: Log) -> list[Message]:
        """Return the checked messages.

        :raises InvalidMessage: if a text, a number or a time is invalid.
        :raises NothingToSend: if there is no recipient.
        """


@dataclass(frozen=True, slots=True)
class OneText:
    """One text to its recipients; the parameters are those of ``Composer.compose``."""

    text: object = field(repr=False)
    to: object = field(repr=False)
    send_at: object = None
    max_segments: object = None

    def compose(self, composer: Composer, log: Log) -> list[Message]:
        """Return one message. Log how it is spelt, if that differs."""
        message = composer.compose(self.text, self.to, self.send_at, self.max_segments)
        if message.text != self.text:
            alphabet = composer.alphabet_of(message.text)
            segments = pluralize(alphabet.count_segments(message.text), "segment")
            log.info("The text was spelt in the alphabet %s; it takes %s.", alphabet.name, segments)
        return [message]


@dataclass(frozen=True, slots=True)
class TextRows:
    """A text for each row; a row maps the parameters of ``Composer.compose`` to values."""

    rows: Iterable[Mapping[str, object]] = field(repr=False)

    def compose(self, composer: Composer, log: Log) -> list[Message]:  # noqa: ARG002 - as of ``Content``
        """Return a message for each row."""
        check_messages("messages", self.rows)
        return composer.compose_rows(self.rows)


def check_text(_: str, text: object) -> None:
    """Check that a text has words, and no character that no gateway sends. The alphabet is the gateway's.

    :raises InvalidMessage: it has not.
    """
    from airflow_provider_winsms.gateways.alphabets import refuse_unsendable
    from airflow_provider_winsms.sending.composer import words_of

    refuse_unsendable(words_of(text))


def check_to(name: str, to: object) -> None:
    """Check that a parameter can hold numbers.

    :raises InvalidMessage: it is of another type.
    """
    is_number = isinstance(to, (Integral, Decimal, float, Recipient)) and not isinstance(to, bool)
    if not is_number and (isinstance(to, (bytes, Mapping)) or not hasattr(to, "__iter__")):
        msg = f"`{name}` is of type {type(to).__name__}. Give a number or a list of numbers."
        raise InvalidMessage(msg)


def check_send_at(_: str, send_at: object) -> None:
    """Check that a parameter is an aware time.

    :raises InvalidMessage: it is not.
    """
    from airflow_provider_winsms.sending.composer import parse_send_at

    parse_send_at(send_at)


def check_max_segments(name: str, most: object) -> None:
    """Check that a parameter can be a number of segments. How many a text may take is the gateway's.

    :raises InvalidMessage: it is not.
    """
    if isinstance(most, bool) or not _SEGMENTS.fullmatch(str(most)):
        msg = f"{name} must be a whole number from 1 on."
        raise InvalidMessage(msg)


def check_messages(name: str, messages: object) -> None:
    """Check that a parameter can hold rows.

    :raises InvalidMessage: it is of another type.
    """
    if is_table(messages):
        msg = (
            f'`{name}` is a {type(messages).__name__}. Give its rows: frame.to_dict("records") of pandas, '
            "frame.to_dicts() of Polars, table.to_pylist() of Arrow."
        )
        raise InvalidMessage(msg)
    if isinstance(messages, (str, Mapping)) or not hasattr(messages, "__iter__"):
        msg = f"`{name}` must be a list of {{'text': ..., 'to': ...}}."
        raise InvalidMessage(msg)
