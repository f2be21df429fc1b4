"""A person resolves an unknown outcome at a gateway whose ids are texts, with the real ``airflow``."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pendulum
import pytest

from airflow_provider_winsms.exceptions import OutcomeUnknown
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.runtime import Clock
from tests.support.pigeon import Fault, PigeonBox
from tests.support.task_runner import TaskRunner
from tests.support.variants import variant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.home import Home

TO = ["48512345601", "48512345602"]
IDS = ["0b6f7f2e-31a3-4a4c-9a52-2f1f1a6ec001", "0b6f7f2e-31a3-4a4c-9a52-2f1f1a6ec002"]

pytestmark = pytest.mark.airflow


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[PigeonBox]:
    with PigeonBox() as found:
        monkeypatch.setenv("AIRFLOW_CONN_PIGEON", json.dumps(found.connection))
        yield found


def send(box: PigeonBox) -> SmsSendOperator:
    kind = variant(SmsSendOperator, clock=Clock(lambda: pendulum.instance(box.now()), box.advance))
    return kind(task_id="send", text="Our little secret", to=TO, sms_conn_id="pigeon")


@pytest.fixture
def lost(box: PigeonBox, home: Home) -> TaskRunner:
    """A send whose answer is lost, in the database of an Airflow."""
    runner = TaskRunner({"pigeon": box.connection})
    box.add_fault("POST /texts", Fault.DROPPED)
    assert isinstance(runner.run(send(box)).error, OutcomeUnknown)
    home.keep(runner)
    return runner


def test_that_it_was_accepted_gives_the_task_the_ids(box: PigeonBox, home: Home, lost: TaskRunner) -> None:
    (row,) = home.unresolved()
    home.resolve(row["batch_id"], "--request", "1", "--accepted", *IDS, "--yes")
    lost.task_state = home.store()
    lost.clear()
    assert lost.run(send(box)).error is None
    assert lost.result["message_ids"] == IDS
    assert box.outbox() == []


def test_that_it_was_not_accepted_has_the_cleared_task_send(
    box: PigeonBox, home: Home, lost: TaskRunner
) -> None:
    (row,) = home.unresolved()
    home.resolve(row["batch_id"], "--request", "1", "--not-accepted", "--yes")
    lost.task_state = home.store()
    lost.clear()
    assert lost.run(send(box)).error is None
    assert Counter(text.number for text in box.outbox()) == Counter(f"+{number}" for number in TO)
