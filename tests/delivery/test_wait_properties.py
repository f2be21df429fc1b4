"""Whatever is reported of the texts of a wait: which are settled, when to ask for them, how ids are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.delivery.packed_ids import pack, unpack
from airflow_provider_winsms.delivery.tracker import DeliveryTracker
from airflow_provider_winsms.messages import (
    LONGEST_ID,
    DeliveryReport,
    DeliveryState,
    id_order,
    message_id_of,
)
from airflow_provider_winsms.polling.schedule import Schedule
from tests.delivery.test_tracker import DAY, NOW, reports, wait

if TYPE_CHECKING:
    from airflow_provider_winsms.messages import MessageId


NUMBERS = st.integers(0, 2**63 - 1)


TEXTS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=LONGEST_ID)


@given(st.lists(NUMBERS) | st.lists(TEXTS.map(message_id_of) | NUMBERS))
def test_what_was_packed_comes_back_each_once_in_order(ids: list[MessageId]) -> None:
    assert unpack(pack(ids)) == sorted(set(ids), key=id_order)


@given(st.sets(NUMBERS))
def test_whole_numbers_come_back_by_their_size(ids: set[int]) -> None:
    assert unpack(pack(ids)) == sorted(ids)


SAID = st.tuples(st.floats(0, 100), st.sampled_from([*DeliveryState]))


@given(said=st.lists(SAID, max_size=12), grace=st.floats(0, 200), begins=st.floats(0, 200))
def test_an_unknown_id_is_lost_once_all_answers_of_its_grace_said_so(
    said: list[tuple[float, DeliveryState]], grace: float, begins: float
) -> None:
    followed = DeliveryTracker([1], min_delivered=1.0, grace_until=begins, not_found_holds=grace)
    now, since = 0.0, None
    for passed, state in said:
        now += passed
        if state is not DeliveryState.NOT_FOUND:
            since = None
        elif since is None:
            since = now
        followed.record(reports([1], state), now)
        is_lost = since is not None and now >= begins and now >= since + grace
        is_final = state.is_final and state is not DeliveryState.NOT_FOUND
        assert followed.is_settled == (is_lost or is_final)
        if followed.is_settled:
            break


@given(
    said=st.dictionaries(st.integers(0, 20), st.sampled_from([*DeliveryState])),
    total=st.integers(1, 21),
    needs=st.floats(0, 1),
)
def test_a_wait_is_settled_when_waiting_longer_changes_nothing(
    said: dict[int, DeliveryState], total: int, needs: float
) -> None:
    followed = wait(range(total), needs)
    followed.record([DeliveryReport(each, state) for each, state in said.items()], NOW)
    known = {each: state for each, state in said.items() if each < total}
    final = [state for state in known.values() if state.is_final]
    arrived = sum(state.is_delivered for state in final)
    can_still = total - len(final) + arrived
    outcome = followed.outcome()
    assert followed.is_settled == (len(final) == total or can_still < outcome.needed)
    assert outcome.delivered == arrived
    assert outcome.is_success == (arrived >= outcome.needed)
    assert sum(outcome.states.values()) == total
    assert {report.message_id for report in outcome.undelivered} == {
        each for each in range(total) if not (each in known and known[each].is_delivered)
    }


@given(age=st.floats(0, 30 * DAY), shortest=st.floats(1, DAY), longest=st.floats(0, DAY))
def test_the_pause_is_a_tenth_of_the_age_within_its_bounds(
    age: float, shortest: float, longest: float
) -> None:
    pause = Schedule(0.0, shortest, longest).pause(age)
    assert shortest <= pause <= max(shortest, longest)
    assert pause in {shortest, longest} or pause == pytest.approx(age / 10)
