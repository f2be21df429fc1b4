"""Every gateway x every operation x every way to fail x tasks and event loops, over real sockets."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import replace
from importlib import import_module
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    OutcomeUnknown,
    SessionExpired,
    SmsError,
    UnsupportedCapability,
)
from airflow_provider_winsms.gateways.base import Problem, Response
from airflow_provider_winsms.gateways.transport import ATTEMPTS, LONGEST_WAIT
from airflow_provider_winsms.get_provider_info import GATEWAYS
from airflow_provider_winsms.messages import DeliveryState, Message, Recipient, message_id_of
from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.sending.plan import plan
from tests.gateways.calls import BALANCE, ONCE_ONLY, OPERATIONS, SEND, SENT, TO_THREE
from tests.gateways.carriers import GATEWAY, KEY
from tests.gateways.stub import NO_ANSWER, RESET, Reply, Stub, answer, cut, cut_by_reset
from tests.gateways.under_test import ARGUMENTS, METHODS, REFUSED, GatewayUnderTest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.gateways.carriers import Carrier
    from tests.gateways.under_test import Operation

HTML = b"<html><body><h1>Down for maintenance</h1></body></html>"
MANY = 2300
MARK = "fish"

TARGETS: list[GatewayUnderTest] = [
    import_module(f"tests.gateways.{name}_under_test").UNDER_TEST for name in (*GATEWAYS, "pigeon")
]
"""Every gateway of the package, and the made-up one."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.gateway.name)
def test_the_address_of_a_client_zone_holds_nothing_but_a_place(target: GatewayUnderTest) -> None:
    url = target.gateway.client_zone_url
    assert not url or re.fullmatch(r"https://[a-z.-]+(/[a-z-]+)*/?", url)


def lost_answers(operation: Operation) -> dict[str, Reply]:
    """Return answers that may come after the request was carried out, and do not say whether it was."""
    whole, status = operation.reply, operation.status
    statuses = sorted({201, 202, 204, 303, 408, 500, 502, 504} - operation.call.successes)
    lost = {
        **{f"HTTP {status}": answer(status, {"statusCode": status, MARK: "?"}) for status in statuses},
        "HTTP 503": answer(503, {"statusCode": 503, "errorMessage": "An unknown error has occurred"}),
        "a page of HTML as failure": answer(502, body=HTML, headers={"Content-Type": "text/html"}),
        "no answer": NO_ANSWER,
        "a reset instead of an answer": RESET,
        "half a status line": cut(whole, 10),
        "something that is not HTTP": Reply(b"220 mail.example ESMTP\r\n", closes=True),
    }
    if operation.success is None:
        return lost
    # In a list, a list is a row that cannot be read.
    other: Any = MARK if isinstance(operation.success, list) else [[]]
    return {**lost, "not even a document": answer(status, other), **_lost_documents(whole, status)}


def _lost_documents(whole: Reply, status: int) -> dict[str, Reply]:
    head = f"HTTP/1.1 {status} Said\r\n".encode()
    body = whole.wire.index(b"\r\n\r\n") + 4
    return {
        "a page of HTML as success": answer(status, body=HTML, headers={"Content-Type": "text/html"}),
        "an empty success": answer(status, body=b""),
        "another document": answer(status, {MARK: True}),
        "half a document": answer(status, body=whole.wire[body:-2], headers={"Connection": "close"}),
        "half a head": cut(whole, 40),
        "a head without its body": cut(whole, body),
        "half a body": cut(whole, len(whole.wire) - 2),
        "a reset within the body": cut_by_reset(whole, len(whole.wire) - 2),
        "a chunk that ends early": Reply(head + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{", closes=True),
        "a chunk of no length": Reply(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}", closes=True),
        "two lengths": Reply(head + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}", closes=True),
        "bytes that are not gzip": answer(status, body=b"{}", headers={"Content-Encoding": "gzip"}),
        "bytes that are not text": answer(status, body=b'{"a": "\xff\xfe"}'),
    }


def operations(*, once_only: bool | None = None) -> list[Any]:
    return [
        pytest.param(target, method, id=f"{target}: {method}")
        for target in TARGETS
        for method in target.operations
        if once_only in {None, method in target.once_only}
    ]


def targets(*, with_: str = "") -> pytest.MarkDecorator:
    """Return the gateways, or those whose documents have something."""
    having = [target for target in TARGETS if not with_ or getattr(target, with_)]
    return pytest.mark.parametrize("target", having, ids=str)


each_operation = pytest.mark.parametrize(("target", "method"), operations())
each_that_costs = pytest.mark.parametrize(("target", "method"), operations(once_only=True))
each_that_costs_nothing = pytest.mark.parametrize(("target", "method"), operations(once_only=False))
each_gateway = targets()


def test_every_gateway_of_the_package_is_under_test_and_so_is_one_unlike_them() -> None:
    assert len(TARGETS) == len(GATEWAYS) + 1
    assert len({type(target.gateway) for target in TARGETS}) == len(TARGETS)


def test_winsms_has_eleven_operations_and_three_cost_money() -> None:
    assert len(OPERATIONS) == 11
    assert {name for name, (call, _) in OPERATIONS.items() if not call.is_repeatable} == ONCE_ONLY


@each_gateway
def test_every_operation_that_is_declared_is_under_test(target: GatewayUnderTest) -> None:
    declared = {method for field, method in METHODS.items() if _has(target, field)}
    assert target.operations.keys() == {"send", *declared}
    assert (target.states is not None) is ("delivery_reports" in declared)


@each_gateway
def test_what_is_not_declared_is_refused_by_name(target: GatewayUnderTest) -> None:
    for field, method in METHODS.items():
        if not _has(target, field):
            with pytest.raises(
                UnsupportedCapability, match=f"{target} does not offer {field}, and `x` needs"
            ):
                target.gateway.require(field, "x")
            with pytest.raises(UnsupportedCapability, match=f"{target} has no operation {method}"):
                getattr(target.gateway, method)(*ARGUMENTS.get(method, (1, 10)))


def _has(target: GatewayUnderTest, capability: str) -> bool:
    return str(getattr(target.gateway.capabilities, capability)) not in {"False", "None", "none", "callback"}


@each_gateway
def test_what_costs_money_is_not_repeatable(target: GatewayUnderTest) -> None:
    marked = {method for method, operation in target.operations.items() if operation.call.is_repeatable}
    assert target.operations.keys() - marked == target.once_only


@each_operation
def test_a_refusal_names_the_callers_next_move_and_is_not_repeated(
    carrier: Carrier, target: GatewayUnderTest, method: str
) -> None:
    call = target.operations[method].call
    kinds = {
        status: kind
        for status, kind in target.refusals.items()
        if not (call.absent and target.says_not_there(status))
    }
    with target.stub(*(target.refusal(status, "No.") for status in kinds)) as stub:
        errors = target.outcomes(carrier, stub, *[call] * len(kinds))
    for error, (status, kind) in zip(errors, kinds.items(), strict=True):
        is_proof = call.is_repeatable or status in target.documented
        assert type(error) is (kind if is_proof else OutcomeUnknown), status
        assert f"{call.operation}: " in str(error)
        assert f"HTTP {status}" in str(error)
    assert len(stub.requests) == len(kinds)
    assert carrier.time.waits == []


@each_operation
def test_too_many_requests_are_made_fewer_whatever_the_operation(
    carrier: Carrier, target: GatewayUnderTest, method: str
) -> None:
    operation = target.operations[method]
    with target.stub(answer(429, headers={"Retry-After": "7"}), operation.reply) as stub:
        target.execute(carrier, stub, operation.call)
    assert len(stub.requests) == 2
    assert carrier.time.waits == [7.0]


@each_that_costs
def test_what_costs_money_is_submitted_once_when_its_answer_is_lost(
    carrier: Carrier, target: GatewayUnderTest, method: str
) -> None:
    operation = target.operations[method]
    lost = lost_answers(operation)
    submitted: list[int] = []
    with target.stub(*lost.values()) as stub:
        errors = target.outcomes(
            carrier, stub, *[operation.call] * len(lost), between=lambda: submitted.append(len(stub.requests))
        )
    kinds = {what: type(error) for what, error in zip(lost, errors, strict=True)}
    assert kinds == dict.fromkeys(lost, OutcomeUnknown)
    assert all("not repeated" in str(error) for error in errors)
    assert submitted == list(range(1, len(lost) + 1))
    assert carrier.time.waits == []


@each_that_costs_nothing
def test_what_costs_nothing_is_repeated_when_its_answer_is_lost(
    carrier: Carrier, target: GatewayUnderTest, method: str
) -> None:
    operation = target.operations[method]
    lost = lost_answers(operation)
    script = [reply for each in lost.values() for reply in (each, operation.reply)]
    with target.stub(*script) as stub:
        target.execute(carrier, stub, *[operation.call] * len(lost))
    assert len(stub.requests) == len(script)


@each_that_costs_nothing
def test_a_repeatable_call_ends_as_unavailable_after_the_last_attempt(
    carrier: Carrier, target: GatewayUnderTest, method: str
) -> None:
    operation = target.operations[method]
    lost = lost_answers(operation)
    with target.stub(*[reply for reply in lost.values() for _ in range(ATTEMPTS)]) as stub:
        errors = target.outcomes(carrier, stub, *[operation.call] * len(lost))
    kinds = {what: type(error) for what, error in zip(lost, errors, strict=True)}
    assert kinds == dict.fromkeys(lost, GatewayUnavailable)
    assert not any(error.is_permanent for error in errors)
    assert len(stub.requests) == ATTEMPTS * len(lost)


@each_operation
def test_a_success_is_a_success_at_once(carrier: Carrier, target: GatewayUnderTest, method: str) -> None:
    operation = target.operations[method]
    with target.stub(operation.reply) as stub:
        target.execute(carrier, stub, operation.call)
    assert len(stub.requests) == 1
    assert carrier.time.waits == []


@pytest.mark.parametrize(
    ("target", "method"), [each for each in operations() if each.values[0].later is not None]
)
def test_a_gateway_that_is_busy_is_asked_again_whatever_the_operation(
    carrier: Carrier, target: GatewayUnderTest, method: str
) -> None:
    operation = target.operations[method]
    assert target.later
    with target.stub(target.later, operation.reply) as stub:
        target.execute(carrier, stub, operation.call)
    assert len(stub.requests) == 2


@targets(with_="not_there")
def test_that_a_thing_is_not_there_is_an_answer_where_the_call_has_one(
    carrier: Carrier, target: GatewayUnderTest
) -> None:
    assert target.not_there
    for method, operation in target.operations.items():
        with target.stub(target.not_there) as stub:
            (outcome,) = target.outcomes(carrier, stub, operation.call)
        assert isinstance(outcome, ConfigurationError) is (operation.call.absent is None), method


@each_gateway
def test_ids_are_canonical(carrier: Carrier, target: GatewayUnderTest) -> None:
    for wire_id in target.wire_ids:
        known = message_id_of(str(int(wire_id) if isinstance(wire_id, float) else wire_id))
        for method, operation in target.examples(wire_id).items():
            with target.stub(operation.reply) as stub:
                (result,) = target.execute(carrier, stub, operation.call)
            ids = [row.message_id for row in _rows(result)]
            assert ids == [known], method
            assert type(ids[0]) is type(known), method
        assert target.gateway.message_ids([str(known), known]) == (known,)


def _rows(result: Any) -> Iterable[Any]:
    rows: Iterable[Any] = getattr(result, "rows", result)
    return rows


@each_gateway
def test_receipts_are_in_the_order_of_recipients_whatever_the_order_of_the_answer(
    carrier: Carrier, target: GatewayUnderTest
) -> None:
    numbers = target.personal[:3]
    message = Message("A text.", tuple(map(Recipient, numbers)))
    orders = [order for count in (3, 2, 1) for order in permutations(range(3), count)]
    for order in orders:
        operation = target.accept(message, order, target.costs[0])
        with target.stub(operation.reply) as stub:
            (receipts,) = target.execute(carrier, stub, operation.call)
        assert [receipt.number for receipt in receipts] == numbers
        known = [str(int(each) if isinstance(each, float) else each) for each in target.wire_ids]
        expected = [message_id_of(known[i]) if i in order else None for i in range(3)]
        assert [receipt.message_id for receipt in receipts] == expected, order
        assert [receipt.is_known for receipt in receipts] == [i in order for i in range(3)]


@each_gateway
def test_an_answer_about_nobody_is_a_lost_one(carrier: Carrier, target: GatewayUnderTest) -> None:
    message = Message("A text.", tuple(map(Recipient, target.personal[:3])))
    operation = target.accept(message, (), target.costs[0])
    with target.stub(operation.reply) as stub:
        (error,) = target.outcomes(carrier, stub, operation.call)
    assert type(error) is OutcomeUnknown


@targets(with_="states")
def test_a_state_that_cannot_be_read_leaves_its_id_open_and_the_others_settled(
    carrier: Carrier, target: GatewayUnderTest
) -> None:
    assert target.states
    operation = target.states(target.wire_ids[:3])
    with target.stub(operation.reply) as stub:
        (whole,) = target.execute(carrier, stub, operation.call)
    states = {report.message_id: report.state for report in whole}
    first, bad, last = states
    answers = [operation._replace(success=each) for each in _with_a_bad_row(operation.success)]
    with target.stub(*(each.reply for each in answers)) as stub:
        results = target.execute(carrier, stub, *[operation.call] * len(answers))
    for answered, result in zip(answers, results, strict=True):
        found = {report.message_id: report.state for report in result}
        assert (found[first], found[last]) == (states[first], states[last]), answered.success
        assert {*found, *result.unreadable} == {first, bad, last}, answered.success
        assert found.get(bad) is not DeliveryState.NOT_FOUND, answered.success
        assert bad not in found or bad not in result.unreadable, answered.success
    assert any(result.unreadable for result in results)


def _with_a_bad_row(document: Any) -> Iterator[Any]:
    """Yield documents whose second row is none, or lacks a value, or has one of another type."""
    key: str | None = None if isinstance(document, list) else next(iter(document))
    rows: list[dict[str, Any]] = document if key is None else document[key]
    row = rows[1]
    lacking = [{name: row[name] for name in row if name != lost} for lost in row]
    wrong: list[Any] = [None, "", True, [], {}, -1.5]
    changed = [{**row, name: value} for name in row for value in wrong]
    others: list[Any] = [None, 0, "row", True, [], {}]
    for bad in [*others, *lacking, *changed]:
        found = [rows[0], bad, *rows[2:]]
        yield found if key is None else {**document, key: found}


@each_gateway
def test_amounts_are_exact(carrier: Carrier, target: GatewayUnderTest) -> None:
    message = Message("A text.", (Recipient(target.personal[0]),))
    for cost in target.costs:
        operation = target.accept(message, (0,), cost)
        with target.stub(operation.reply) as stub:
            ((receipt,),) = target.execute(carrier, stub, operation.call)
        assert receipt.cost == cost
    assert target.gateway.currency


@each_gateway
def test_times_are_aware_instants_wherever_rows_state_them(
    carrier: Carrier, target: GatewayUnderTest
) -> None:
    for method, operation in target.examples(target.wire_ids[0]).items():
        with target.stub(operation.reply) as stub:
            (result,) = target.execute(carrier, stub, operation.call)
        names = ("received_at", "opted_out_at", "submitted_at", "send_at", "time")
        times = [getattr(row, name) for row in _rows(result) for name in names if hasattr(row, name)]
        if method in target.timeless:
            assert not any(times), method
            continue
        assert times, method
        assert all(isinstance(time, pendulum.DateTime) for time in times), method
        assert all(time.utcoffset() is not None for time in times), method


@each_gateway
def test_a_time_that_can_be_scheduled_is_never_earlier_than_the_one_asked_for(
    target: GatewayUnderTest,
) -> None:
    step = target.gateway.limits.send_at_step
    for second in range(0, 120, 7):
        asked = pendulum.datetime(2026, 3, 2, 12).add(seconds=second, microseconds=second)
        found = target.gateway.first_possible_time(asked)
        assert asked <= found < asked + step
        assert target.gateway.first_possible_time(found) == found


@each_gateway
@pytest.mark.parametrize("recipients", [1, 3, MANY])
@pytest.mark.parametrize("words", [5, 150])
def test_planned_requests_stay_within_the_limits_on_the_wire(
    carrier: Carrier, target: GatewayUnderTest, recipients: int, words: int
) -> None:
    limits, code = target.gateway.limits, target.personal[0][:2]
    numbers = (f"{code}{510_000_000 + index}" for index in range(MANY))
    messages = [
        Message(f"{index}:".ljust(words, "a"), tuple(Recipient(next(numbers)) for _ in range(recipients)))
        for index in range(max(1, MANY // recipients // 4))
    ]
    planned = [request.messages() for request in plan(messages, target.gateway).requests]
    assert sum(len(message.recipients) for request in planned for message in request) == sum(
        len(message.recipients) for message in messages
    )
    with target.stub(answer(500)) as stub:
        target.outcomes(carrier, stub, *map(target.gateway.submit, planned))
    assert len(stub.requests) == len(planned)
    for request, wire in zip(planned, stub.requests, strict=True):
        assert len(wire.body) <= limits.body_bytes
        assert sum(len(message.recipients) for message in request) <= limits.recipients
        assert len(request) <= limits.messages


@each_gateway
def test_no_number_text_or_secret_is_in_an_error_a_repr_an_address_or_a_log(
    carrier: Carrier, target: GatewayUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    hidden = [*target.personal, *target.secrets]
    echo = f"You sent: {' '.join(hidden)}"
    replies = [
        *(target.refusal(status, echo) for status in (302, 400, 401, 404, 405, 422, 429, 500)),
        *(answer(status, {"title": echo, "message": echo, echo: echo}) for status in (200, 202, 400, 500)),
        answer(502, body=echo.encode()),
        *(NO_ANSWER, RESET),
    ]
    shown: list[Any] = []
    operations = [*target.operations.items(), *target.examples(target.wire_ids[0]).items()]
    for _, operation in operations:
        with target.stub(*replies, operation.reply) as stub:
            shown += target.outcomes(carrier, stub, *[operation.call] * (len(replies) + 1), attempts=1)
        shown += [operation.call, *(request.target for request in (*stub.requests, *stub.logins))]
    errors = [each for each in shown if isinstance(each, SmsError)]
    assert all(error.__suppress_context__ or error.__context__ is None for error in errors)
    assert "127.0.0.1" in caplog.text
    written = [*map(str, shown), *map(repr, shown), *(str(vars(error)) for error in errors), caplog.text]
    words = "\n".join(written).lower()
    rows = [
        repr(list(_rows(each))) for each in shown if hasattr(each, "__iter__") and not isinstance(each, str)
    ]
    assert not [secret for secret in hidden if secret.lower() in words or secret in "".join(rows)]
    assert MARK not in words


@targets(with_="session_over")
def test_a_session_that_is_over_is_renewed_once_and_the_request_repeated(
    carrier: Carrier, target: GatewayUnderTest
) -> None:
    assert target.session_over
    for method, operation in target.operations.items():
        mine = {"api_key": f"password-for-{method}-{carrier.caller}"}
        with target.stub(target.session_over, operation.reply) as stub:
            target.execute(carrier, stub, operation.call, **mine)
        assert (len(stub.logins), len(stub.requests)) == (2, 2), method
        assert carrier.time.waits == []


@targets(with_="session_over")
def test_a_session_that_stays_over_is_renewed_no_second_time(
    carrier: Carrier, target: GatewayUnderTest
) -> None:
    assert target.session_over
    for method, operation in target.operations.items():
        mine = {"api_key": f"password-over-{method}-{carrier.caller}"}
        with target.stub(target.session_over) as stub:
            (error,) = target.outcomes(carrier, stub, operation.call, **mine)
        assert type(error) is SessionExpired, method
        assert isinstance(error, ConfigurationError), method
        assert f"Check {target.gateway.credential_words} of the connection" in str(error), method
        assert (len(stub.logins), len(stub.requests)) == (2, 2), method


@targets(with_="refused_login")
def test_a_login_that_was_refused_is_not_repeated(carrier: Carrier, target: GatewayUnderTest) -> None:
    assert target.refused_login
    refused = replace(target, logins=dict.fromkeys(target.logins, target.refused_login))
    calls = [operation.call for operation in target.operations.values()]
    mine = {"api_key": f"password-refused-{carrier.caller}"}
    with refused.stub() as stub:
        errors = [error for _ in range(2) for error in refused.outcomes(carrier, stub, *calls, **mine)]
    assert {type(error) for error in errors} == {ConfigurationError}
    assert all("The login was refused" in str(error) for error in errors)
    assert (len(stub.logins), len(stub.requests)) == (1, 0)


@each_gateway
def test_only_documented_answers_have_a_meaning(target: GatewayUnderTest) -> None:
    for status in range(300, 600):
        assert target.gateway.problem(Response({MARK: True}, status)) is None
        assert target.gateway.problem(Response(None, status)) is None
        assert target.gateway.problem(Response([], status)) is None
    assert target.gateway.problem(Response({MARK: True}, 500)) is not Problem.REFUSED


@pytest.mark.parametrize(
    ("given", "waited"),
    [
        ("0", None),
        ("1", None),
        ("2.5", None),
        ("59", 59.0),
        ("60", 60.0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_the_gateway_asks_for_is_kept(
    carrier: Carrier, status: int, given: str, waited: float | None
) -> None:
    busy = answer(status, {}, headers={"Retry-After": given})
    with Stub(busy, answer(200, {"creditBalance": 1})) as stub:
        carrier.execute(stub.base_url, BALANCE)
    (wait,) = carrier.time.waits
    assert wait == waited if waited else 0 < wait <= 1


@pytest.mark.parametrize("given", ["61", "86400", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_longer_wait_is_left_to_the_caller_and_is_a_number_of_seconds(carrier: Carrier, given: str) -> None:
    with Stub(answer(503, {}, headers={"Retry-After": given})) as stub:
        error = carrier.failure(stub.base_url, BALANCE)
    assert isinstance(error, GatewayUnavailable)
    assert error.retry_after is not None
    assert LONGEST_WAIT < error.retry_after <= 86400
    assert len(stub.requests) == 1


def test_waits_grow_and_stay_within_their_bounds(carrier: Carrier) -> None:
    with Stub(answer(503, {})) as stub:
        carrier.outcomes(stub.base_url, *[BALANCE] * 5, attempts=9)
    bounds = [min(2.0**n, LONGEST_WAIT) for n in range(8)] * 5
    assert len(carrier.time.waits) == len(bounds)
    assert all(0 <= wait <= bound for wait, bound in zip(carrier.time.waits, bounds, strict=True))
    assert len(set(carrier.time.waits)) > 20


def test_one_attempt_is_one_request(carrier: Carrier) -> None:
    with Stub(answer(503, {})) as stub:
        carrier.failure(stub.base_url, BALANCE, attempts=1)
    assert len(stub.requests) == 1
    assert carrier.time.waits == []


@pytest.mark.parametrize("status", [*REFUSED, 429, 500])
def test_errors_cross_processes_whole(carrier: Carrier, status: int) -> None:
    busy = answer(status, {"errorMessage": "No."}, headers={"Retry-After": "61"})
    with Stub(busy) as stub:
        error = carrier.failure(stub.base_url, SEND)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - made in this test
        assert type(twin) is type(error)
        assert (str(twin), vars(twin)) == (str(error), vars(error))


@pytest.mark.parametrize(
    ("fault", "kind", "texts"),
    [
        ("lost-after-acceptance", OutcomeUnknown, 1),
        ("500-after-acceptance", OutcomeUnknown, 1),
        ("502-after-acceptance", OutcomeUnknown, 1),
        ("503-after-acceptance", OutcomeUnknown, 1),
        ("truncated-json", OutcomeUnknown, 1),
        ("html-answer", OutcomeUnknown, 1),
        *((f"{status}-after-acceptance", OutcomeUnknown, 1) for status in (302, 400, 401, 403, 404, 422)),
        ("missing-row", OutcomeUnknown, 1),
        ("500-before-acceptance", OutcomeUnknown, 0),
        ("reset-before-acceptance", OutcomeUnknown, 0),
    ],
)
def test_whether_it_was_carried_out_or_not_a_send_without_an_answer_is_unknown(
    carrier: Carrier, fault: str, kind: type[SmsError], texts: int
) -> None:
    with Sandbox(api_key=KEY, speed=0) as box:
        box.add_fault(fault)
        with pytest.raises(kind):
            carrier.execute(box.base_url, SEND)
        assert len(box.requests()) == 1
        assert len(box.outbox()) == texts


@pytest.mark.parametrize(
    ("fault", "known"), [("duplicated-row", [True, True, True]), ("missing-row", [True, False, True])]
)
def test_a_row_too_many_or_too_few_leaves_the_receipts_of_the_others(
    carrier: Carrier, fault: str, known: list[bool]
) -> None:
    with Sandbox(api_key=KEY, speed=0) as box:
        box.add_fault(fault)
        (receipts,) = carrier.execute(box.base_url, GATEWAY.send(replace(TO_THREE, send_at=None)))
        texts = {text["mobileNumber"]: text["apiMessageId"] for text in box.outbox()}
        assert len(box.requests()) == 1
    assert [receipt.is_known for receipt in receipts] == known
    assert all(texts.get(receipt.number) == receipt.message_id for receipt in receipts if receipt.is_known)


def test_a_send_that_was_asked_to_wait_goes_out_once(carrier: Carrier) -> None:
    with Sandbox(api_key=KEY, speed=0) as box:
        box.add_fault("429-too-many-requests", times=3, retry_after=5)
        carrier.execute(box.base_url, SEND)
        assert carrier.time.waits == [5.0] * 3
        assert len(box.outbox()) == 1


def test_a_wrong_key_is_told_from_a_wrong_path(carrier: Carrier) -> None:
    with Sandbox(api_key="another", speed=0) as box:
        with pytest.raises(ConfigurationError, match="Check the API key"):
            carrier.execute(box.base_url, SEND)
        with pytest.raises(ConfigurationError, match="Check the base URL"):
            carrier.execute(box.base_url.upper().replace("HTTP:", "http:"), SEND)
        assert box.outbox() == []


def test_the_stub_and_the_sandbox_agree_on_what_a_success_is(carrier: Carrier) -> None:
    with Stub(answer(200, SENT)) as stub, Sandbox(api_key=KEY, speed=0) as box:
        ((from_stub,),) = carrier.execute(stub.base_url, SEND)
        ((from_box,),) = carrier.execute(box.base_url, SEND)
    assert from_stub.accepted
    assert from_box.accepted
