from __future__ import annotations

import threading
import time
from contextlib import closing, suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, GatewayUnavailable, SendStopped
from airflow_provider_winsms.gateways.prefetch import prefetch
from airflow_provider_winsms.gateways.throttle import Throttle
from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.hooks.sms import SmsHook
from tests.support.lists import Lists, connection_to, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_winsms.sandbox import Sandbox

SOON = 5.0
"""Seconds within which what is to happen at once has happened: a bound, not an expectation."""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Work:
    """Doubles numbers; each waits until it is let go.

    :ivar most: how many were worked on at a time, at the most.
    """

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.most = 0
        self._under_way = 0
        self._lock = threading.Lock()
        self._let_go: dict[int, threading.Event] = {}

    def __call__(self, item: int) -> int:
        with self._lock:
            self.begun.append(item)
            self._under_way += 1
            self.most = max(self.most, self._under_way)
        assert self._door(item).wait(SOON)
        with self._lock:
            self._under_way -= 1
        return item * 2

    def let_go(self, *items: int) -> None:
        for item in items:
            self._door(item).set()

    def _door(self, item: int) -> threading.Event:
        with self._lock:
            return self._let_go.setdefault(item, threading.Event())


# What is asked ahead


def test_results_come_in_the_order_of_their_items_whichever_is_ready_first() -> None:
    work = Work()
    for item in (3, 2, 1, 0, 4, 5):
        work.let_go(item)
    assert list(prefetch(work, range(6), 4)) == [(item, item * 2) for item in range(6)]


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_than_the_bound_are_worked_on_and_that_many_are(most: int) -> None:
    work = Work()
    with closing(prefetch(work, range(20), most)) as results:

        def open_when_full() -> None:
            until(lambda: len(work.begun) == most)
            work.let_go(*range(20))

        opener = threading.Thread(target=open_when_full)
        opener.start()
        assert len(list(results)) == 20
        opener.join()
    assert work.most == most


def test_items_are_taken_when_there_is_room_and_not_before() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in count():
            taken.append(item)
            yield item

    with closing(prefetch(lambda item: item, items(), 3)) as results:
        for expected in range(10):
            assert next(results) == (expected, expected)
            assert len(taken) <= expected + 4


def test_while_a_result_is_worked_on_those_that_follow_are_on_their_way() -> None:
    work = Work()
    work.let_go(0)
    with closing(prefetch(work, range(10), 3)) as results:
        next(results)
        until(lambda: set(work.begun) == {0, 1, 2, 3})
        work.let_go(*range(10))


def test_an_item_may_depend_on_what_was_yielded_before() -> None:
    seen: list[int] = []

    def items() -> Iterator[int]:
        for item in range(10):
            if item >= 2:
                assert item - 2 in seen
            yield item

    for item, _ in prefetch(lambda item: item, items(), 1):
        seen.append(item)
    assert seen == list(range(10))


def test_nothing_begins_before_the_first_is_asked_for() -> None:
    work = Work()
    prefetch(work, range(3), 3).close()
    assert work.begun == []


def test_without_items_there_are_no_results() -> None:
    assert list(prefetch(Work(), [], 3)) == []


def test_what_is_closed_early_begins_nothing_more_and_waits_for_nothing() -> None:
    # A load of another test that failed may have left a request on its way.
    until(lambda: not worked_ahead())
    work = Work()
    work.let_go(0)
    results = prefetch(work, range(100), 2)
    next(results)
    until(lambda: sorted(work.begun) == [0, 1, 2])
    results.close()
    assert len(worked_ahead()) == 2
    work.let_go(*range(100))
    until(lambda: not worked_ahead())
    assert sorted(work.begun) == [0, 1, 2]


def worked_ahead() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("sms-prefetch")]


def test_an_error_comes_in_its_place_and_ends_the_rest() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 2:
            raise GatewayUnavailable("gone")  # noqa: EM101 - a test's own
        return item

    results = prefetch(work, range(100), 2)
    assert [next(results), next(results)] == [(0, 0), (1, 1)]
    with pytest.raises(GatewayUnavailable):
        next(results)
    until(lambda: not worked_ahead())
    assert max(begun) <= 3


def test_an_error_of_the_items_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError

    with pytest.raises(LookupError):
        list(prefetch(lambda item: item, items(), 3))
    until(lambda: not worked_ahead())


def test_no_thread_is_left_when_all_is_done() -> None:
    list(prefetch(lambda item: item, range(10), 4))
    assert worked_ahead() == []


# The throttle


class Asking:
    """Asks a gateway for its incoming messages, through the transport, with a throttle.

    :ivar meanwhile: is called in place of waiting before a request is tried again.
    """

    def __init__(self, most: int = 4) -> None:
        self.throttle = Throttle(most)
        self.meanwhile: Callable[[], None] = lambda: None
        self._hook = SmsHook.of("winsms_default")
        self._transport = Transport(self._hook.endpoint, sleep=lambda _: self.meanwhile())

    def __call__(self, offset: int = 0) -> Any:
        return self._transport.execute(self._hook.gateway.incoming(offset, 10), self.throttle.slot)

    def allowed_after(self, requests: int) -> list[int]:
        """Return how many were allowed after each of so many requests."""
        return [(self(), self.throttle.allowed)[1] for _ in range(requests)]


@pytest.fixture
def asking(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Asking:
    """It asks the sandbox."""
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", connection_to(sandbox))
    return Asking()


@pytest.mark.parametrize(
    "fault",
    [
        *("429-too-many-requests", "500-before-acceptance", "502-before-acceptance"),
        *("503-before-acceptance", "500-after-acceptance", "reset-before-acceptance"),
        *("lost-after-acceptance", "truncated-json"),
    ],
)
def test_trouble_halves_what_is_allowed_and_answers_in_a_row_add_one_after_the_other(
    fault: str, sandbox: Sandbox, asking: Asking
) -> None:
    assert asking.allowed_after(5) == [4, 4, 4, 4, 4]
    sandbox.add_fault(fault)
    # The request that failed is answered when it is tried again: the first of two answers in a row.
    assert asking.allowed_after(7) == [2, 3, 3, 3, 4, 4, 4]


def test_one_request_is_always_allowed(sandbox: Sandbox, asking: Asking) -> None:
    sandbox.add_fault("429-too-many-requests", times=3, retry_after=0)
    assert asking.allowed_after(1) == [2]
    sandbox.add_fault("503-before-acceptance", times=4)
    with pytest.raises(GatewayUnavailable):
        asking()
    assert asking.throttle.allowed == 1
    assert asking.allowed_after(1) == [2]


def test_a_refusal_is_no_trouble_and_holds_no_place() -> None:
    throttle = Throttle(2)
    for _ in range(5):
        with pytest.raises(ConfigurationError), throttle.slot():
            raise ConfigurationError
    assert throttle.allowed == 2


class Counter:
    """Counts the requests that are at a gateway at a time, each for some milliseconds."""

    def __init__(self) -> None:
        self.most = 0
        self._here = 0
        self._lock = threading.Lock()

    def __call__(self, _: int) -> None:
        with self._lock:
            self._here += 1
            self.most = max(self.most, self._here)
        time.sleep(0.005)
        with self._lock:
            self._here -= 1


@pytest.fixture
def lists(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Lists:
    found = Lists(sandbox)
    found.rows = [row(1)]
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", found.connection)
    return found


def most_at_a_time(asking: Asking, server: Lists, requests: int) -> int:
    """Ask from more threads than may leave, and return how many requests were there at a time."""
    server.meanwhile = counter = Counter()

    def ask(_: int) -> None:
        with suppress(GatewayUnavailable):
            asking()

    for _ in prefetch(ask, range(requests), 10):
        pass
    return counter.most


def test_never_are_more_requests_on_their_way_than_allowed(lists: Lists) -> None:
    asking = Asking(most=4)
    assert most_at_a_time(asking, lists, 60) == 4
    lists.box.add_fault("truncated-json", times=10**9)
    with pytest.raises(GatewayUnavailable):
        asking()
    assert asking.throttle.allowed == 1
    assert most_at_a_time(asking, lists, 10) == 1
    lists.box.clear_faults()
    assert most_at_a_time(asking, lists, 60) == 4
    assert asking.throttle.allowed == 4


def test_who_waits_to_leave_is_woken_when_all_is_stopped() -> None:
    throttle = Throttle(1)
    refused: list[SendStopped] = []

    def wait() -> None:
        try:
            with throttle.slot():
                pass
        except SendStopped as error:
            refused.append(error)

    with throttle.slot():
        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        throttle.stop()
        for thread in threads:
            thread.join(SOON)
        assert len(refused) == 3
    with pytest.raises(SendStopped), throttle.slot():
        pass


def test_what_is_stopped_is_not_tried_again(sandbox: Sandbox, asking: Asking) -> None:
    sandbox.add_fault("503-before-acceptance", times=9)
    asking.meanwhile = asking.throttle.stop
    with pytest.raises(SendStopped):
        asking()
    assert len(sandbox.requests()) == 1
