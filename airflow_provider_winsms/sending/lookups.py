"""Strategies that look a lost answer up. The capabilities of the gateway decide which one a send uses."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from airflow_provider_winsms.messages import Receipt
from airflow_provider_winsms.sending.scheduled_list import (
    SUBMIT_TIME_DOUBT,
    ExpectedText,
    RowMatcher,
    expected_texts,
    not_due,
    read_scheduled,
    reconcile,
)
from airflow_provider_winsms.sending.sent_history import (
    HISTORY_DELAY,
    SubmittedText,
    match_references,
    read_sent,
    reference_of,
    with_references,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from decimal import Decimal

    from airflow_provider_winsms.ledger.base import RequestKey
    from airflow_provider_winsms.messages import Message, ScheduledMessage, SentMessage
    from airflow_provider_winsms.sending.records import ClaimedRequest
    from airflow_provider_winsms.sending.submission import SendDependencies


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What one reading tells about recipients in doubt. All others are not settled yet.

    :param is_complete: whether the reading is provably complete.
    :param adopted: the receipts of recipients who were found, by position.
    :param absent: the positions of recipients whose texts the gateway had not accepted at that time.
    """

    is_complete: bool
    adopted: Mapping[int, Receipt] = field(default_factory=dict)
    absent: Sequence[int] = ()


class Lookup(Protocol):
    """Looks up what became of the recipients of a request whose answer was lost."""

    source: str
    """What is read, for logs."""
    evidence: str
    """What identifies a text there, for logs."""
    silence: str
    """Why the source proves nothing about some texts, for logs."""
    delay: timedelta
    """How long after its acceptance the source surely has a text."""

    def outgoing(self, key: RequestKey, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the messages of a request as they leave, so that they can be looked up."""

    def covers(self, claimed: ClaimedRequest) -> bool:
        """Tell whether the source can have texts of a request."""

    def open_positions(self, claimed: ClaimedRequest) -> Collection[int]:
        """Return the positions in doubt whose texts the source must have now, if they were accepted."""

    def read(self, claimed: ClaimedRequest, positions: Collection[int]) -> LookupResult:
        """Look up open positions.

        :raises GatewayUnavailable: if the source cannot be read.
        """


class ByScheduledList:
    """Looks up texts with a time in the gateway's list of scheduled texts, until they are due."""

    source = "The list of scheduled texts"
    evidence = "number, minute and time of submission"
    silence = "Their texts are due or not scheduled, so the list of scheduled texts proves nothing"
    delay = timedelta(0)

    def __init__(self, dependencies: SendDependencies) -> None:
        self._gateway = dependencies.gateway
        self._execute = dependencies.execute
        self._ledger = dependencies.ledger
        self._clock = dependencies.clock

    def outgoing(self, _key: RequestKey, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the messages as they are: the list does not show a reference."""
        return messages

    def covers(self, claimed: ClaimedRequest) -> bool:
        """Tell whether a text of the request has a time."""
        return bool(_expected(claimed))

    def open_positions(self, claimed: ClaimedRequest) -> Collection[int]:
        """Return the positions in doubt whose texts are not due."""
        return not_due(claimed.record, _expected(claimed), self._clock.now()).keys() - claimed.request.gone

    def read(self, claimed: ClaimedRequest, positions: Collection[int]) -> LookupResult:
        """Reconcile texts with the list, without the rows that belong to other recipients."""
        expected = {position: text for position, text in _expected(claimed).items() if position in positions}
        rows, is_complete = read_scheduled(self._execute, self._gateway)
        matcher = RowMatcher(expected.values(), claimed.record.claimed_at)
        candidates = [row for row in rows if matcher.candidates(row)]
        taken = self._ledger.known_ids(candidates)
        found = matcher.match(row for row in candidates if row.message_id not in taken)
        conflicts = self._conflicts(claimed.key, found.certain)
        # Reading took time: texts that became due meanwhile may have left the list.
        still_open = not_due(claimed.record, expected, self._clock.now())
        result = reconcile(
            expected, found, is_complete=is_complete, still_open=still_open, conflicts=conflicts
        )
        adopted = {position: _receipt_of(row, row.refund) for position, row in result.adopted.items()}
        return LookupResult(is_complete, adopted, result.absent)

    def _conflicts(self, key: RequestKey, expected: Iterable[ExpectedText]) -> set[ExpectedText]:
        """Return the texts that another request in doubt may have scheduled, too."""
        numbers = defaultdict(set)
        for number, send_at in expected:
            numbers[send_at].add(number)
        return {
            ExpectedText(number, send_at)
            for send_at, some in numbers.items()
            for number in self._ledger.conflicts(key, send_at, some)
        }


class ByReference:
    """Looks up texts in the gateway's history of sent texts, by the references that they leave with."""

    source = "The history of sent texts"
    evidence = "reference, number and time of submission"
    silence = "They are no longer in the list, so the history of sent texts is not searched for them"
    delay = HISTORY_DELAY

    def __init__(self, dependencies: SendDependencies) -> None:
        self._gateway = dependencies.gateway
        self._execute = dependencies.execute
        self._batch_id = dependencies.batch_id

    def outgoing(self, key: RequestKey, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the messages with a reference for each recipient. The sender's own are not sent."""
        return with_references(messages, self._batch_id, key)

    def covers(self, _claimed: ClaimedRequest) -> bool:
        """Return ``True``: the history has texts with and without a time."""
        return True

    def open_positions(self, claimed: ClaimedRequest) -> Collection[int]:
        """Return all positions in doubt of recipients who are still in the list."""
        return [p for p in claimed.record.in_doubt if p not in claimed.request.gone]

    def read(self, claimed: ClaimedRequest, positions: Collection[int]) -> LookupResult:
        """Match texts with the history, back to before the claim."""
        claimed_at = claimed.record.claimed_at
        numbers = [recipient.number for part in claimed.request.parts for recipient in part.recipients]
        expected = {
            position: SubmittedText(reference_of(self._batch_id, claimed.key, position), numbers[position])
            for position in positions
        }
        rows, is_complete = read_sent(self._execute, self._gateway, claimed_at - SUBMIT_TIME_DOUBT)
        found = match_references(expected, rows, claimed_at)
        adopted = {position: _receipt_of(row, row.cost) for position, row in found.certain.items()}
        absent = [p for p in expected if p not in found.certain and p not in found.doubtful]
        return LookupResult(is_complete, adopted, absent if is_complete else ())


class NoLookup:
    """Looks nothing up: unknown recipients stay unknown."""

    source = evidence = silence = ""
    delay = timedelta(0)

    def outgoing(self, _key: RequestKey, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the messages as they are."""
        return messages

    def covers(self, _claimed: ClaimedRequest) -> bool:
        """Return ``False``."""
        return False

    def open_positions(self, _claimed: ClaimedRequest) -> Collection[int]:
        """Return no position."""
        return ()

    def read(self, _claimed: ClaimedRequest, _positions: Collection[int]) -> LookupResult:
        """Find nothing."""
        return LookupResult(is_complete=False)


def lookup_for(dependencies: SendDependencies) -> Lookup:
    """Return the strategy for a gateway."""
    capabilities = dependencies.gateway.capabilities
    if capabilities.finds_references:
        return ByReference(dependencies)
    return ByScheduledList(dependencies) if capabilities.list_scheduled else NoLookup()


def _expected(claimed: ClaimedRequest) -> dict[int, ExpectedText]:
    return expected_texts(claimed.request.messages(claimed.record.send_at))


def _receipt_of(row: ScheduledMessage | SentMessage, cost: Decimal | None) -> Receipt:
    return Receipt(
        number=row.number,
        accepted=True,
        message_id=row.message_id,
        reason=None,
        code="",
        cost=cost,
        balance=None,
        send_at=row.send_at,
    )
