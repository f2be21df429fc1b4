"""Answers that many people share."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from airflow_provider_winsms.exceptions import LedgerUnavailable
from airflow_provider_winsms.plugins.cache import SharedAnswers

A_MINUTE, AT_ONCE = 60, 0.05
DOWN = "It is down."


def test_all_who_ask_at_once_share_one_reading() -> None:
    answers, people = SharedAnswers(lifetime=A_MINUTE, deadline=A_MINUTE), 8
    together, asked = Barrier(people), []

    def read() -> str:
        asked.append(1)
        return "report"

    def ask(_: int) -> str:
        together.wait()
        return answers.ask("ledger", read)()

    with ThreadPoolExecutor(people) as pool:
        assert list(pool.map(ask, range(people))) == ["report"] * people
    assert asked == [1]


def test_answers_are_read_at_the_same_time_and_waited_for_later() -> None:
    answers, together = SharedAnswers(lifetime=A_MINUTE, deadline=A_MINUTE), Barrier(2)
    waits = [answers.ask(ledger, together.wait) for ledger in ("one", "other")]
    assert sorted(wait() for wait in waits) == [0, 1]


def test_an_answer_is_read_again_when_it_is_old() -> None:
    answers = SharedAnswers(lifetime=AT_ONCE, deadline=A_MINUTE)
    assert answers.ask("ledger", lambda: 1)() == 1
    assert answers.ask("ledger", lambda: 2)() == 1
    time.sleep(2 * AT_ONCE)
    assert answers.ask("ledger", lambda: 3)() == 3


def test_each_key_has_its_own_answer() -> None:
    answers = SharedAnswers(lifetime=A_MINUTE, deadline=A_MINUTE)
    assert [answers.ask(key, key.upper)() for key in ("one", "two")] == ["ONE", "TWO"]


def test_an_error_is_shared_as_an_answer_is() -> None:
    answers, asked = SharedAnswers(lifetime=A_MINUTE, deadline=A_MINUTE), []

    def refuse() -> None:
        asked.append(1)
        raise LedgerUnavailable(DOWN, is_permanent=False)

    for _ in range(3):
        with pytest.raises(LedgerUnavailable, match=DOWN):
            answers.ask("ledger", refuse)()
    assert asked == [1]


def test_nobody_waits_longer_than_the_deadline_and_the_next_gets_the_answer() -> None:
    answers, answered, asked = SharedAnswers(lifetime=A_MINUTE, deadline=AT_ONCE), Event(), []

    def read_slowly() -> str:
        asked.append(1)
        answered.wait(A_MINUTE)
        return "report"

    for _ in range(2):
        with pytest.raises(TimeoutError):
            answers.ask("ledger", read_slowly)()
    answered.set()
    answers.deadline = A_MINUTE
    assert answers.ask("ledger", read_slowly)() == "report"
    assert asked == [1]


def test_places_that_do_not_answer_keep_a_few_threads_busy() -> None:
    answers, answered, asked = SharedAnswers(lifetime=A_MINUTE, deadline=0), Event(), []

    def read_slowly() -> None:
        asked.append(1)
        answered.wait(A_MINUTE)

    for ledger in range(30):
        with pytest.raises(TimeoutError):
            answers.ask(ledger, read_slowly)()
    assert len(asked) <= 4
    answered.set()
