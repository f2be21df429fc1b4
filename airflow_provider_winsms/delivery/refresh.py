"""Bringing delivery states in the ledger's tables up to date, by asking the gateway about open texts."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.delivery.tracker import UnreadableIds
from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gateways.prefetch import prefetch
from airflow_provider_winsms.gateways.throttle import Throttle
from airflow_provider_winsms.messages import DeliveryState, pluralize

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from datetime import timedelta

    from pendulum import DateTime

    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.ledger.history import OpenMessage, SmsHistory
    from airflow_provider_winsms.messages import DeliveryReport, MessageId
    from airflow_provider_winsms.runtime import Log
    from airflow_provider_winsms.utils.task_store import AirflowTaskStore

    _Page = Sequence[OpenMessage]

_COUNTS = ("checked", "changed", "refused", "unreadable", "requests")

PLACE_KEY = "sms_refresh"
"""The key of the place in the task state store, with what was counted up to it."""

_MOST_CUTS = 64
"""So often the requests of a page are cut in halves, to find ids that the gateway refuses."""


@dataclass(slots=True)
class RefreshProgress:
    """What was learnt, in counts, up to an id.

    :param after: the id; ``None`` at the beginning.
    """

    after: int | None = None
    checked: int = 0
    changed: int = 0
    refused: int = 0
    unreadable: int = 0
    requests: int = 0
    states: Counter[str] = field(default_factory=Counter)

    def add(self, page: _Page, answer: _StatusAnswer, changed: int) -> None:
        """Count a page whose answer was written."""
        self.after = page[-1].message_id
        self.checked += len(page)
        self.changed += changed
        self.refused += answer.refused
        self.unreadable += len(answer.unreadable)
        self.requests += answer.requests
        self.states.update(report.state.value for report in answer.reports.values())

    @property
    def still_open(self) -> int:
        """How many texts have no final state, or got no answer."""
        return self.checked - sum(self.states[state] for state in DeliveryState if state.is_final)

    def known_states(self) -> dict[str, int]:
        """Return the states that there were, in the order of the vocabulary."""
        return {state.value: self.states[state] for state in DeliveryState if self.states[state]}

    def summary(self) -> dict[str, Any]:
        """Return what a task returns."""
        return {
            "checked": self.checked,
            "states": self.known_states(),
            "changed": self.changed,
            "still_open": self.still_open,
            "refused": self.refused,
            "unreadable": self.unreadable,
            "requests": self.requests,
        }

    def log_to(self, log: Log) -> None:
        """Say it to people."""
        if self.refused:
            log.warning(
                "The gateway refuses requests with %s of the ledger. Their texts are left as they are.",
                pluralize(self.refused, "id"),
            )
        log.info(
            "Asked about %s in %s: %d changed, %d still open; %s.",
            pluralize(self.checked, "text"),
            pluralize(self.requests, "request"),
            self.changed,
            self.still_open,
            ", ".join(f"{count} {state}" for state, count in self.known_states().items()) or "no answers",
        )

    def row(self) -> dict[str, Any]:
        """Return it as JSON values: ids and counts."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {"after": self.after, "states": dict(self.states), **counts}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> RefreshProgress:
        """Read what ``row`` returned."""
        return cls(**{**row, "states": Counter(row["states"])})


class RefreshPlace:
    """How far the tries of a task have come.

    :param identity: JSON values; a place that was remembered under others does not count.
    """

    def __init__(self, store: AirflowTaskStore, identity: list[Any]) -> None:
        self._store = store
        self._identity = identity

    def recall(self) -> RefreshProgress:
        """Return how far the try before came."""
        row = self._store.get(PLACE_KEY)
        return (
            RefreshProgress.of(row["progress"]) if row and row["of"] == self._identity else RefreshProgress()
        )

    def remember(self, progress: RefreshProgress) -> None:
        """Keep how far this try has come."""
        self._store.set(PLACE_KEY, {"of": self._identity, "progress": progress.row()})

    def forget(self) -> None:
        """Begin anew the next time."""
        self._store.delete(PLACE_KEY)


@dataclass(slots=True)
class _StatusAnswer:
    """What the gateway said of the texts of one page, by their ids."""

    reports: dict[MessageId, DeliveryReport] = field(default_factory=dict)
    unreadable: set[MessageId] = field(default_factory=set)
    refused: int = 0
    requests: int = 0

    def keep(self, wanted: Mapping[MessageId, OpenMessage]) -> None:
        """Leave out what was not asked for, and that the gateway does not know what it may have forgotten."""
        self.reports = {
            message_id: report
            for message_id, report in self.reports.items()
            if message_id in wanted
            and not (report.state is DeliveryState.NOT_FOUND and wanted[message_id].may_be_forgotten)
        }


class StatusRefresh:
    """Asks about open texts, page by page, some pages ahead of the one that is written.

    Threads of a pool ask the gateway. The thread that runs this reads and writes the tables, page after page
    in the order of the ids, so that a place says that all before it is written.
    """

    def __init__(
        self,
        hook: SmsHook,
        history: SmsHistory,
        place: RefreshPlace,
        log: Log,
        throttle: Throttle | None = None,
    ) -> None:
        self._hook = hook
        self._history = history
        self._place = place
        self._log = log
        self._unreadable = UnreadableIds()
        self._throttle = throttle or Throttle(hook.endpoint.max_concurrent_requests)

    def stop(self) -> None:
        """Stop when the answer that is waited for is written."""
        self._throttle.stop()

    def run(self, *, now: DateTime, max_age: timedelta) -> RefreshProgress:
        """Ask about all texts behind the place that is remembered.

        :raises SendStopped: if it was told to stop.
        """
        progress = self._place.recall()
        with closing(self._answered(self._pages(progress.after, now, max_age))) as answered:
            for page, answer in answered:
                self._unreadable.name(sorted(answer.unreadable), self._log)
                progress.add(page, answer, self._history.record_reports(answer.reports.values()))
                self._place.remember(progress)
                self._throttle.raise_if_stopped()
        self._place.forget()
        return progress

    def _pages(self, after: int | None, now: DateTime, max_age: timedelta) -> Iterator[_Page]:
        messages = self._history.open_messages(
            self._hook.sms_conn_id, since=now - max_age, now=now, after=after
        )
        while page := list(islice(messages, self._hook.gateway.limits.message_ids)):
            yield page

    def _answered(self, pages: Iterator[_Page]) -> Generator[tuple[_Page, _StatusAnswer], None, None]:
        """Yield each page with its answer, in their order, while those that follow are asked about."""
        self._hook.get_conn()
        try:
            yield from prefetch(self._ask, pages, self._throttle.most)
        finally:
            self._throttle.stop()

    def _ask(self, page: _Page) -> _StatusAnswer:
        """Ask about the texts of a page; if that is refused, in halves, until the bad ids are found.

        :raises InvalidMessage: if not one of several ids is answered: that is no matter of single ids.
        """
        wanted: dict[MessageId, OpenMessage] = {message.message_id: message for message in page}
        answer, pieces, refusal, cuts = _StatusAnswer(), deque([list(wanted)]), None, 0
        while pieces:
            ids = pieces.popleft()
            try:
                answer.reports.update(self._reports(ids, answer))
            except InvalidMessage as error:
                refusal = error
                if len(ids) > 1 and cuts < _MOST_CUTS:
                    cuts, middle = cuts + 1, len(ids) // 2
                    pieces.extend((ids[:middle], ids[middle:]))
                else:
                    answer.refused += len(ids)
        if refusal is not None and answer.refused == len(wanted) > 1:
            raise refusal
        answer.keep(wanted)
        return answer

    def _reports(self, ids: Sequence[MessageId], answer: _StatusAnswer) -> dict[MessageId, DeliveryReport]:
        call = self._hook.gateway.delivery_reports(ids)
        answer.requests += 1
        reports = self._hook.execute(call, self._throttle.slot)
        answer.unreadable.update(reports.unreadable)
        return {report.message_id: report for report in reports}
