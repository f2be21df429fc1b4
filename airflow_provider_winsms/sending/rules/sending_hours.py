"""The rule that texts people only at hours at which they may be texted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from airflow_provider_winsms.exceptions import InvalidMessage, RefusedByRule
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.options import check_choice, items_of_text, shown
from airflow_provider_winsms.sending.rules.calendar import OpeningHours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from pendulum import DateTime

    from airflow_provider_winsms.sending.rules.base import Draft, RuleContext

OnClosed = Literal["schedule", "skip", "fail"]
"""What happens to a text that would go out at another hour."""

EXTRA_HOLIDAYS_OPTION = "extra_holidays"
"""The option of ``[winsms]`` with further holidays: dates with commas between them."""


@dataclass(frozen=True, slots=True, init=False)
class SendingHours:
    """Lets texts go out only at certain hours of a week, and not on public holidays.

    The hour is judged as late as possible: when a request leaves, or at the text's own ``send_at``. So a
    retry that runs after the hours obeys them, too.

    :param hours: the hours of each day, such as ``{"mon-fri": "08:00-20:00", "sat": "09:00-13:00"}``. On
        other days no text goes out.
    :param time_zone: the IANA name of the time zone of the hours.
    :param country: the country on whose public holidays no text goes out, as two letters (ISO 3166-1), by
        the library ``holidays``. ``None``: no public holidays.
    :param extra_holidays: further days without texts: dates, or their texts, such as ``"2026-11-04"``. The
        option ``extra_holidays`` of ``[winsms]`` in Airflow's configuration adds more, with commas.
    :param on_closed: what happens to a text that would go out at another hour. ``"schedule"``: the gateway
        holds it until the next opening. ``"skip"``: the recipient is taken out, as ``outside_hours``.
        ``"fail"``: the whole send is refused. If the hours end while a send is under way, ``"skip"`` and
        ``"fail"`` submit nothing more, and the task fails; a later try goes on.
    :param throughput: how many texts a minute the gateway passes on. What does not fit into the rest of the
        hours then counts as outside them. ``None``: a text goes out when it is submitted.
    :raises InvalidMessage: an argument is invalid.
    """

    opening: OpeningHours
    on_closed: OnClosed
    throughput: int | None

    def __init__(
        self,
        hours: Mapping[str, str],
        *,
        time_zone: str,
        country: str | None = None,
        extra_holidays: Sequence[date | str] = (),
        on_closed: OnClosed = "schedule",
        throughput: int | None = None,
    ) -> None:
        check_choice("on_closed", on_closed, OnClosed)
        is_count = isinstance(throughput, int) and not isinstance(throughput, bool) and throughput > 0
        if throughput is not None and not is_count:
            msg = f"throughput must be a whole number of texts a minute from 1 on; got {shown(throughput)}."
            raise InvalidMessage(msg)
        object.__setattr__(self, "opening", OpeningHours(hours, time_zone, country, extra_holidays))
        object.__setattr__(self, "on_closed", on_closed)
        object.__setattr__(self, "throughput", throughput)

    @classmethod
    def za_marketing(
        cls,
        *,
        on_closed: OnClosed = "schedule",
        extra_holidays: Sequence[date | str] = (),
        throughput: int | None = None,
    ) -> SendingHours:
        """Return the hours at which South African law lets you market to people at home.

        They are 08:00 to 20:00 from Monday to Friday and 09:00 to 13:00 on Saturdays, in South Africa, but
        never on Sundays and public holidays (Consumer Protection Act 68 of 2008, section 12, and the notice
        in R.293 of 2011). This is no legal advice.
        """
        law = OpeningHours.south_african_marketing(extra_holidays)
        return cls(
            law.hours,
            time_zone=law.time_zone,
            country=law.country,
            extra_holidays=law.extra_holidays,
            on_closed=on_closed,
            throughput=throughput,
        )

    def apply(self, draft: Draft, context: RuleContext) -> None:
        """Move, take out or refuse the texts that would go out at another hour.

        A text without a time of its own is not moved here, but when its request leaves.
        """
        hours = HoursOfTry(self, context)
        for entry in draft:
            opens_at = hours.opening_for(entry.send_at)
            if opens_at is None:
                continue
            if self.on_closed == "skip":
                draft.reject(entry.position, RejectReason.OUTSIDE_HOURS)
            elif self.on_closed == "fail":
                raise RefusedByRule(_refusal(entry.send_at or context.leaves_at, opens_at))
            else:
                context.gateway.require("schedule", "rules")
                if entry.send_at is not None:
                    draft.move(entry.position, opens_at)

    def dispatcher(self, context: RuleContext) -> HoursOfTry:
        """Return what decides about the requests of one try."""
        return HoursOfTry(self, context)


class HoursOfTry:
    """The hours in one try: when its texts go out, one after the other.

    :ivar most_recipients: of one request: with ``throughput`` as many as go out in a minute, so that a list
        is cut where the hours end.
    """

    def __init__(self, rule: SendingHours, context: RuleContext) -> None:
        extra = context.option(EXTRA_HOLIDAYS_OPTION)
        self._opening = rule.opening
        if extra:
            further = (
                *rule.opening.extra_holidays,
                *items_of_text(extra, f"[winsms] {EXTRA_HOLIDAYS_OPTION}"),
            )
            self._opening = replace(rule.opening, extra_holidays=further)
        self._on_closed = rule.on_closed
        self._throughput = rule.throughput
        self._leaves_at = context.leaves_at
        self._busy_until: DateTime | None = None
        self.most_recipients = rule.throughput

    def opening_for(self, send_at: DateTime | None) -> DateTime | None:
        """Return the opening that a text must wait for; ``None`` if it goes out within the hours.

        :param send_at: the time of the text. ``None``: as soon as possible, after those before it.
        """
        if send_at is None:
            found = self._fitting(self._leaves_at, 1)
            return None if found <= self._leaves_at else found
        found = self._opening.next_opening(send_at)
        return None if found.timestamp() <= send_at.timestamp() else found

    def time_of(self, at: DateTime, recipients: int) -> DateTime:
        """Return when the texts of a request go out.

        :raises RefusedByRule: if that is at another hour, and they may not wait.
        """
        found = self._fitting(at, recipients)
        if found > at and self._on_closed != "schedule":
            raise RefusedByRule(_refusal(at, found))
        return found

    def _fitting(self, at: DateTime, recipients: int) -> DateTime:
        """Return when texts can go out that are submitted at some time, all of them within the hours."""
        if self._throughput is None:
            return self._opening.next_opening(at)
        begin = self._opening.next_opening(at if self._busy_until is None else max(at, self._busy_until))
        takes = timedelta(minutes=recipients / self._throughput)
        if begin + takes > self._opening.closes_at(begin):
            begin = self._opening.next_opening(self._opening.closes_at(begin))
        self._busy_until = begin + takes
        # In the hours of now, the gateway itself lets the texts wait until those before them are out.
        is_now = self._opening.is_open(at) and begin < self._opening.closes_at(at)
        return at if is_now else begin


def _refusal(at: DateTime, opens_at: DateTime) -> str:
    return (
        f"The sending hours allow no text at {at.isoformat(timespec='minutes')}; the next opening is at "
        f"{opens_at.isoformat(timespec='minutes')}. Nothing more was submitted. Run the task then, or give "
        'on_closed="schedule".'
    )
