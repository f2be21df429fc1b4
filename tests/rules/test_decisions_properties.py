"""The decisions of rules survive their text, and account for each recipient exactly once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import IdempotencyConflict
from airflow_provider_winsms.ledger.base import parts_of
from airflow_provider_winsms.messages import Message, Recipient, Recipients, RejectReason
from airflow_provider_winsms.sending.rules.base import Draft
from airflow_provider_winsms.sending.rules.decisions import Decisions

if TYPE_CHECKING:
    from pendulum import DateTime

NOON = pendulum.datetime(2026, 12, 1, 12)
OUTCOMES = st.one_of(
    st.none(),
    st.sampled_from(RejectReason),
    st.integers(1, 5).map(lambda hours: NOON.add(hours=hours)),
)
LISTS = st.lists(st.lists(OUTCOMES, min_size=1, max_size=6), max_size=6)


def drafted(lists: list[list[RejectReason | DateTime | None]]) -> Draft:
    messages, number = [], 0
    for at, outcomes in enumerate(lists):
        recipients = Recipients(
            Recipient(f"2782{number + place:07}", f"{number + place}") for place in range(len(outcomes))
        )
        messages.append(Message(f"text {at}", recipients))
        number += len(outcomes)
    return Draft(messages)


def decide(draft: Draft, lists: list[list[RejectReason | DateTime | None]]) -> None:
    outcomes = [outcome for some in lists for outcome in some]
    for entry in draft:
        outcome = outcomes[entry.position]
        if isinstance(outcome, RejectReason):
            draft.reject(entry.position, outcome)
        elif outcome is not None:
            draft.move(entry.position, outcome)


@given(LISTS)
def test_each_recipient_is_kept_moved_or_taken_out_exactly_once(
    lists: list[list[RejectReason | DateTime | None]],
) -> None:
    draft = drafted(lists)
    decide(draft, lists)
    text = Decisions.of("rules", draft).to_text()
    assert text.isascii()
    decided = Decisions.from_text(text).applied_to(draft.messages, lambda time: time)
    outcomes = [outcome for some in lists for outcome in some]
    kept = [
        (recipient.reference, message.send_at)
        for message in decided.messages
        for recipient in message.recipients
    ]
    assert kept == [
        (str(at), outcome) for at, outcome in enumerate(outcomes) if not isinstance(outcome, RejectReason)
    ]
    reasons = Counter(outcome for outcome in outcomes if isinstance(outcome, RejectReason))
    assert Counter(each.reason for each in decided.rejected) == reasons == draft.rejected
    assert len(draft) == len(kept)


@given(LISTS, LISTS)
def test_decisions_about_a_list_of_another_length_are_refused(
    lists: list[list[RejectReason | DateTime | None]], others: list[list[RejectReason | DateTime | None]]
) -> None:
    draft, other = drafted(lists), drafted(others)
    if len(draft) != len(other):
        with pytest.raises(IdempotencyConflict):
            Decisions.of("", draft).applied_to(other.messages, lambda time: time)


@given(st.text(max_size=20).map(lambda text: text * 9_000))
def test_a_text_in_parts_is_the_text(text: str) -> None:
    parts = parts_of(text)
    assert "".join(parts) == text
    assert all(0 < len(part) <= 48_000 for part in parts)


def test_a_million_decisions_of_which_a_tenth_is_random_take_little_room() -> None:
    draft = Draft([Message("Hi", Recipients(Recipient(str(27820000000 + at)) for at in range(1_000_000)))])
    for position in range(0, 1_000_000, 10):
        draft.reject(position + position // 10 * 7 % 10, RejectReason.OPTED_OUT)
    assert len(Decisions.of("", draft).to_text()) < 400_000
