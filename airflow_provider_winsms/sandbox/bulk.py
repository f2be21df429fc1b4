"""Scripts for lists and statuses by the million. They encode each row once, or do not read the account."""

from __future__ import annotations

from array import array
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.sandbox.scripts import Listing
from airflow_provider_winsms.sandbox.wire import JsonRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_winsms.sandbox.scripts import ListQuery, Script

_CHUNK_SIZE = 1000


class BulkRows:
    """Rows of a list. They are encoded once, in chunks of a thousand, at the first request for them.

    :param encode: returns the row at an index of the list as JSON.
    """

    def __init__(self, encode: Callable[[int], str]) -> None:
        self._encode = encode
        self._chunk = cache(self._encoded)

    def prepare(self, rows: int) -> None:
        """Encode this many rows, so that no request waits for that."""
        for index in range(-(-rows // _CHUNK_SIZE)):
            self._chunk(index)

    def script(self, total: Callable[[], int]) -> Script:
        """Return a script that lists this many rows; the number may grow and shrink."""

        def listed(query: ListQuery) -> Listing:
            rows = total()
            end = min(query.offset + query.limit, rows)
            return Listing(self.between(query.offset, end), rows)

        return listed

    def between(self, begin: int, end: int) -> JsonRows:
        """Return the rows from one index up to, but not including, another."""
        rows = b"".join(self._slices(begin, end))
        return JsonRows(rows[:-1], max(0, end - begin))

    def _slices(self, begin: int, end: int) -> Iterator[bytes]:
        while begin < end:
            index, first = divmod(begin, _CHUNK_SIZE)
            last = min(end - index * _CHUNK_SIZE, _CHUNK_SIZE)
            chunk = self._chunk(index)
            is_whole = (first, last) == (0, _CHUNK_SIZE)
            yield chunk.rows if is_whole else chunk.rows[chunk.starts[first] : chunk.starts[last]]
            begin = index * _CHUNK_SIZE + last

    def _encoded(self, index: int) -> _EncodedChunk:
        rows, starts = bytearray(), array("I", [0])
        for row in range(index * _CHUNK_SIZE, (index + 1) * _CHUNK_SIZE):
            rows += f"{self._encode(row)},".encode()
            starts.append(len(rows))
        return _EncodedChunk(bytes(rows), starts)


class _EncodedChunk(NamedTuple):
    """Rows with a comma after each, the offset at which each starts, and the offset of the end."""

    rows: bytes
    starts: array[int]

    def __repr__(self) -> str:
        """Show no row."""
        return f"_EncodedChunk({len(self.starts) - 1} rows)"


def statuses(state: Callable[[], str]) -> Script:
    """Return a script that states the same status of every text.

    :param state: returns the fields of a status row except its id, as JSON without braces.
    """

    def listed(query: ListQuery) -> Listing:
        fields = state()
        rows = ",".join([f'{{"apiMessageId":{each},{fields}}}' for each in query.ids])
        return Listing(JsonRows(rows.encode(), len(query.ids)))

    return listed
