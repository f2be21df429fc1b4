"""Gateways that break one promise each: the contract suite catches every one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from sms_pigeon_for_tests.gateway import PigeonGateway

from airflow_provider_winsms.gateways.base import Problem, Response
from airflow_provider_winsms.messages import Answers
from tests.gateways import pigeon_under_test, test_contract

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_winsms.gateways.base import Call
    from airflow_provider_winsms.messages import DeliveryReport, Message, MessageId, Receipt
    from tests.gateways.carriers import Carrier
    from tests.gateways.under_test import GatewayUnderTest

T = TypeVar("T")


def changed(call: Call[T], change: Callable[[T, Response], T]) -> Call[T]:
    """Return a call whose result is changed, with the answer at hand."""
    return replace(call, parse=lambda response: change(call.parse(response), response))


class RepeatsSends(PigeonGateway):
    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        return replace(super().send(message), is_repeatable=True)


class TakesRowsInTheirOrder(PigeonGateway):
    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        def in_the_order_of_rows(receipts: tuple[Receipt, ...], response: Response) -> tuple[Receipt, ...]:
            numbers = [row["number"].removeprefix("+") for row in response.document["texts"]]
            return tuple(
                sorted(receipts, key=lambda receipt: [*numbers, receipt.number].index(receipt.number))
            )

        return changed(super().send(message), in_the_order_of_rows)


class ReturnsIdsAsTheyCome(PigeonGateway):
    def delivery_reports(self, message_ids: Sequence[MessageId]) -> Call[Answers[DeliveryReport]]:
        return changed(
            super().delivery_reports(message_ids),
            lambda reports, _: Answers.of(replace(each, message_id=str(each.message_id)) for each in reports),
        )


class ForgetsUnreadableRows(PigeonGateway):
    def delivery_reports(self, message_ids: Sequence[MessageId]) -> Call[Answers[DeliveryReport]]:
        return changed(super().delivery_reports(message_ids), lambda reports, _: Answers.of(reports))


class TakesA500ForARefusal(PigeonGateway):
    def problem(self, response: Response) -> Problem | None:
        return Problem.REFUSED if response.status == 500 else super().problem(response)


class TakesAnyRedirectForARefusal(PigeonGateway):
    def problem(self, response: Response) -> Problem | None:
        return Problem.REFUSED if 300 <= response.status < 400 else super().problem(response)


class LosesPlacesOfAmounts(PigeonGateway):
    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        return changed(
            super().send(message),
            lambda receipts, _: tuple(
                replace(each, cost=each.cost and round(each.cost, 2)) for each in receipts
            ),
        )


class TakesEmptyAnswersForSuccesses(PigeonGateway):
    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        return replace(super().send(message), successes=frozenset({202, 204}), parse=lambda _: ())


class PutsNumbersIntoAddresses(PigeonGateway):
    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        return replace(super().send(message), query={"to": message.recipients[0].number})


class CallsTheSessionOverForGood(PigeonGateway):
    def problem(self, response: Response) -> Problem | None:
        problem = super().problem(response)
        return Problem.REFUSED if problem is Problem.SIGN_IN_AGAIN else problem


class OverfillsRequests(PigeonGateway):
    def recipient_bytes(self, _recipient: Any) -> int:
        return 1

    limits = replace(PigeonGateway.limits, recipients=10_000, messages=10_000)


class ListsOptOutsThatItDoesNotDeclare(PigeonGateway):
    def opt_outs(self) -> Any:
        return self.balance()


@dataclass(frozen=True)
class Mutant:
    kind: type[PigeonGateway]
    claim: Callable[..., None]
    method: str = ""


MUTANTS = [
    Mutant(
        RepeatsSends, test_contract.test_what_costs_money_is_submitted_once_when_its_answer_is_lost, "send"
    ),
    Mutant(RepeatsSends, test_contract.test_what_costs_money_is_not_repeatable),
    Mutant(
        TakesRowsInTheirOrder,
        test_contract.test_receipts_are_in_the_order_of_recipients_whatever_the_order_of_the_answer,
    ),
    Mutant(ReturnsIdsAsTheyCome, test_contract.test_ids_are_canonical),
    Mutant(
        ForgetsUnreadableRows,
        test_contract.test_a_state_that_cannot_be_read_leaves_its_id_open_and_the_others_settled,
    ),
    Mutant(
        TakesA500ForARefusal,
        test_contract.test_what_costs_money_is_submitted_once_when_its_answer_is_lost,
        "send",
    ),
    Mutant(TakesA500ForARefusal, test_contract.test_only_documented_answers_have_a_meaning),
    Mutant(
        TakesAnyRedirectForARefusal,
        test_contract.test_a_refusal_names_the_callers_next_move_and_is_not_repeated,
        "send",
    ),
    Mutant(LosesPlacesOfAmounts, test_contract.test_amounts_are_exact),
    Mutant(TakesEmptyAnswersForSuccesses, test_contract.test_an_answer_about_nobody_is_a_lost_one),
    Mutant(
        PutsNumbersIntoAddresses,
        test_contract.test_no_number_text_or_secret_is_in_an_error_a_repr_an_address_or_a_log,
    ),
    Mutant(
        CallsTheSessionOverForGood,
        test_contract.test_a_session_that_is_over_is_renewed_once_and_the_request_repeated,
    ),
    Mutant(OverfillsRequests, test_contract.test_planned_requests_stay_within_the_limits_on_the_wire),
    Mutant(ListsOptOutsThatItDoesNotDeclare, test_contract.test_what_is_not_declared_is_refused_by_name),
]


def fulfils(
    mutant: Mutant, target: GatewayUnderTest, carrier: Carrier, caplog: pytest.LogCaptureFixture
) -> bool:
    """Run a claim of the suite, and tell whether it holds."""
    known = {
        "carrier": carrier,
        "target": target,
        "method": mutant.method,
        "caplog": caplog,
        "recipients": 1,
        "words": 150,
    }
    names = mutant.claim.__code__.co_varnames[: mutant.claim.__code__.co_argcount]
    try:
        mutant.claim(**{name: known[name] for name in names})
    # A claim fails by its assertion, by an error that it did not foresee, or by one that did not come.
    except (Exception, pytest.fail.Exception):  # noqa: BLE001
        return False
    return True


def under_test(kind: type[PigeonGateway]) -> GatewayUnderTest:
    """Return a gateway with the answers of Pigeon's documents, and calls of its own."""
    gateway = kind(country_code="48")

    def calls(method: str) -> Call[Any]:
        described: dict[str, tuple[Any, ...]] = {
            "send": (pigeon_under_test.TO_ONE,),
            "delivery_reports": ([pigeon_under_test.IDS[0]],),
        }
        call: Call[Any] = getattr(gateway, method)(*described[method])
        return call

    pigeon = pigeon_under_test.UNDER_TEST
    own = {name: pigeon.operations[name]._replace(call=calls(name)) for name in ("send", "delivery_reports")}

    def examples(wire_id: Any) -> Any:
        known = pigeon.examples(wire_id)
        (message_id,) = gateway.message_ids([wire_id])
        reports = known["delivery_reports"]._replace(call=gateway.delivery_reports([message_id]))
        return {**known, "send": known["send"]._replace(call=own["send"].call), "delivery_reports": reports}

    def accept(message: Any, order: Any, cost: Any) -> Any:
        return pigeon.accept(message, order, cost)._replace(call=gateway.send(message))

    def states(wire_ids: Any) -> Any:
        call = gateway.delivery_reports(gateway.message_ids(wire_ids))
        return pigeon_under_test.states(wire_ids)._replace(call=call)

    operations = {**pigeon.operations, **own}
    return replace(
        pigeon, gateway=gateway, operations=operations, examples=examples, accept=accept, states=states
    )


@pytest.mark.parametrize(
    "mutant", MUTANTS, ids=lambda mutant: f"{mutant.kind.__name__}: {mutant.claim.__name__}"
)
def test_a_gateway_that_breaks_a_promise_fails_the_suite(
    mutant: Mutant, carrier: Carrier, caplog: pytest.LogCaptureFixture
) -> None:
    assert fulfils(mutant, under_test(PigeonGateway), carrier, caplog)
    assert not fulfils(mutant, under_test(mutant.kind), carrier, caplog)
