"""The progress of a long send, for its log: counts only, no number and no text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.runtime import Pace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.ledger.base import RequestKey, RequestRecord
    from airflow_provider_winsms.sending.outcome import SendOutcome
    from airflow_provider_winsms.sending.plan import Plan
    from airflow_provider_winsms.sending.submission import SendDependencies


class SendProgress:
    """Logs how far a send is, every few seconds. A short send has no such line.

    :param rounds: the plans. Later rounds are appended as they are planned.
    :param outcome: the counts so far.
    """

    def __init__(self, rounds: Sequence[Plan], outcome: SendOutcome, dependencies: SendDependencies) -> None:
        self._rounds = rounds
        self._outcome = outcome
        self._process = dependencies.process
        self._log = dependencies.log
        self._pace = Pace(lambda: dependencies.clock.now().timestamp())
        self._done = 0
        self._found = 0

    def note(self, key: RequestKey, record: RequestRecord) -> None:
        """Note one more request, after ``outcome`` has counted it.

        One that another process claimed was read, not submitted. It says nothing about the pace.
        """
        is_found = record.owner != self._process
        self._done += 1
        self._found += is_found
        self._log_request(key, record, is_found=is_found)
        is_due = self._pace.step(counts=not is_found)
        left = sum(len(plan.requests) for plan in self._rounds) - self._done
        # The closing line of the send follows the last request.
        if is_due and left > 0:
            self._log_line(left)

    def _log_line(self, left: int) -> None:
        self._log.info(
            "%d of %d requests done%s; %s; %s.",
            self._done,
            self._done + left,
            f" ({self._found} read from the ledger)" if self._found else "",
            self._outcome.counts_in_words(),
            self._pace.time_left(left),
        )

    def _log_request(self, key: RequestKey, record: RequestRecord, *, is_found: bool) -> None:
        self._log.debug(
            "Request %d of round %d %s: %d accepted, %d declined, %d unknown.",
            key.request,
            key.round,
            "read from the ledger" if is_found else "submitted",
            len(record.ids),
            len(record.declined),
            len(record.in_doubt),
        )
