"""The texts of one wait: which are still open, what their states are, and whether the wait is settled.

A task that waits on a worker and a trigger use the same tracker. It knows neither Airflow nor HTTP. Its
caller passes the present in, in seconds since the epoch.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from decimal import Decimal
from itertools import compress, islice
from operator import eq
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.delivery.outcome import REPORTS_KEPT, DeliveryOutcome
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, id_order, pluralize
from airflow_provider_winsms.options import check_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_winsms.gateways.base import Call, Gateway
    from airflow_provider_winsms.messages import Answers, MessageId

    StatusCall = Call[Answers[DeliveryReport]]

IDS_NAMED = 20
"""How many ids of unreadable rows one log line names."""


class _Status(NamedTuple):
    """What is kept of a report. Many texts share one."""

    state: DeliveryState
    code: str = ""
    cost: Decimal | None = Decimal(0)


_NO_REPORT = _Status(DeliveryState.UNKNOWN)


class DeliveryTracker:
    """Tracks texts until each is final, or too few can still arrive. It takes 13 bytes for each text.

    A gateway may know a text, lose it for a moment, and know it again. So an unknown id is final only after
    its grace, and only if all answers for ``not_found_holds`` seconds said that it is unknown.

    :param message_ids: in any order.
    :param min_delivered: the share, 0 to 1, of the texts that must arrive.
    :param grace_until: until then an unknown id may be one that the gateway has just made; seconds since the
        epoch.
    :param not_found_holds: the shortest time in seconds from the first answer that an id is unknown to the
        last one, with no other answer between them.
    :param currency: of the costs in reports.
    :raises InvalidMessage: if ``min_delivered`` is no share.
    """

    def __init__(
        self,
        message_ids: Iterable[MessageId],
        *,
        min_delivered: float,
        grace_until: float,
        not_found_holds: float,
        currency: str = "",
    ) -> None:
        check_share("min_delivered", min_delivered)
        self._ids = _compact(message_ids)
        self._is_open = bytearray(b"\x01") * len(self._ids)
        self._status_indexes = array("I", bytes(4 * len(self._ids)))
        self._index_of = {_NO_REPORT: 0}
        self._grace_until = grace_until
        self._not_found_holds = not_found_holds
        self._currency = currency
        self._not_found_since: dict[int, float] = {}
        # The subtraction removes a rounding error: 0.07 * 100 is 7.000000000000001.
        self._needed = math.ceil(min_delivered * len(self._ids) - 1e-9)
        self._open = len(self._ids)
        self._lost = 0

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def message_ids(self) -> Sequence[MessageId]:
        """All ids, in their order."""
        return self._ids

    def open_ids(self, after: MessageId | None = None) -> Iterator[MessageId]:
        """Iterate over the ids that are still open, in their order.

        :param after: one of the ids, after which they begin; ``None`` for all of them.
        """
        if after is None:
            return compress(self._ids, self._is_open)
        begin = self._place_of(after) + 1
        return compress(islice(self._ids, begin, None), islice(self._is_open, begin, None))

    def is_open(self, message_id: MessageId) -> bool:
        """Whether it is an id that is still open."""
        return self._find(message_id) is not None

    def calls(self, gateway: Gateway) -> Iterator[StatusCall]:
        """Describe the requests of one poll: all open ids, in as few requests as the limit allows.

        Stops in the middle of a poll if its answers have settled the wait.
        """
        ids, size = list(self.open_ids()), gateway.limits.status_ids
        for start in range(0, len(ids), size):
            if self.is_settled:
                return
            yield gateway.delivery_reports(ids[start : start + size])

    def changes(self, reports: Iterable[DeliveryReport]) -> list[DeliveryReport]:
        """Return the reports that change the status of an open text."""
        return [report for report in reports if self._is_change(report)]

    def record(self, reports: Iterable[DeliveryReport], now: float) -> None:
        """Record what the gateway answered."""
        for report in reports:
            at = self._find(report.message_id)
            if at is not None:
                self._record(at, report, now)

    @property
    def is_settled(self) -> bool:
        """Whether waiting longer changes nothing: every id is final, or too few can still arrive."""
        return not self._open or len(self._ids) - self._lost < self._needed

    def states(self) -> dict[str, int]:
        """Return how many texts are in each state, without the states of none."""
        statuses = list(self._index_of)
        counts = Counter[DeliveryState]()
        for place, count in Counter(self._status_indexes).items():
            counts[statuses[place].state] += count
        return {state.value: counts[state] for state in DeliveryState if counts[state]}

    def outcome(self) -> DeliveryOutcome:
        """Return the outcome as it is now."""
        statuses = list(self._index_of)
        cost: Decimal | None = Decimal(0)
        for place, count in Counter(self._status_indexes).items():
            price = statuses[place].cost
            cost = None if cost is None or price is None else cost + price * count
        return DeliveryOutcome(
            total=len(self._ids),
            needed=self._needed,
            states=self.states(),
            cost=cost,
            currency=self._currency,
            undelivered=tuple(self._undelivered(statuses)),
        )

    def _undelivered(self, statuses: Sequence[_Status]) -> Iterator[DeliveryReport]:
        lost = {place for place, status in enumerate(statuses) if not status.state.is_delivered}
        pairs = zip(self._ids, self._status_indexes, strict=True)
        undelivered = (pair for pair in pairs if pair[1] in lost)
        for message_id, place in islice(undelivered, REPORTS_KEPT):
            yield DeliveryReport(message_id, *statuses[place])

    def _is_change(self, report: DeliveryReport) -> bool:
        at = self._find(report.message_id)
        return at is not None and self._status_indexes[at] != self._index_of.get(_status(report), -1)

    def _find(self, message_id: MessageId) -> int | None:
        """Return the index of an open id."""
        if isinstance(self._ids, array) and not isinstance(message_id, int):
            return None
        at = self._place_of(message_id)
        is_there = at < len(self._ids) and self._ids[at] == message_id and self._is_open[at]
        return at if is_there else None

    def _place_of(self, message_id: MessageId) -> int:
        """Return the index of an id, or where it would be."""
        if isinstance(self._ids, array):
            return bisect_left(self._ids, message_id)
        return bisect_left(self._ids, id_order(message_id), key=id_order)

    def _record(self, at: int, report: DeliveryReport, now: float) -> None:
        self._status_indexes[at] = self._index_of.setdefault(_status(report), len(self._index_of))
        if report.state is not DeliveryState.NOT_FOUND:
            self._not_found_since.pop(at, None)
            is_final = report.state.is_final
        else:
            is_final = self._is_lost(at, now)
        if is_final:
            self._not_found_since.pop(at, None)
            self._is_open[at] = 0
            self._open -= 1
            self._lost += not report.state.is_delivered

    def _is_lost(self, at: int, now: float) -> bool:
        """Return whether a text that the gateway does not know now was unknown for long enough."""
        since = self._not_found_since.setdefault(at, now)
        return now >= max(self._grace_until, since + self._not_found_holds)


class UnreadableIds:
    """Names the ids whose rows cannot be read in a log, each id once."""

    def __init__(self) -> None:
        self._named: set[MessageId] = set()

    def name(self, ids: Iterable[MessageId], log: Any) -> None:
        """Log the ids that were not named before."""
        new = [message_id for message_id in ids if message_id not in self._named]
        if new:
            self._named.update(new)
            shown = ", ".join(map(str, new[:IDS_NAMED])) + (", ..." if len(new) > IDS_NAMED else "")
            log.warning(
                "The gateway's status of %s cannot be read: %s. Their states stay unchanged.",
                pluralize(len(new), "text"),
                shown,
            )


def _status(report: DeliveryReport) -> _Status:
    return _Status(report.state, report.code, report.cost)


def _compact(message_ids: Iterable[MessageId]) -> Sequence[MessageId]:
    """Return ids in their order, each once; in an array if they are 64-bit integers, 8 bytes for each."""
    # A million ids that are in their order, as a ledger has them, are sorted at once. A set would lose it.
    ids = list(message_ids)
    try:
        array("q", ids)  # type: ignore[type-var] # it refuses what it cannot hold
    except (TypeError, OverflowError):
        return sorted(set(ids), key=id_order)
    ids.sort()
    if any(map(eq, ids, islice(ids, 1, None))):
        ids = sorted(set(ids))
    return array("q", ids)  # type: ignore[type-var] # it refused what it cannot hold
