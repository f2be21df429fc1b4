"""Whatever a query returns, each of its rows is sent once, or left out for one reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.rules import OnlyTo, OptOuts
from airflow_provider_winsms.sending.shards import Shard
from tests.transfers.campaigns import ANN, BEN, CAT, campaign, enrol, texts

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

SPELT = {ANN: ANN, f"0{ANN[2:]}": ANN, f"+{BEN}": BEN, f"{CAT}.0": CAT, "nobody": None, None: None}
PEOPLE = st.lists(
    st.tuples(st.sampled_from(list(SPELT)), st.sampled_from(["Ann", "Ben", "\N{PARTY POPPER}", None])),
    max_size=12,
)


@settings(
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(people=PEOPLE, shards=st.integers(1, 4))
def test_each_row_is_sent_once_or_a_duplicate_or_invalid_in_one_shard(
    people: list[tuple[str | None, str | None]],
    shards: int,
    sqlite: Database,
    sandbox: Sandbox,
    runner: TaskRunner,
) -> None:
    sandbox.reset()
    enrol(sqlite, *people)
    counts = Counter[str]()
    for place in range(shards):
        one = replace(runner.another(), map_index=place)
        options = {"on_empty": "skip", "on_invalid": "reject", "on_rejected": "ignore"}
        one.run(campaign(sqlite, shards=shards, shard=place, **options))
        if one.result:
            counts.update(accepted=one.result["accepted"], duplicates=one.result["duplicates"])
            counts.update(rejected=sum(one.result["rejected"].values()))
    good = [(SPELT[number], name) for number, name in people if SPELT[number] and name in {"Ann", "Ben"}]
    assert texts(sandbox) == sorted({(str(number), f"Hi {name}") for number, name in good})
    assert counts["accepted"] == len(set(good))
    assert counts["duplicates"] == len(good) - len(set(good))
    assert counts["rejected"] == len(people) - len(good)


RULES = [(), (OptOuts(),), (OnlyTo([ANN, CAT]),), (OptOuts(), OnlyTo([ANN, CAT])), (OnlyTo([BEN]), OptOuts())]


@settings(
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(people=PEOPLE, rules=st.sampled_from(RULES))
def test_each_row_is_sent_once_or_a_duplicate_or_invalid_or_taken_out_by_a_rule(
    people: list[tuple[str | None, str | None]],
    rules: tuple[Any, ...],
    sqlite: Database,
    sandbox: Sandbox,
    runner: TaskRunner,
) -> None:
    sandbox.reset()
    sandbox.opt_out(BEN)
    enrol(sqlite, *people)
    options = {"on_empty": "skip", "on_invalid": "reject", "on_rejected": "ignore"}
    one = runner.another()
    one.run(campaign(sqlite, rules=list(rules), **options))
    allowed = {number for number in (ANN, BEN, CAT) if all(_allows(rule, number) for rule in rules)}
    good = [(SPELT[number], name) for number, name in people if SPELT[number] and name in {"Ann", "Ben"}]
    sent = {(str(number), f"Hi {name}") for number, name in good if number in allowed and number != BEN}
    assert texts(sandbox) == sorted(sent)
    if one.result is None:
        assert not {number for number, _ in good} & allowed
    else:
        rejected = sum(one.result["rejected"].values())
        assert one.result["accepted"] == len(sent)
        assert rejected == len(people) - len(good) + len(set(good)) - len(sent)
        assert one.result["duplicates"] == len(good) - len(set(good))


def _allows(rule: OptOuts | OnlyTo, number: str) -> bool:
    return number != BEN if isinstance(rule, OptOuts) else number in rule.numbers


@given(number=st.text(max_size=15), shards=st.integers(1, 1024))
def test_each_number_is_in_one_shard(number: str, shards: int) -> None:
    assert sum(Shard(place, shards).has(number) for place in range(shards)) == 1


def test_the_shard_of_a_number_never_changes() -> None:
    places = [next(of for of in range(20) if Shard(of, 20).has(number)) for number in (ANN, BEN, CAT)]
    assert places == [8, 12, 5]
