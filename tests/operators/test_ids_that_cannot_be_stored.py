"""A gateway that accepts a text under an id that no table can hold leaves it in doubt, and it is kept so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import OutcomeUnknown
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.messages import message_id_of
from airflow_provider_winsms.operators.sms import SmsSendOperator
from tests.support.hooks import hook_of_gateway
from tests.support.send_world import ANN, BEN, CAT, once
from tests.support.variants import variant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_winsms.gateways.base import Call
    from airflow_provider_winsms.messages import Message, Receipt
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner

IDS = {"empty": "", "long": "x" * 65, "no ASCII": "\u00e9", "unprintable": "a\nb"}


def with_id_of_ben(message_id: str, read: Callable[[str], Any]) -> type[SmsSendOperator]:
    """Return a send through a gateway whose ids are texts, with this one for Ben's text."""

    def renamed(receipt: Receipt) -> Receipt:
        written = message_id if receipt.number == BEN else f"text-{receipt.number[-1]}"
        return replace(receipt, message_id=read(written))

    class TextIds(WinSMSGateway):
        def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
            call = super().send(message)
            return replace(call, parse=lambda response: tuple(map(renamed, call.parse(response))))

    return variant(SmsSendOperator, hook_of=staticmethod(hook_of_gateway(TextIds)))


@pytest.fixture(params=["store", "tables"])
def options(request: pytest.FixtureRequest, runner: TaskRunner, tmp_path: Path) -> dict[str, Any]:
    """The options of a send, with each ledger."""
    options = {"task_id": "send", "text": "Hallo", "to": [ANN, BEN, CAT]}
    if request.param == "tables":
        runner.add_database("tables", tmp_path / "ledger.db")
        options["ledger_conn_id"] = "tables"
    return options


@pytest.mark.parametrize("message_id", IDS.values(), ids=IDS)
def test_only_that_text_is_in_doubt_and_it_never_goes_out_again(
    message_id: str,
    options: dict[str, Any],
    world: SendWorld,
    runner: TaskRunner,
    capsys: pytest.CaptureFixture[str],
) -> None:
    send = with_id_of_ben(message_id, str)
    for _ in range(2):
        error = runner.run(send(**options)).error
        assert isinstance(error, OutcomeUnknown)
        assert "(1 in request 1)" in str(error)
        runner.clear()
    assert runner.xcoms["partial_result"]["message_ids"] == ["text-1", "text-3"]
    assert world.texts == once(ANN, BEN, CAT)
    written = capsys.readouterr().out
    assert "Request 1: the gateway accepted 1 text under an id that cannot be stored" in written
    assert not message_id or message_id not in written + str(error)


def test_a_gateway_that_checks_its_ids_loses_that_answer_and_nothing_goes_out_again(
    options: dict[str, Any], world: SendWorld, runner: TaskRunner
) -> None:
    send = with_id_of_ben("x" * 65, message_id_of)
    for _ in range(2):
        error = runner.run(send(**options)).error
        assert isinstance(error, OutcomeUnknown)
        assert "(3 in request 1)" in str(error)
        runner.clear()
    assert world.texts == once(ANN, BEN, CAT)


def test_a_whole_number_in_a_text_is_the_same_id_for_both_ledgers(
    options: dict[str, Any], world: SendWorld, runner: TaskRunner
) -> None:
    send = with_id_of_ben("12", str)
    results = []
    for _ in range(2):
        assert runner.run(send(**options)).error is None
        results.append(runner.result["message_ids"])
    assert results == [["text-1", 12, "text-3"]] * 2
    assert world.texts == once(ANN, BEN, CAT)
