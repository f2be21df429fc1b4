"""The progress of a long send, for its log: counts only, no number and no text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.runtime import FoldedLines, Pace, group_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.ledger.base import RequestKey, RequestRecord
    from airflow_provider_winsms.sending.outcome import SendOutcome
    from airflow_provider_winsms.sending.plan import Plan
    from airflow_provider_winsms.sending.submission import SendDependencies


REQUESTS_SHOWN = 1000
"""How many requests of one try have a line each."""


class SendProgress:
    """Logs how far a send is, every few seconds. A short send has no such line.

    Each request has a line, too. These are in folded groups, each before the next line about all of them.

    :param rounds: the plans. Later rounds are appended as they are planned.
    :param outcome: the counts so far.
    """

    def __init__(self, rounds: Sequence[Plan], outcome: SendOutcome, dependencies: SendDependencies) -> None:
        self._rounds = rounds
        self._outcome = outcome
        self._process = dependencies.process
        self._log = dependencies.log
        self._pace = Pace(lambda: dependencies.clock.now().timestamp())
        self._details = FoldedLines(dependencies.log, REQUESTS_SHOWN)
        self._grouped: list[RequestKey] = []
        self._done = 0
        self._found = 0

    def note(self, key: RequestKey, record: RequestRecord) -> None:
        """Note one more request, after ``outcome`` has counted it.

        One that another process claimed was read, not submitted. It says nothing about the pace.
        """
        is_found = record.owner != self._process
        self._done += 1
        self._found += is_found
        if self._grouped and self._grouped[-1].round != key.round:
            self.flush()
        self._grouped.append(key)
        self._details.add(_request_in_words(key, record, is_found=is_found))
        is_due = self._pace.step(counts=not is_found)
        left = sum(len(plan.requests) for plan in self._rounds) - self._done
        # The closing line of the send follows the last request.
        if is_due and left > 0:
            self.flush()
            self._log_line(left)

    def flush(self) -> None:
        """Log the lines of the requests that were noted since the last group. Called at the end, too."""
        if not self._grouped:
            return
        first, last = self._grouped[0], self._grouped[-1]
        self._details.flush(f"{group_title(first.request, last.request)}{_round_in_words(last)}")
        self._grouped.clear()

    def _log_line(self, left: int) -> None:
        self._log.info(
            "%d of %d requests done%s; %s; %s.",
            self._done,
            self._done + left,
            f" ({self._found} read from the ledger)" if self._found else "",
            self._outcome.counts_in_words(),
            self._pace.time_left(left),
        )


def _request_in_words(key: RequestKey, record: RequestRecord, *, is_found: bool) -> str:
    """Return ``Request 2 submitted: 998 of 1000 accepted, 2 declined.`` Counts that are 0 are left out."""
    counts = {"declined": len(record.declined), "unknown": len(record.in_doubt)}
    others = "".join(f", {count} {word}" for word, count in counts.items() if count)
    act = "read from the ledger" if is_found else "submitted"
    accepted = f"{len(record.ids)} of {record.size} accepted"
    return f"Request {key.request}{_round_in_words(key)} {act}: {accepted}{others}."


def _round_in_words(key: RequestKey) -> str:
    return f" of round {key.round}" if key.round > 1 else ""
