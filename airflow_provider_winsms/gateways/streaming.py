"""Reads a JSON document of any length row by row, while it arrives.

The rows are the values of one list, which stands under a key of the document. They are decoded by the
scanner of ``json`` itself, so that a row is what ``json.loads`` would make of it.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.gateways.numbers import decoded, scanned
from airflow_provider_winsms.gateways.pauses import with_pauses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    # Objects, but for rows that cannot be read.
    Row = Any

PART_ROWS = 1000
"""The most rows that are handed out together, unless a transport says otherwise."""

LONGEST_VALUE = 1024 * 1024
"""Characters: the longest row that is read, and the longest value beside the rows."""

_LONGEST_AT_A_STRETCH = 512 * 1024
_LEAST_READ = 64 * 1024
_NO_SPACE = re.compile(r"[^ \t\n\r]")
_BEGINS_A_NUMBER = "-0123456789"
_NO_NUMBER = re.compile(r"[^-+.0-9eE]")


class DocumentError(Exception):
    """A document that is not what it must be. The text says so with a verb, and quotes nothing of it."""


def parts_of(pieces: Iterable[bytes], key: str, most: int = PART_ROWS) -> Iterator[list[Row]]:
    """Yield the rows under ``key``: ``most`` at a time, or fewer if they are long.

    Parts are handed out while the document arrives; the last one, only when the document is known to be
    whole.

    :param pieces: the document in UTF-8, cut anywhere. What iterating over it raises is passed on.
    :raises DocumentError: it is not whole JSON, does not have one list under the key, or has a value that is
        too long.
    """
    document = _Document(pieces)
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


def document_of(body: bytes) -> Any:
    """Return a document as ``json.loads`` would make it, a long one row by row.

    ``json`` lets no other thread have its turn, an event loop's neither, until a document is decoded.

    :raises DocumentError: it is not whole JSON, or is long and has a value that is too long.
    """
    if len(body) > _LONGEST_AT_A_STRETCH:
        return _row_by_row(_Document([body]))
    try:
        return decoded(body)
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
    """Text that comes in pieces, and a place in it that only moves forward."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._is_all_here = False

    def names(self) -> Iterator[str]:
        """Yield the names of an object. Its value must have been taken before the next one."""
        for _ in self._elements("{", "}"):
            if self.peek() != '"':
                raise _not_whole()
            name, _length = self.value()
            self._take(":")
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
                length = end - self._at
                _check_length(length)
                self._at = end
                return value, length
            if self._is_all_here:
                raise _not_whole()
            self._read_on()

    def peek(self) -> str:
        """Go on to the next character that is not white space, and return it; empty at the end."""
        while True:
            found = _NO_SPACE.search(self._text, self._at)
            self._at = found.start() if found else len(self._text)
            if found or self._is_all_here:
                return found[0] if found else ""
            self._read_on()

    def end(self) -> None:
        """Read to the end, before which there must be nothing more."""
        if self.peek():
            raise _not_whole()

    def _elements(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        if self.peek() == closing:
            self._take(closing)
            return
        while True:
            yield
            if self._take("," + closing) == closing:
                return

    def _take(self, allowed: str) -> str:
        char = self.peek()
        if not char or char not in allowed:
            raise _not_whole()
        self._at += 1
        return char

    def _scanned(self) -> tuple[Any, int]:
        """Return the value here and its end: 0 if it is cut off, which looks like any other fault."""
        try:
            value, end = scanned(self._text, self._at)
        except ValueError:
            return None, 0
        except RecursionError:
            raise _not_whole() from None
        is_number = self._text[self._at] in _BEGINS_A_NUMBER
        if is_number and not self._is_all_here and not _NO_NUMBER.search(self._text, end):
            return None, 0
        return value, end

    def _read_on(self) -> None:
        rest = self._text[self._at :]
        _check_length(len(rest))
        read = bytearray()
        # Small pieces are gathered: a row of many would be scanned anew with each of them.
        while len(read) < _LEAST_READ and not self._is_all_here:
            piece = next(self._pieces, None)
            self._is_all_here = piece is None
            read += piece or b""
        try:
            self._text = rest + self._decoder.decode(read, final=self._is_all_here)
        except UnicodeDecodeError:
            raise _not_whole() from None
        self._at = 0


def _check_length(characters: int) -> None:
    if characters > LONGEST_VALUE:
        msg = f"has a value of more than {LONGEST_VALUE} characters"
        raise DocumentError(msg)


def _not_whole() -> DocumentError:
    return DocumentError("is not whole JSON")


def _no_rows(key: str) -> DocumentError:
    return DocumentError(f"does not have one list of rows under {key!r}")
