"""A refresh of the delivery states in a ledger's tables: it asks the gateway about open texts."""

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
from airflow_provider_winsms.messages import DeliveryState, id_order, pluralize

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from datetime import timedelta

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.transport import Transport
    from airflow_provider_winsms.ledger.reports import DeliveryReports, OpenMessage
    from airflow_provider_winsms.ledger.task_state import TaskStore
    from airflow_provider_winsms.messages import DeliveryReport, MessageId
    from airflow_provider_winsms.runtime import Log

    _Page = Sequence[OpenMessage]

_COUNTS = ("checked", "changed", "refused", "unreadable", "requests")

CHECKPOINT_KEY = "sms_refresh"
"""The key of the checkpoint in the task state store."""

_MAX_SPLITS = 64
"""How often the requests of a page are cut in halves to find ids that the gateway refuses."""


@dataclass(slots=True)
class RefreshProgress:
    """How far a refresh has come, and its counts.

    :param after: the last id that it asked for; ``None`` at the beginning.
    """

    after: MessageId | None = None
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
        """Return the states that texts are in, in the order of the vocabulary."""
        return {state.value: self.states[state] for state in DeliveryState if self.states[state]}

    def summary(self) -> dict[str, Any]:
        """Return the counts that a task returns."""
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
        """Log the counts for people."""
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
        """Return the progress as JSON values."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {"after": self.after, "states": dict(self.states), **counts}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> RefreshProgress:
        """Return the progress that a row holds."""
        return cls(**{**row, "states": Counter(row["states"])})


class RefreshCheckpoint:
    """The progress that a later try of the task continues from.

    :param identity: JSON values. A checkpoint with another identity does not count.
    """

    def __init__(self, store: TaskStore, identity: list[Any]) -> None:
        self._store = store
        self._identity = identity

    def recall(self) -> RefreshProgress:
        """Return the progress of the earlier try."""
        row = self._store.get(CHECKPOINT_KEY)
        return (
            RefreshProgress.of(row["progress"]) if row and row["of"] == self._identity else RefreshProgress()
        )

    def remember(self, progress: RefreshProgress) -> None:
        """Save the progress of this try."""
        self._store.set(CHECKPOINT_KEY, {"of": self._identity, "progress": progress.row()})

    def forget(self) -> None:
        """Delete the checkpoint: the next refresh starts from the beginning."""
        self._store.delete(CHECKPOINT_KEY)


@dataclass(slots=True)
class _StatusAnswer:
    """The gateway's answers about the texts of one page, by id."""

    reports: dict[MessageId, DeliveryReport] = field(default_factory=dict)
    unreadable: set[MessageId] = field(default_factory=set)
    refused: int = 0
    requests: int = 0

    def keep(self, wanted: Mapping[MessageId, OpenMessage]) -> None:
        """Drop ids that were not asked for, and "not found" for texts that the gateway may have forgotten."""
        self.reports = {
            message_id: report
            for message_id, report in self.reports.items()
            if message_id in wanted
            and not (report.state is DeliveryState.NOT_FOUND and wanted[message_id].may_be_forgotten)
        }


class StatusRefresh:
    """Asks about open texts, page by page, some pages ahead of the one that is written.

    Threads of a pool ask the gateway. The thread that calls ``run`` reads and writes the tables, page after
    page in the order of the ids. So everything before a checkpoint is written.
    """

    def __init__(
        self,
        transport: Transport,
        ledger: DeliveryReports,
        checkpoint: RefreshCheckpoint,
        log: Log,
        throttle: Throttle | None = None,
    ) -> None:
        self._transport = transport
        self._endpoint = transport.endpoint
        self._ledger = ledger
        self._checkpoint = checkpoint
        self._log = log
        self._unreadable = UnreadableIds()
        self._throttle = throttle or Throttle(self._endpoint.max_concurrent_requests)

    def stop(self) -> None:
        """Stop after the next answer is written."""
        self._throttle.stop()

    def run(self, *, now: DateTime, max_age: timedelta) -> RefreshProgress:
        """Ask about all open texts after the checkpoint.

        :raises SendStopped: after ``stop`` was called.
        """
        progress = self._checkpoint.recall()
        with closing(self._answers(self._pages(progress.after, now, max_age))) as answered:
            for page, answer in answered:
                self._unreadable.name(sorted(answer.unreadable, key=id_order), self._log)
                progress.add(page, answer, self._ledger.record_reports(answer.reports.values()))
                self._checkpoint.remember(progress)
                self._throttle.raise_if_stopped()
        self._checkpoint.forget()
        return progress

    def _pages(self, after: MessageId | None, now: DateTime, max_age: timedelta) -> Iterator[_Page]:
        # A text that the gateway has forgotten must not look like one that it never knew.
        proven = self._endpoint.gateway.limits.status_proves_for
        since = now - (min(max_age, proven) if proven else max_age)
        messages = self._ledger.open_messages(self._endpoint.name, since=since, now=now, after=after)
        while page := list(islice(messages, self._endpoint.gateway.limits.status_ids)):
            yield page

    def _answers(self, pages: Iterator[_Page]) -> Generator[tuple[_Page, _StatusAnswer], None, None]:
        """Yield each page with its answer, in order. Later pages are asked about meanwhile."""
        try:
            yield from prefetch(self._ask, pages, self._throttle.most)
        finally:
            self._throttle.stop()

    def _ask(self, page: _Page) -> _StatusAnswer:
        """Ask about the texts of a page. If the gateway refuses, ask in halves until the bad ids are found.

        :raises InvalidMessage: if the gateway refuses all of several ids: single ids are not the cause.
        """
        wanted: dict[MessageId, OpenMessage] = {message.message_id: message for message in page}
        answer, chunks, refusal, splits = _StatusAnswer(), deque([list(wanted)]), None, 0
        while chunks:
            ids = chunks.popleft()
            try:
                answer.reports.update(self._reports(ids, answer))
            except InvalidMessage as error:
                refusal = error
                if len(ids) > 1 and splits < _MAX_SPLITS:
                    splits, middle = splits + 1, len(ids) // 2
                    chunks.extend((ids[:middle], ids[middle:]))
                else:
                    answer.refused += len(ids)
        if refusal is not None and answer.refused == len(wanted) > 1:
            raise refusal
        answer.keep(wanted)
        return answer

    def _reports(self, ids: Sequence[MessageId], answer: _StatusAnswer) -> dict[MessageId, DeliveryReport]:
        call = self._endpoint.gateway.delivery_reports(ids)
        answer.requests += 1
        reports = self._transport.execute(call, self._throttle.slot)
        answer.unreadable.update(reports.unreadable)
        return {report.message_id: report for report in reports}
