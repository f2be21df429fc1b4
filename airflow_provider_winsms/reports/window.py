"""The days that a report shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.options import zone_of

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Window:
    """The last days of a time zone, today included.

    :param days: how many.
    :param time_zone: an IANA name.
    :param until: an instant of the last day.
    :raises InvalidMessage: there are too many days, or none, or no such time zone.
    """

    days: int
    time_zone: str
    until: datetime

    def __post_init__(self) -> None:
        if not 1 <= self.days <= MOST_DAYS:
            msg = f"A report shows 1 to {MOST_DAYS} days; got {self.days}."
            raise InvalidMessage(msg)
        zone_of(self.time_zone)

    @property
    def since(self) -> datetime:
        """The beginning of the first day, in UTC."""
        return datetime.combine(self.dates[0], time(), zone_of(self.time_zone)).astimezone(UTC)

    @property
    def dates(self) -> Sequence[date]:
        """Its days."""
        last = self.until.astimezone(zone_of(self.time_zone)).date()
        return [last - timedelta(days=back) for back in reversed(range(self.days))]
