"""Lists and statuses by the million: rows that are encoded once, or without a look at the account."""

from __future__ import annotations

from array import array
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.sandbox.scripts import Listing
from airflow_provider_winsms.sandbox.wire import Encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_winsms.sandbox.scripts import Asked, Script

_CHUNK = 1000


class BulkRows:
    """Rows of a list, encoded once, a thousand at a time, when they are first asked for.

    :param encode: returns the row at a place of the list, from 0 on, as JSON.
    """

    def __init__(self, encode: Callable[[int], str]) -> None:
        self._encode = encode
        self._chunk = cache(self._encoded)

    def prepare(self, rows: int) -> None:
        """Encode that many, so that no request waits for them."""
        for place in range(-(-rows // _CHUNK)):
            self._chunk(place)

    def script(self, total: Callable[[], int]) -> Script:
        """Return a script that lists so many of the rows; the number may grow and shrink."""

        def listed(asked: Asked) -> Listing:
            rows = total()
            end = min(asked.offset + asked.limit, rows)
            return Listing(self.between(asked.offset, end), rows)

        return listed

    def between(self, begin: int, end: int) -> Encoded:
        """Return the rows from one place to another, which is left out."""
        rows = b"".join(self._slices(begin, end))
        return Encoded(rows[:-1], max(0, end - begin))

    def _slices(self, begin: int, end: int) -> Iterator[bytes]:
        while begin < end:
            place, first = divmod(begin, _CHUNK)
            last = min(end - place * _CHUNK, _CHUNK)
            chunk = self._chunk(place)
            is_whole = (first, last) == (0, _CHUNK)
            yield chunk.rows if is_whole else chunk.rows[chunk.begins[first] : chunk.begins[last]]
            begin = place * _CHUNK + last

    def _encoded(self, place: int) -> _BulkPage:
        rows, begins = bytearray(), array("I", [0])
        for row in range(place * _CHUNK, (place + 1) * _CHUNK):
            rows += f"{self._encode(row)},".encode()
            begins.append(len(rows))
        return _BulkPage(bytes(rows), begins)


class _BulkPage(NamedTuple):
    """Rows with a comma after each; where each begins, and where the last one ends."""

    rows: bytes
    begins: array[int]

    def __repr__(self) -> str:
        """Show no row."""
        return f"_BulkPage({len(self.begins) - 1} rows)"


def statuses(state: Callable[[], str]) -> Script:
    """Return a script that says the same of every text, whichever is asked for.

    :param state: returns the fields of a status row but its id, as JSON without braces.
    """

    def listed(asked: Asked) -> Listing:
        fields = state()
        rows = ",".join([f'{{"apiMessageId":{each},{fields}}}' for each in asked.ids])
        return Listing(Encoded(rows.encode(), len(asked.ids)))

    return listed
