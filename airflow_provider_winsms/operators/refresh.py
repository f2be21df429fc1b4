"""The operator that brings the delivery states in the ledger's tables up to date."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_winsms.airflow_errors import permanent_errors_fail_at_once
from airflow_provider_winsms.batches import history_at
from airflow_provider_winsms.exceptions import InvalidMessage, SendStopped
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.ledger.store import TaskStore
from airflow_provider_winsms.messages import DeliveryState, counted
from airflow_provider_winsms.sending import STATUS_LASTS, SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from airflow.providers.common.compat.sdk import Context
    from pendulum import DateTime

    from airflow_provider_winsms.ledger.history import OpenMessage, SmsHistory
    from airflow_provider_winsms.messages import DeliveryReport, MessageId
    from airflow_provider_winsms.sending import Clock

    _Page = Sequence[OpenMessage]

PLACE_KEY = "sms_refresh"
"""The key of the place in the task state store, with what was counted up to it."""

_MOST_CUTS = 64
"""So often the requests of a page are cut in halves, to find ids that the gateway refuses."""


class SmsRefreshStatusOperator(BaseOperator):
    """Bring the states of texts in the ledger's tables up to date: all whose delivery is not known yet.

    Asks the gateway about every text that was sent through ``sms_conn_id`` with this ledger, was due within
    ``max_age``, and has no final state, in as few requests as its limit allows, and writes what it answers.
    Meant for a DAG of its own, each night. Texts that wait for their ``send_at`` are left alone. So are those
    that are older than ``max_age``, in whatever state: a gateway forgets (WinSMS after 90 days), and a text
    that it has forgotten must not become one that it never knew. An id that was not found is asked for again
    until two days after its text was due, as it may have been too fresh.

    Each answer is committed before the place is remembered from which a retry goes on, in Airflow's task
    state store (3.3 and later). Before that, and when it was cleared, the task begins anew: what became
    final is not asked for again, so that only time is lost. A final state never changes.

    Returns ``{"checked": n, "states": {state: n}, "changed": n, "still_open": n, "refused": n,
    "requests": n}``, of all tries together: ``checked`` are the texts asked about, ``states`` what the
    gateway said of them (values of ``DeliveryState``), ``changed`` how many rows that was news for,
    ``still_open`` those without a final state, the ones it left out and refused among them. ``refused``
    counts ids that the gateway takes in no request; they are left as they are, and hold up no others.

    :param ledger_conn_id: the connection of the database with the ledger. (templated)
    :param ledger_prefix: what the names of the ledger's tables begin with.
    :param max_age: how long ago a text may have been due; at most 89 days, as a status is kept for 90.
    :param sms_conn_id: the connection whose texts are asked about, and whose type says which gateway.
        (templated)
    """

    template_fields: Sequence[str] = ("ledger_conn_id", "sms_conn_id")
    ui_color = "#e3dcf3"
    clock: ClassVar[Clock] = SYSTEM_CLOCK

    def __init__(
        self,
        *,
        ledger_conn_id: str,
        ledger_prefix: str = "sms_",
        max_age: timedelta = STATUS_LASTS,
        sms_conn_id: str = "winsms_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id
        self.ledger_prefix = ledger_prefix
        self.max_age = max_age
        self.sms_conn_id = sms_conn_id
        self._refresh: _Refresh | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, write, and return what was learnt, in counts."""
        with permanent_errors_fail_at_once():
            self._check()
            hook = SmsHook.of(self.sms_conn_id)
            with history_at(self.ledger_conn_id, self.ledger_prefix) as history:
                place = _Place(TaskStore(context), self._identity(context))
                self._refresh = _Refresh(hook, history, place)
                progress = self._refresh.run(now=self.clock.now(), max_age=self.max_age)
        self._log_outcome(progress)
        return progress.summary()

    def on_kill(self) -> None:
        """Stop when the answer that is waited for is written."""
        if self._refresh is not None:
            self._refresh.stop()

    def _check(self) -> None:
        if not isinstance(self.max_age, timedelta) or not timedelta(0) < self.max_age <= STATUS_LASTS:
            msg = (
                f"`max_age` must be a timedelta above 0 and of at most {STATUS_LASTS.days} days, as gateways "
                f"forget texts; got {self.max_age!r}."
            )
            raise InvalidMessage(msg)

    def _identity(self, context: Context) -> list[Any]:
        """Return what a place belongs to. A clear raises ``max_tries``, and is for beginning anew."""
        return [self.sms_conn_id, self.ledger_conn_id, self.ledger_prefix, context["ti"].max_tries]

    def _log_outcome(self, progress: _Progress) -> None:
        if progress.refused:
            self.log.warning(
                "The gateway refuses requests with %s of the ledger. Their texts are left as they are.",
                counted(progress.refused, "id"),
            )
        self.log.info(
            "Asked about %s in %s: %d changed, %d still open; %s.",
            counted(progress.checked, "text"),
            counted(progress.requests, "request"),
            progress.changed,
            progress.still_open,
            ", ".join(f"{count} {state}" for state, count in progress.known_states().items()) or "no answers",
        )


@dataclass(slots=True)
class _Progress:
    """What was learnt, in counts, up to an id.

    :param after: the id; ``None`` at the beginning.
    """

    after: int | None = None
    checked: int = 0
    changed: int = 0
    refused: int = 0
    requests: int = 0
    states: Counter[str] = field(default_factory=Counter)

    def add(self, page: _Page, answer: _Answer, changed: int) -> None:
        """Count a page whose answer was written."""
        self.after = page[-1].message_id
        self.checked += len(page)
        self.changed += changed
        self.refused += answer.refused
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
            "requests": self.requests,
        }

    def row(self) -> dict[str, Any]:
        """Return it as JSON values: ids and counts."""
        counts = {name: getattr(self, name) for name in ("checked", "changed", "refused", "requests")}
        return {"after": self.after, "states": dict(self.states), **counts}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Progress:
        """Read what ``row`` returned."""
        return cls(**{**row, "states": Counter(row["states"])})


class _Place:
    """How far the tries of a task have come.

    :param identity: JSON values; a place that was remembered under others does not count.
    """

    def __init__(self, store: TaskStore, identity: list[Any]) -> None:
        self._store = store
        self._identity = identity

    def recall(self) -> _Progress:
        """Return how far the try before came."""
        row = self._store.get(PLACE_KEY)
        return _Progress.of(row["progress"]) if row and row["of"] == self._identity else _Progress()

    def remember(self, progress: _Progress) -> None:
        """Keep how far this try has come."""
        self._store.set(PLACE_KEY, {"of": self._identity, "progress": progress.row()})

    def forget(self) -> None:
        """Begin anew the next time."""
        self._store.delete(PLACE_KEY)


@dataclass(slots=True)
class _Answer:
    """What the gateway said of the texts of one page, by their ids."""

    reports: dict[MessageId, DeliveryReport] = field(default_factory=dict)
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


class _Refresh:
    """Asks about open texts, page by page, some pages ahead of the one that is written.

    Threads of a pool ask the gateway. The thread that runs this reads and writes the tables, page after page
    in the order of the ids, so that a place says that all before it is written.
    """

    def __init__(self, hook: SmsHook, history: SmsHistory, place: _Place) -> None:
        self._hook = hook
        self._history = history
        self._place = place
        self._is_stopped = False

    def stop(self) -> None:
        """Stop when the answer that is waited for is written."""
        self._is_stopped = True

    def run(self, *, now: DateTime, max_age: timedelta) -> _Progress:
        """Ask about all texts behind the place that is remembered.

        :raises SendStopped: if it was told to stop.
        """
        progress = self._place.recall()
        with closing(self._answered(self._pages(progress.after, now, max_age))) as answered:
            for page, answer in answered:
                progress.add(page, answer, self._history.delivered(answer.reports.values()))
                self._place.remember(progress)
                self._heed_stop()
        self._place.forget()
        return progress

    def _pages(self, after: int | None, now: DateTime, max_age: timedelta) -> Iterator[_Page]:
        messages = self._history.open_messages(
            self._hook.sms_conn_id, since=now - max_age, now=now, after=after
        )
        while page := list(islice(messages, self._hook.gateway.limits.message_ids)):
            yield page

    def _answered(self, pages: Iterator[_Page]) -> Generator[tuple[_Page, _Answer], None, None]:
        """Yield each page with its answer, in their order, while those that follow are asked about."""
        self._hook.get_conn()
        most = self._hook.endpoint.max_concurrent_requests
        pool = ThreadPoolExecutor(most, "sms-refresh")
        waiting: deque[tuple[_Page, Future[_Answer]]] = deque()
        is_done = False
        try:
            waiting.extend((page, pool.submit(self._ask, page)) for page in islice(pages, most))
            while waiting:
                page, answer = waiting.popleft()
                known = answer.result()
                waiting.extend((page, pool.submit(self._ask, page)) for page in islice(pages, 1))
                yield page, known
            is_done = True
        finally:
            self._is_stopped = not is_done
            # What fails has not to wait for requests that only read.
            pool.shutdown(wait=is_done, cancel_futures=True)

    def _ask(self, page: _Page) -> _Answer:
        """Ask about the texts of a page; if that is refused, in halves, until the bad ids are found.

        :raises InvalidMessage: if not one of several ids is answered: that is no matter of single ids.
        """
        wanted: dict[MessageId, OpenMessage] = {message.message_id: message for message in page}
        answer, pieces, refusal, cuts = _Answer(), deque([list(wanted)]), None, 0
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

    def _reports(self, ids: Sequence[MessageId], answer: _Answer) -> dict[MessageId, DeliveryReport]:
        call = self._hook.gateway.delivery_reports(ids)
        answer.requests += 1
        return {report.message_id: report for report in self._hook.carry(call, self._unless_stopped)}

    @contextmanager
    def _unless_stopped(self) -> Iterator[None]:
        """Let no further request leave; one that failed is not tried again."""
        self._heed_stop()
        yield

    def _heed_stop(self) -> None:
        if self._is_stopped:
            msg = "The task is being killed; nothing more is asked. A later try goes on."
            raise SendStopped(msg)
