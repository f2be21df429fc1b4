"""Pages of the usual shape: their rows are decoded into structs, in a third of the time that ``json`` takes.

A page with any other value is not decoded here. ``rows`` reads it as ``json`` decodes it.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

import msgspec

from airflow_provider_winsms.gateways.json_numbers import ID_END

Id = Annotated[int, msgspec.Meta(ge=0, le=ID_END - 1)]

Text = str | int | None
"""A text, or a number that stands for its digits: one document has texts for times, the other numbers."""


class ReceivedRow(msgspec.Struct, gc=False):
    """A text that a phone sent to the account."""

    message_id: Id = msgspec.field(name="incomingApiMessageId")
    number: Text = msgspec.field(default=None, name="mobileNumber")
    received_at: Text = msgspec.field(default=None, name="receiveTime")
    text: Text = msgspec.field(default=None, name="messageText")
    in_reply_to: Id | None = msgspec.field(default=None, name="outgoingApiMessageId")

    def __repr__(self) -> str:
        """Show no personal data."""
        return f"ReceivedRow(message_id={self.message_id})"


class UsualPage(msgspec.Struct):
    """The counts of a page, which has its rows under a key of their own."""

    offset: Id | None = msgspec.field(default=None, name="resultsOffset")
    total: Id | None = msgspec.field(default=None, name="resultsTotalAvailable")
    rows: list[ReceivedRow] = msgspec.field(default_factory=list)


@cache
def decoder_of(key: str) -> msgspec.json.Decoder[UsualPage]:
    """Return a decoder of pages that have their rows under a key."""
    rows = ("rows", list[ReceivedRow], msgspec.field(name=key))
    return msgspec.json.Decoder(msgspec.defstruct("UsualPage", [rows], bases=(UsualPage,), kw_only=True))


def decoded(decoder: msgspec.json.Decoder[UsualPage], body: bytes) -> UsualPage:
    """Decode an answer.

    :raises ValueError: it is not of the usual shape.
    """
    # msgspec passes over what it does not need, whatever bytes stand between the quotes.
    if not body.isascii():
        body.decode()
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError:
        msg = "not of the usual shape"
        raise ValueError(msg) from None
