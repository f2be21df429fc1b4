"""Message ids in few characters, for an XCom or the arguments of a trigger.

A gateway that counts its ids up gives a batch ids that lie close together. So the differences between them
are stored, compressed. 100,000 neighbours take some hundred characters. 100,000 random ids of ten digits take
about 360,000, and 1.2 million as a list.
"""

from __future__ import annotations

import json
import zlib
from base64 import b85decode, b85encode
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import id_order, message_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.messages import MessageId

_TEXTS = "t"
_NUMBERS = "n"


def pack(message_ids: Iterable[MessageId]) -> str:
    """Return ids as one text. Their order and repeats are lost."""
    ids = set(message_ids)
    if all(isinstance(message_id, int) for message_id in ids):
        return _NUMBERS + _compressed([after - before for before, after in pairwise([0, *sorted(ids)])])  # type: ignore[operator] # numbers
    return _TEXTS + _compressed(sorted(ids, key=id_order))


def unpack(packed: str) -> list[MessageId]:
    """Return the ids that were packed, in ascending order, by ``id_order``.

    :raises InvalidMessage: if the text is not what ``pack`` returned.
    """
    try:
        values = checked_ids(json.loads(zlib.decompress(b85decode(packed[1:]))))
        return values if packed.startswith(_TEXTS) else list(accumulate(values))
    except (ValueError, TypeError, RecursionError, zlib.error):
        msg = "The packed ids of the texts cannot be read."
        raise InvalidMessage(msg) from None


def checked_ids(ids: object) -> list[MessageId]:
    """Return ids that were stored as a list.

    :raises InvalidMessage: if it is no list of ids.
    """
    if not isinstance(ids, list) or any(type(each) is not int and not isinstance(each, str) for each in ids):
        msg = "The stored ids of the texts are no list of ids."
        raise InvalidMessage(msg)
    return [message_id_of(str(each)) for each in ids]


def _compressed(values: list[MessageId]) -> str:
    return b85encode(zlib.compress(json.dumps(values, separators=(",", ":")).encode(), 9)).decode("ascii")
