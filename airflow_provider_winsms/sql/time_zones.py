"""The offsets of a time zone from UTC. Few databases know time zones by themselves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

HOUR, WEEK = 3600, 7 * 24 * 3600
"""In seconds."""


class Stretch(NamedTuple):
    """A time in which a zone has one offset from UTC, in seconds since 1970.

    :param end: the first second after it.
    :param offset: what is added to UTC.
    """

    begin: int
    end: int
    offset: int


def stretches(zone: tzinfo, begin: int, end: int, step: int = HOUR) -> Iterator[Stretch]:
    """Yield the stretches of a span of time.

    :param step: a time in which the zone does not change its offset twice. No zone does within an hour.
    """
    start, offset = begin, _offset(zone, begin)
    for at in range(begin, end, step):
        if _offset(zone, at + step) != offset:
            change = _change(zone, at, at + step)
            yield Stretch(start, change, offset)
            start, offset = change, _offset(zone, change)
    if start < end:
        yield Stretch(start, end, offset)


def _change(zone: tzinfo, before: int, after: int) -> int:
    """Return the first second with the offset of the second ``after``, which differs from that ``before``."""
    old = _offset(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == old:
            before = middle
        else:
            after = middle
    return after


def _offset(zone: tzinfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    return 0 if offset is None else offset // timedelta(seconds=1)
