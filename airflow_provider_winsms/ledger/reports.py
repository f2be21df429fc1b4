"""Delivery reports in the ledger's tables."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.ledger.database import chunks, id_text, transaction
from airflow_provider_winsms.ledger.schema import REPORTED_FROM
from airflow_provider_winsms.ledger.statements import (
    READ_END_OF_WINDOW,
    READ_OPEN_MESSAGES,
    REPORT_MESSAGES,
    with_times,
)
from airflow_provider_winsms.messages import DeliveryState, message_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.messages import DeliveryReport, MessageId

NOT_FOUND_MAY_PASS = timedelta(days=2)
"""How long an id is asked for that the gateway does not know. The time counts from when its text was due, as
the id may be too new, and from when the gateway first did not know it, as it may know it again. If one
nightly refresh comes too early for a text, the next one still asks for it."""

_REPORTS_AT_ONCE = 10_000
"""The number of reports in one transaction."""

_BEFORE_ALL = ""
"""It comes before all ids, as none is empty."""

_TIMES_AT_ONCE = 250
"""The number of delivery times in one statement, which tries them one after the other."""


class OpenMessage(NamedTuple):
    """A text whose state may have changed.

    :param may_be_forgotten: whether it is so old that the gateway may have forgotten it.
    """

    message_id: MessageId
    may_be_forgotten: bool


class DeliveryReports:
    """The texts of any batch that a delivery report may change. No method changes a count.

    :param window: the messages among which one statement looks for open ones.
    :raises LedgerUnavailable: from every method, if the database refuses something.
    """

    def __init__(self, database: LedgerDatabase, window: int = 10_000) -> None:
        self._database = database
        self._window = window

    def open_messages(
        self, sms_conn_id: str, *, since: datetime, now: datetime, after: MessageId | None = None
    ) -> Iterator[OpenMessage]:
        """Yield the texts of a connection whose state may change, ordered by their ids as texts.

        A text is due when it was submitted, or at its ``send_at``. Texts that are not due yet are left out.
        So are texts that were not found for ``NOT_FOUND_MAY_PASS`` after they were due. The texts are read in
        windows, when they are asked for. Other methods may be called between two texts.

        :param since: the earliest due time.
        :param after: only ids that follow it in this order; ``None``: all.
        """
        values = {
            "sms_conn_id": sms_conn_id,
            "since": self._database.instant(since),
            "now": self._database.instant(now),
            "long_ago": self._database.instant(now - NOT_FOUND_MAY_PASS),
        }
        behind = _BEFORE_ALL if after is None else id_text(after)
        while (last := self._end_of_window(behind)) is not None:
            yield from self._open_in_window({"after": behind, "last": last, **values})
            behind = last

    def record_reports(self, reports: Iterable[DeliveryReport]) -> int:
        """Write delivery reports, and return the number of texts that they changed.

        A final state stays, and no text goes back to an earlier state.
        """
        waiting: list[DeliveryReport] = []
        changed = 0
        for report in reports:
            if report.state in REPORTED_FROM:
                waiting.append(report)
            if len(waiting) == _REPORTS_AT_ONCE:
                changed += self._write(waiting)
                waiting = []
        return changed + self._write(waiting)

    @transaction
    def _end_of_window(self, after: str) -> str | None:
        last: str | None = self._database.read(READ_END_OF_WINDOW, after=after, limit=[self._window])[0][0]
        return last

    @transaction
    def _open_in_window(self, values: Mapping[str, Any]) -> list[OpenMessage]:
        rows = self._database.read(READ_OPEN_MESSAGES, **values)
        return [OpenMessage(message_id_of(message_id), bool(is_old)) for message_id, is_old in rows]

    @transaction
    def _write(self, reports: Sequence[DeliveryReport]) -> int:
        of_state: defaultdict[DeliveryState, dict[str, DeliveryReport]] = defaultdict(dict)
        for report in reports:
            of_state[report.state][id_text(report.message_id)] = report
        now, changed = self._database.now(), 0
        for state, of_id in sorted(of_state.items()):
            # Only this process knows when the gateway first did not find a text. The time in its row tells
            # something else.
            is_ours = state is DeliveryState.NOT_FOUND
            times = {
                message_id: now if is_ours or report.time is None else self._database.instant(report.time)
                for message_id, report in of_id.items()
            }
            changed += self._write_states(state, times)
        return changed

    def _write_states(self, state: DeliveryState, times: Mapping[str, Any]) -> int:
        changed, states = 0, list(map(str, REPORTED_FROM[state]))
        for chunk in chunks(sorted(times), _TIMES_AT_ONCE):
            statement, cases = with_times(REPORT_MESSAGES, {each: times[each] for each in chunk})
            changed += self._database.execute(
                statement, state=state.value, states=states, message_ids=chunk, **cases
            )
        return changed
