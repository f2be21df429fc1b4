"""Columns of rows, in forms that make many values at once, or none before they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pendulum import DateTime

T = TypeVar("T")
U = TypeVar("U")


class DictionaryColumn(Sequence[T]):
    """A column that stores each distinct value once, under a key (dictionary encoding).

    :param keys: the key of each row's value.
    :param values: the values, by their keys.
    """

    __slots__ = ("keys", "values")

    def __init__(self, keys: Sequence[Any], values: Mapping[Any, T]) -> None:
        self.keys = keys
        self.values = values

    @classmethod
    def constant(cls, value: T, length: int) -> DictionaryColumn[T]:
        """Return a column whose rows all have one value."""
        return cls([None] * length, {None: value})

    @property
    def is_constant(self) -> bool:
        """Whether all rows surely have one value."""
        return len(self.values) == 1

    def map(self, convert: Callable[[T], U]) -> DictionaryColumn[U]:
        """Return the column of converted values. Each distinct value is converted once."""
        return DictionaryColumn(self.keys, {key: convert(value) for key, value in self.values.items()})

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[T]:
        return map(self.values.__getitem__, self.keys)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> DictionaryColumn[T]: ...
    def __getitem__(self, index: int | slice) -> T | DictionaryColumn[T]:
        if isinstance(index, slice):
            return DictionaryColumn(self.keys[index], self.values)
        return self.values[self.keys[index]]


class Times(Sequence["DateTime | None"]):
    """A column of times, which are read from a gateway's texts when they are asked for.

    :param texts: the gateway's text for each time.
    :param read: reads a text as a time; ``None`` if it is none.
    :param read_instant: reads a text as its instant: ISO 8601 in UTC, such as ``2026-01-01T10:00:00+00:00``;
        ``None`` if it is none.
    """

    __slots__ = ("_read", "_read_instant", "_texts")

    def __init__(
        self,
        texts: Sequence[str],
        read: Callable[[str], DateTime | None],
        read_instant: Callable[[str], str | None],
    ) -> None:
        self._texts = texts
        self._read = read
        self._read_instant = read_instant

    def instants(self) -> DictionaryColumn[str | None]:
        """Return the instants of the times, without the times, which would take ten times as long."""
        return DictionaryColumn(self._texts, {text: self._read_instant(text) for text in set(self._texts)})

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[DateTime | None]:
        return map({text: self._read(text) for text in set(self._texts)}.__getitem__, self._texts)

    @overload
    def __getitem__(self, index: int) -> DateTime | None: ...
    @overload
    def __getitem__(self, index: slice) -> Times: ...
    def __getitem__(self, index: int | slice) -> DateTime | Times | None:
        if isinstance(index, slice):
            return Times(self._texts[index], self._read, self._read_instant)
        return self._read(self._texts[index])


class LazyColumn(Sequence[T]):
    """A column that is made when its first value is asked for.

    :param make: makes it.
    """

    __slots__ = ("_made",)

    def __init__(self, make: Callable[[], Sequence[T]]) -> None:
        self._made: Callable[[], Sequence[T]] | Sequence[T] = make

    @property
    def _values(self) -> Sequence[T]:
        if callable(self._made):
            self._made = self._made()
        return self._made

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[T]:
        return iter(self._values)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> LazyColumn[T]: ...
    def __getitem__(self, index: int | slice) -> T | LazyColumn[T]:
        if isinstance(index, slice):
            return LazyColumn(lambda: self._values[index])
        return self._values[index]
