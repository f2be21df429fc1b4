"""Times on the wire of WinSMS: digits on the clock of a zone, to the minute."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import pendulum
from pendulum import DateTime

_TIME_STAMP = re.compile(r"[0-9]{17}")
_WIRE_TIME_DIGITS = 12
SECONDS_PER_MINUTE = 60
_MINUTES_PER_HOUR = 60
_FIFTY_NINE_MINUTES = timedelta(minutes=59)
_HOUR = timedelta(hours=1)
_DAY_DIGITS = 8
_TO_THE_HOUR = len("2026-01-01T10:")


def parse_time(digits: str, time_zone: str) -> DateTime | None:
    """Read twelve digits, a minute on the clock of a zone; ``None`` if they are not a time."""
    if len(digits) != _WIRE_TIME_DIGITS or not digits.isdecimal():
        return None
    hour, minute = _hour(digits[:10], time_zone), int(digits[10:])
    if hour is None or minute >= _MINUTES_PER_HOUR:
        return None
    if hour.has_constant_offset:
        begin = hour.begin
        zone = begin.tzinfo
        return DateTime(begin.year, begin.month, begin.day, begin.hour, minute, tzinfo=zone, fold=begin.fold)
    return parse_minute(digits, time_zone)


class _Hour(NamedTuple):
    """An hour on a clock.

    :param has_constant_offset: whether all its minutes have the same offset from UTC.
    """

    begin: DateTime
    has_constant_offset: bool


@lru_cache(maxsize=4096)
def _hour(digits: str, time_zone: str) -> _Hour | None:
    """Read an hour. It is cached: many texts have the same hour, and reading one is slow."""
    begin, end = parse_minute(f"{digits}00", time_zone), parse_minute(f"{digits}59", time_zone)
    if begin is None or end is None:
        return None
    return _Hour(begin, end - begin == _FIFTY_NINE_MINUTES and begin.hour == int(digits[8:]))


def parse_instant(digits: str, time_zone: str) -> str | None:
    """Read twelve digits as ``parse_time`` does, and return their instant: ISO 8601 in UTC.

    The instants of an hour differ in their minutes only, so most are made without a time.
    """
    minute = digits[10:]
    if len(digits) == _WIRE_TIME_DIGITS and digits.isascii() and digits.isdecimal() and minute < "60":
        hour = _hour_in_utc(digits[:10], time_zone)
        if hour is not None:
            return f"{hour}{minute}:00+00:00"
    time = parse_time(digits, time_zone)
    return None if time is None else datetime.fromtimestamp(time.timestamp(), tz=UTC).isoformat()


@lru_cache(maxsize=4096)
def _hour_in_utc(digits: str, time_zone: str) -> str | None:
    """Return the beginning of the instants in an hour: ``2026-01-01T10:``.

    :returns: ``None`` if the calendar lacks the hour, or its day has more than one offset from UTC,
        or one that is no whole number of hours.
    """
    offset = _offset_of_day(digits[:8], time_zone)
    if offset is None or offset % _HOUR:
        return None
    try:
        hour = _clock(digits).replace(tzinfo=UTC) - offset
    except (ValueError, OverflowError):
        return None
    return hour.isoformat()[:_TO_THE_HOUR]


@lru_cache(maxsize=1024)
def _offset_of_day(digits: str, time_zone: str) -> timedelta | None:
    """Return the offset from UTC of all times of a day; ``None`` if it changes, or there is no such day."""
    offset_of = pendulum.timezone(time_zone).utcoffset
    try:
        day = _clock(digits)
        times = [day + hour * _HOUR for hour in range(24)] + [day + timedelta(hours=23, minutes=59)]
    except (ValueError, OverflowError):
        return None
    offsets = {offset_of(time.replace(fold=fold)) for time in times for fold in (0, 1)}
    return offsets.pop() if len(offsets) == 1 else None


def _clock(digits: str) -> datetime:
    """Read the digits of a day, or of an hour, without a zone.

    :raises ValueError: the calendar lacks it.
    """
    hour = int(digits[8:]) if len(digits) > _DAY_DIGITS else 0
    # The callers know the zone.
    return datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:8]), hour)  # noqa: DTZ001


def parse_minute(digits: str, time_zone: str) -> DateTime | None:
    """Read twelve digits as a minute; ``None`` if the calendar lacks it."""
    year, month, day, hour, minute = int(digits[:4]), *(int(digits[i : i + 2]) for i in (4, 6, 8, 10))
    try:
        time = pendulum.datetime(year, month, day, hour, minute, tz=time_zone)
        # A placeholder for no time, such as the first minute of year 1, may not exist in UTC.
        time.in_timezone("UTC")
    except (ValueError, OverflowError):
        return None
    return time


def stated_time(document: Any, time_zone: str) -> DateTime | None:
    """Read ``timeStamp``. Its zone is not documented; it is read in the zone of the other times."""
    digits = str(document.get("timeStamp")) if isinstance(document, dict) else ""
    if not _TIME_STAMP.fullmatch(digits):
        return None
    minute = parse_minute(digits[:_WIRE_TIME_DIGITS], time_zone)
    milliseconds = int(digits[_WIRE_TIME_DIGITS:])
    return minute and minute.add(microseconds=milliseconds * 1000)


def is_time_stamp(value: object) -> bool:
    """Whether a value is a time stamp of an answer."""
    return isinstance(value, str) and _TIME_STAMP.fullmatch(value) is not None


@lru_cache(maxsize=4096)
def first_unambiguous_minute(seconds: int, time_zone: str) -> int:
    """Return the first minute, from the given one on, that is written like no other."""
    minute = pendulum.from_timestamp(seconds).in_timezone(time_zone)
    while minute.replace(fold=0).utcoffset() != minute.replace(fold=1).utcoffset():
        seconds += SECONDS_PER_MINUTE
        minute = pendulum.from_timestamp(seconds).in_timezone(time_zone)
    return seconds
