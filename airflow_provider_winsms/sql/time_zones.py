"""The periods in which a time zone has one offset from UTC. Few databases know time zones by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

FIRST_YEAR, LAST_YEAR = 2020, 2040
"""The years whose offsets are known. Before and after them the nearest one holds."""

_SECOND, _WEEK = timedelta(seconds=1), timedelta(days=7)


class Period(NamedTuple):
    """A time with one offset, until the next period starts.

    :param start: in UTC. The first period holds before it, too.
    :param offset: what is added to UTC.
    """

    start: datetime
    offset: timedelta


@cache
def periods_of(zone: tzinfo) -> Sequence[Period]:
    """Return the periods of a time zone, in their order."""
    at = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
    found = [Period(at, _offset(zone, at))]
    while at.year <= LAST_YEAR:
        # No time zone changed its offset and changed it back within a week in these years.
        later = at + _WEEK
        if _offset(zone, later) != found[-1].offset:
            start = _change(zone, at, later)
            found.append(Period(start, _offset(zone, start)))
        at = later
    return found


def _change(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """Return the first second with another offset."""
    offset = _offset(zone, before)
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(zone: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)
