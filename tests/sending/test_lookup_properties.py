"""However the lists of scheduled and of sent texts move while they are read, no reading proves too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.sending.scheduled_list import read_scheduled
from airflow_provider_winsms.sending.sent_history import read_sent
from tests.sending.test_scheduled_list import SMALL, MovingList
from tests.sending.test_sent_history import BEN, SINCE, account_with
from tests.support.history_gateway import GATEWAY, HistoryAccount, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_winsms.gateways.base import Call


ACTS = st.tuples(st.sampled_from(["first", "last", "between", "leaves", "leaves"]), st.integers(0, 30))


TRAFFIC = st.lists(st.lists(ACTS, max_size=4), max_size=30)


ORDERS = st.sampled_from([sorted, lambda ids: sorted(ids, reverse=True), list])


@settings(max_examples=2000, deadline=None)
@given(ids=st.lists(st.integers(1, 99), unique=True, max_size=25), order=ORDERS, traffic=TRAFFIC)
def test_no_reading_that_is_called_whole_misses_a_row_that_was_there_throughout(
    ids: list[int], order: Callable[[list[int]], list[int]], traffic: list[list[tuple[str, int]]]
) -> None:
    moving = MovingList(order(ids), traffic)
    read, is_complete = moving.read()
    assert not is_complete or (moving.stayed or set()) <= read


@settings(max_examples=500, deadline=None)
@given(ids=st.permutations(range(1, 30)), size=st.integers(0, 29), traffic=TRAFFIC)
def test_nothing_of_it_rests_on_the_order_of_a_list_that_is_shuffled_before_each_page(
    ids: list[int], size: int, traffic: list[list[tuple[str, int]]]
) -> None:
    moving = MovingList(ids[:size], traffic)
    shuffles: Iterator[int] = iter(range(10**6))

    def execute(call: Call[Any], *_: Any) -> Any:
        step = 1 + next(shuffles) % 5
        moving.ids = [key for start in range(step) for key in moving.ids[start::step]]
        # Neighbours change places, so that no page ascends or descends.
        moving.ids.sort(key=lambda key: (key // 4, (key * 7) % 4))
        return moving.execute(call)

    rows, is_complete = read_scheduled(execute, SMALL)
    assert not is_complete or (moving.stayed or set()) <= {row.message_id for row in rows}


ACTS = st.tuples(st.sampled_from(["enters", "enters late", "leaves", "leaves"]), st.integers(0, 30))


TRAFFIC = st.lists(st.lists(ACTS, max_size=4), max_size=30)


@settings(max_examples=500, deadline=None)
@given(texts=st.integers(0, 20), traffic=TRAFFIC)
def test_no_reading_that_is_called_complete_misses_a_text_that_was_there_throughout(
    texts: int, traffic: list[list[tuple[str, int]]]
) -> None:
    account, acts = account_with(texts), iter(traffic)
    stayed = {text.id for text in account.texts if text.words == "new"}

    def happen(there: HistoryAccount) -> None:
        for act, place in next(acts, ()):
            new = [text for text in there.texts if text.words != "old"]
            if act == "leaves" and new:
                there.texts.remove(new[place % len(new)])
                stayed.discard(new[place % len(new)].id)
            elif act != "leaves":
                at = there.now if act == "enters" or not new else new[place % len(new)].accepted_at
                there.texts.append(Text(f"id-{len(there.texts)}-{there.pages}-{at}", "more", BEN, None, at))
                there.now += 1

    account.before_page = happen
    rows, is_complete = read_sent(account.execute, GATEWAY, SINCE)
    assert not is_complete or stayed <= {row.message_id for row in rows}
