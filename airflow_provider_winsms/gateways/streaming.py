"""Streaming: a JSON document of any length is read row by row, while it arrives.

The rows are the values of one list under a key of the document. The scanner of ``json`` itself decodes them,
so each row equals the result of ``json.loads``.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.gateways.json_numbers import decode, scan
from airflow_provider_winsms.gateways.pauses import with_pauses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    # An object, or anything else where the row is unreadable.
    Row = Any

PART_ROWS = 1000
"""The most rows of one part, unless a transport sets another number."""

LONGEST_VALUE = 1024 * 1024
"""Characters: the longest row, and the longest value beside the rows, that are read."""

MIN_READ_BYTES = 64 * 1024
"""Chunks are gathered until they are this long, and decoded together."""

LONGEST_DECODED_AT_ONCE = 512 * 1024
"""Bytes: longer documents are decoded row by row."""

_NOT_SPACE = re.compile(r"[^ \t\n\r]")
_NUMBER_STARTS = "-0123456789"
_NOT_IN_NUMBER = re.compile(r"[^-+.0-9eE]")


class DocumentError(Exception):
    """The document is malformed. The text is a verb phrase, and quotes nothing of the document."""


def parts_of(
    chunks: Iterable[bytes], key: str, most: int = PART_ROWS, min_read_bytes: int = MIN_READ_BYTES
) -> Iterator[list[Row]]:
    """Yield the rows under ``key`` in parts of ``most`` rows, or of fewer if they are long.

    Parts are yielded while the document arrives. The last part is yielded only after the document has proved
    to be whole.

    :param chunks: the document in UTF-8, cut anywhere. Errors of the iteration are passed on.
    :param min_read_bytes: the fewest bytes that are decoded together.
    :raises DocumentError: the document is not whole JSON, does not have one list under the key, or has a
        value that is too long.
    """
    document = _Document(chunks, min_read_bytes)
    last: list[Row] = []
    has_rows = False
    for name in document.names():
        if name != key:
            document.value()
        elif has_rows or document.peek() != "[":
            raise _no_rows(key)
        else:
            has_rows = True
            for part in _parts(document, most):
                if last:
                    yield last
                last = part
    document.end()
    if not has_rows:
        raise _no_rows(key)
    if last:
        yield last


def document_of(body: bytes, longest_at_once: int = LONGEST_DECODED_AT_ONCE) -> Any:
    """Decode a document like ``json.loads``, a long one row by row.

    ``json`` blocks all other threads, and so an event loop, until it has decoded a document.

    :param longest_at_once: the bytes of the longest document that is not decoded row by row.
    :raises DocumentError: the document is not whole JSON, or it is long and has a value that is too long.
    """
    if len(body) > longest_at_once:
        return _row_by_row(_Document([body], MIN_READ_BYTES))
    try:
        return decode(body)
    except (ValueError, RecursionError):
        raise _not_whole() from None


def _row_by_row(document: _Document) -> Any:
    result = _object(document) if document.peek() == "{" else document.value()[0]
    document.end()
    return result


def _object(document: _Document) -> dict[str, Any]:
    return {
        name: list(_elements(document)) if document.peek() == "[" else document.value()[0]
        for name in document.names()
    }


def _elements(document: _Document) -> Iterator[Any]:
    return (row for row, _ in with_pauses(document.values()))


def _parts(document: _Document, most: int) -> Iterator[list[Row]]:
    part: list[Row] = []
    characters = 0
    for row, length in document.values():
        part.append(row)
        characters += length
        if len(part) == most or characters > LONGEST_VALUE:
            yield part
            part, characters = [], 0
    if part:
        yield part


class _Document:
    """A text that arrives in chunks, and a position in it that only moves forward."""

    def __init__(self, chunks: Iterable[bytes], min_read_bytes: int) -> None:
        self._chunks = iter(chunks)
        self._min_read_bytes = min_read_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._position = 0
        self._is_complete = False

    def names(self) -> Iterator[str]:
        """Yield the names of an object. Take the value of each before the next name."""
        for _ in self._elements("{", "}"):
            if self.peek() != '"':
                raise _not_whole()
            name, _length = self.value()
            self._expect(":")
            yield name

    def values(self) -> Iterator[tuple[Any, int]]:
        """Yield the values of a list, each with its length in characters."""
        for _ in self._elements("[", "]"):
            yield self.value()

    def value(self) -> tuple[Any, int]:
        """Take one value, and return it with its length in characters."""
        self.peek()
        while True:
            value, end = self._scanned()
            if end:
                length = end - self._position
                _check_length(length)
                self._position = end
                return value, length
            if self._is_complete:
                raise _not_whole()
            self._read_more()

    def peek(self) -> str:
        """Move to the next character that is not white space, and return it; empty at the end."""
        while True:
            found = _NOT_SPACE.search(self._text, self._position)
            self._position = found.start() if found else len(self._text)
            if found or self._is_complete:
                return found[0] if found else ""
            self._read_more()

    def end(self) -> None:
        """Check that nothing but white space is left."""
        if self.peek():
            raise _not_whole()

    def _elements(self, opening: str, closing: str) -> Iterator[None]:
        self._expect(opening)
        if self.peek() == closing:
            self._expect(closing)
            return
        while True:
            yield
            if self._expect("," + closing) == closing:
                return

    def _expect(self, allowed: str) -> str:
        char = self.peek()
        if not char or char not in allowed:
            raise _not_whole()
        self._position += 1
        return char

    def _scanned(self) -> tuple[Any, int]:
        """Return the next value and its end; 0 if it is cut off or malformed, which look the same."""
        try:
            value, end = scan(self._text, self._position)
        except ValueError:
            return None, 0
        except RecursionError:
            raise _not_whole() from None
        is_number = self._text[self._position] in _NUMBER_STARTS
        if is_number and not self._is_complete and not _NOT_IN_NUMBER.search(self._text, end):
            return None, 0
        return value, end

    def _read_more(self) -> None:
        rest = self._text[self._position :]
        _check_length(len(rest))
        read = bytearray()
        # Small chunks are joined: a row of many chunks would else be scanned again for each of them.
        while len(read) < self._min_read_bytes and not self._is_complete:
            chunk = next(self._chunks, None)
            self._is_complete = chunk is None
            read += chunk or b""
        try:
            self._text = rest + self._decoder.decode(read, final=self._is_complete)
        except UnicodeDecodeError:
            raise _not_whole() from None
        self._position = 0


def _check_length(characters: int) -> None:
    if characters > LONGEST_VALUE:
        msg = f"has a value of more than {LONGEST_VALUE} characters"
        raise DocumentError(msg)


def _not_whole() -> DocumentError:
    return DocumentError("is not whole JSON")


def _no_rows(key: str) -> DocumentError:
    return DocumentError(f"does not have one list of rows under {key!r}")
