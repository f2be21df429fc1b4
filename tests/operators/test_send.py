from __future__ import annotations

import pickle
import re
from collections import deque
from datetime import UTC
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    InvalidRows,
    OutcomeUnknown,
    OutOfCredits,
    SendRejected,
    TemplateFailed,
)
from airflow_provider_winsms.messages import Recipient
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ANN, BEN, CAT = "27825550101", "27825550102", "27825550103"
NO_CREDITS, LOCKED, TRIAL = "27000000001", "27000000002", "27000000003"
BAD_NUMBER, OPTED_OUT = "27000000005", "27000000006"
HALLO = "Hallo, this is a test."


def send(**kwargs: Any) -> SmsSendOperator:
    return SmsSendOperator(task_id="send", **{"text": HALLO, "to": [ANN, BEN], **kwargs})


def send_batch(*messages: Any, **kwargs: Any) -> SmsSendBatchOperator:
    return SmsSendBatchOperator(task_id="send_batch", messages=list(messages), **kwargs)


def numbers(sandbox: Sandbox) -> list[str]:
    return [text["mobileNumber"] for text in sandbox.outbox()]


def sends(sandbox: Sandbox) -> int:
    return sum(1 for request in sandbox.requests() if request["operation"] in {"smsSend", "smsSendBatch"})


def test_a_text_reaches_each_recipient_once(sandbox: Sandbox, runner: TaskRunner) -> None:
    runner.run(send())
    assert numbers(sandbox) == [ANN, BEN]
    assert {text["message"] for text in sandbox.outbox()} == {HALLO}


def test_the_result_has_ids_counts_and_amounts_and_no_more(sandbox: Sandbox, runner: TaskRunner) -> None:
    runner.run(send(to=[ANN, BEN, BAD_NUMBER, ANN]))
    assert runner.result == {
        "batch": runner.result["batch"],
        "message_ids": [text["apiMessageId"] for text in sandbox.outbox()],
        "accepted": 2,
        "rejected": {"bad_number": 1},
        "unknown": 0,
        "not_tried": 0,
        "duplicates": 1,
        "cost": "2.0",
        "currency": "credits",
        "balance": "998.0",
        "requests": 1,
    }
    assert re.fullmatch("[0-9a-f]{32}", runner.result["batch"])


RECIPIENTS: dict[str, tuple[Any, list[str]]] = {
    "one": (ANN, [ANN]),
    "commas": (f"{ANN}, {BEN}", [ANN, BEN]),
    "lines": (f"{ANN};{BEN}\n{CAT}", [ANN, BEN, CAT]),
    "spellings": (["+27 82 555 0101", "(082) 555-0102", "0027825550103"], [ANN, BEN, CAT]),
    "trunk-zero": (["+27 (0)82 555 0101", "00 27 (0) 82 555 0102"], [ANN, BEN]),
    "short": (["+290 12345"], ["29012345"]),
    "list-text": (f"['{ANN}', '{BEN}']", [ANN, BEN]),
    "integer": ([int(ANN)], [ANN]),
    "floats": ([float(ANN), f"{BEN}.0", "825550103.0"], [ANN, BEN, CAT]),
    "decimals": ([Decimal(ANN), Decimal(f"{BEN}.00")], [ANN, BEN]),
    "decimal": (Decimal(ANN), [ANN]),
    "country-code-and-trunk-zero": (
        ["+27 082 555 0101", "270825550102", "27 (0)82 555 0103"],
        [ANN, BEN, CAT],
    ),
    "invisible-signs": (
        [f"\u202a{ANN}\u202c", f"\ufeff{BEN}", "27\u00a082\u200b555\u00ad0103"],
        [ANN, BEN, CAT],
    ),
    "same-number": ([ANN, "0825550101", "+27825550101"], [ANN]),
    "template": ("{{ [1, 2] | length }}7825550101", [ANN]),
    "callable": (lambda **_: [ANN, BEN], [ANN, BEN]),
    "generator": ((number for number in (ANN, BEN)), [ANN, BEN]),
}


@pytest.mark.parametrize("way", RECIPIENTS)
def test_recipients_may_be_given_in_any_usual_way(way: str, sandbox: Sandbox, runner: TaskRunner) -> None:
    to, expected = RECIPIENTS[way]
    runner.run(send(to=to))
    assert numbers(sandbox) == expected


def test_a_text_is_spelt_in_the_alphabet_that_the_gateway_sends(sandbox: Sandbox, runner: TaskRunner) -> None:
    runner.run(send(text="Môre “wêreld” – {{ 1 + 1 }} €", to=ANN))
    assert sandbox.outbox()[0]["message"] == 'More "wereld" - 2 €'


def test_a_strict_text_goes_out_as_it_stands(sandbox: Sandbox, runner: TaskRunner) -> None:
    assert runner.run(send(text="Caf\u00e9 cafe\u0301 €5\r\n[x]", to=ANN, encoding="strict")).error is None
    assert sandbox.outbox()[0]["message"] == "Café café €5\n[x]"


@pytest.mark.parametrize("text", ["It’s {{ 1 + 1 }} “o’clock”", lambda **_: "It’s 2 “o’clock”"])
def test_a_strict_text_that_would_be_spelt_otherwise_is_refused_with_each_character_and_its_place(
    text: Any, sandbox: Sandbox, runner: TaskRunner
) -> None:
    runner.retries = 3
    error = runner.run(send(text=text, encoding="strict")).error
    assert isinstance(error, AirflowFailException)
    quote = "RIGHT SINGLE QUOTATION MARK"
    named = f"U+2019 {quote} at 3, U+201C LEFT DOUBLE QUOTATION MARK at 8, U+2019 {quote} at 10, U+201D"
    assert named in str(error)
    assert "clock" not in str(error)
    assert sandbox.requests() == []


def test_a_strict_text_in_a_dag_file_is_refused_only_when_its_gateway_is_known(
    sandbox: Sandbox, runner: TaskRunner
) -> None:
    task = send(text="see you \U0001f600", encoding="strict")
    assert "U+1F600 GRINNING FACE at 9. Replace them. `airflow sms check`" in str(runner.run(task).error)
    assert sandbox.requests() == []


def test_a_retry_that_is_strict_resumes_the_batch_of_a_try_that_was_not(
    sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.set_account(credit_balance=2000)
    text = {"text": "Café", "to": [f"2782{place:07d}" for place in range(1001)]}
    sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, retry_after=3600)
    runner.retries = 3
    assert isinstance(runner.run(send(**text)).error, GatewayUnavailable)
    assert runner.run(send(**text, encoding="strict")).error is None
    assert len(numbers(sandbox)) == len(set(numbers(sandbox))) == 1001


def test_a_scheduled_text_is_rounded_up_to_the_minute(sandbox: Sandbox, runner: TaskRunner) -> None:
    when = pendulum.now("Africa/Johannesburg").add(hours=3).set(minute=14, second=30)
    runner.run(send(send_at=when.in_timezone("UTC").isoformat()))
    assert {text["scheduledTime"] for text in sandbox.outbox()} == {when.strftime("%Y%m%d%H15")}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"text": "  "}, "text is empty"),
        ({"text": None}, "text is of type NoneType"),
        ({"text": "x" * 919}, "919 septets"),
        ({"text": "€" * 460}, "920 septets"),
        ({"text": "see you \U0001f600"}, "U+1F600 GRINNING FACE"),
        ({"text": "x" * 161, "max_segments": 1}, "takes 2 segments and max_segments allows 1"),
        ({"text": "ring \x07"}, "U+0007 (a control character)"),
        ({"text": lambda **_: "ring \x07"}, "the GSM 7-bit alphabet cannot carry: U+0007"),
        ({"max_segments": 0}, "a whole number from 1 on"),
        ({"max_segments": 7}, "from 1 to 6"),
        ({"max_segments": "many"}, "a whole number from 1 on"),
        ({"to": []}, "no recipients"),
        ({"to": ""}, "no recipients"),
        ({"to": None}, "of type NoneType"),
        ({"to": [ANN, "hello"]}, "Recipient 2 is not a phone number"),
        ({"to": [ANN, "2782555"], "text": ""}, "text is empty"),
        ({"to": ["123456"]}, "Recipient 1 (******) is not a phone number"),
        ({"to": ["2782555010112345678"]}, "Recipient 1 (27******678)"),
        ({"to": [True]}, "Recipient 1 is of type bool"),
        ({"to": [(ANN,)]}, "Recipient 1 is of type tuple"),
        ({"to": [27825550101.5]}, "Recipient 1 is not a phone number"),
        ({"to": [ANN, None]}, "Recipient 2 is empty (None)"),
        ({"to": [82555010]}, "Recipient 1 (82******010) is not a phone number: it is too short"),
        ({"to": [ANN, "2782555010"]}, "Recipient 2 (27******010) is not a phone number: it has 10 digits"),
        ({"to": ["082555010199"]}, "Recipient 1 (08******199) is not a phone number: it has 13 digits"),
        ({"to": ["2.78255501E+10"]}, "it is written with an exponent"),
        ({"to": "[2.78255501E+10]"}, "it is written with an exponent"),
        (
            {"to": [ANN, "082/5550101"]},
            "Recipient 2 (08******101) is not a phone number: it has the sign U+002F",
        ),
        ({"to": [10**5000]}, "Recipient 1 is not a phone number"),
        ({"to": ["27000000010"], "check_numbers": "valid"}, "it is in no range in use"),
        ({"check_numbers": "maybe"}, "check_numbers must be one of possible, valid, off"),
        ({"to": ["082555"]}, "Recipient 1 (******) is not a phone number"),
        ({"to": "[1, oops"}, "begins as a list"),
        ({"send_at": "2027-01-31T09:00"}, "no time zone"),
        ({"send_at": "tomorrow"}, "not a time"),
        ({"send_at": "2020-01-31T09:00+02:00"}, "past"),
        ({"send_at": "0001-01-01T00:00+02:00"}, "send_at"),
        ({"send_at": "9999-12-31T23:59:30-02:00"}, "send_at"),
        ({"on_rejected": "shrug"}, "on_rejected must be one of"),
        ({"text": "Dear {{ nobody }}"}, "UndefinedError"),
        ({"text": "Dear {% if %}"}, "TemplateSyntaxError"),
    ],
)
def test_bad_input_is_refused_for_good_and_before_anything_is_sent(
    wrong: dict[str, Any], says: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    runner.retries = 3
    error = runner.refusal(lambda: send(**wrong))
    assert isinstance(error, InvalidMessage)
    assert says in str(error)
    assert sandbox.requests() == []


@pytest.mark.crash
def test_a_hundred_thousand_recipients_take_a_hundred_requests(sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.set_account(credit_balance=100_000)
    runner.run(send(text="Hi", to=[f"2782{place:07d}" for place in range(100_000)]))
    assert runner.result["accepted"] == 100_000
    assert sends(sandbox) == runner.result["requests"] == 100


def test_a_batch_is_cut_by_recipients_and_by_bytes(sandbox: Sandbox, runner: TaskRunner) -> None:
    long = [{"text": f"{place:03d} " + "x" * 150, "to": f"2782{place:07d}"} for place in range(1000)]
    runner.run(send_batch(*long))
    assert runner.result["accepted"] == 1000
    assert len(numbers(sandbox)) == len(set(numbers(sandbox))) == 1000
    # 244 bytes each: 799 fit into 195,000.
    assert sends(sandbox) == 2


def test_a_batch_sends_each_its_own_text(sandbox: Sandbox, runner: TaskRunner) -> None:
    runner.run(send_batch({"text": "Hi Ann", "to": ANN}, {"text": "Hi all", "to": [BEN, CAT]}))
    sent = {(text["mobileNumber"], text["message"]) for text in sandbox.outbox()}
    assert sent == {(ANN, "Hi Ann"), (BEN, "Hi all"), (CAT, "Hi all")}
    assert [request["operation"] for request in sandbox.requests()] == ["smsSendBatch"]


def test_a_batch_sends_the_same_text_to_the_same_number_once(sandbox: Sandbox, runner: TaskRunner) -> None:
    runner.run(send_batch({"text": "Hi", "to": ANN}, {"text": "Hi", "to": ANN}, {"text": "Ho", "to": ANN}))
    assert [text["message"] for text in sandbox.outbox()] == ["Hi", "Ho"]
    assert runner.result["duplicates"] == 1


def test_duplicates_are_named_masked_with_their_places(
    sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.run(send_batch({"text": "Hi", "to": [ANN, BEN]}, {"text": "Hi", "to": [CAT, "082 555 0102"]}))
    assert numbers(sandbox) == [ANN, BEN, CAT]
    logged = capsys.readouterr().out
    assert "Duplicates left out; the first: 27******102 (message 2, recipient 2)." in logged
    assert not {ANN, BEN, CAT} & set(re.findall("[0-9]+", logged))


def test_of_many_duplicates_the_first_are_named(
    sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.run(send(to=[ANN] * 5000))
    assert runner.result["duplicates"] == 4999
    assert numbers(sandbox) == [ANN]
    assert capsys.readouterr().out.count("27******101 (message 1, recipient ") == 10


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "`messages` is empty"),
        ([{"text": "Hi"}], "Missing here: to; unknown: 0 keys"),
        ([{"text": "Hi", "to": ANN, "when": "now"}], "Missing here: none; unknown: 1 key"),
        ([{"text": "Hi", "to": ANN}, {"text": "", "to": ANN}], "Message 2: The text is empty"),
        (["Hi"], "Message 1: The row is of type str"),
        ([{"text": "Hi", "to": ANN, "send_at": pendulum.datetime(2020, 1, 1)}], "Message 1: send_at is past"),
    ],
)
def test_a_wrong_message_of_a_batch_stops_all_of_it(
    messages: list[Any], says: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    error = runner.run(send_batch(*messages)).error
    assert isinstance(error, InvalidMessage)
    assert says in str(error)
    assert sandbox.requests() == []


def test_the_first_twenty_invalid_rows_are_described_and_all_are_counted(
    sandbox: Sandbox, runner: TaskRunner
) -> None:
    rows: list[Any] = [{"text": "Hi", "to": f"2782{place:07d}"} for place in range(40)]
    for place in range(0, 40, 2):
        rows[place] = {"text": "Hi", "to": [f"2783{place:07d}", "2782555x"]}
    rows[1] = {"text": "", "to": ANN}
    rows[3] = {"text": "Hi", "to": ANN, "max_segments": 9}
    rows[5] = None
    error = runner.run(send_batch(*rows)).error
    assert isinstance(error, InvalidRows)
    assert error.count == 23
    assert error.problems[1] == "Message 2: The text is empty. Give the words to send."
    assert error.problems[0].startswith("Message 1: Recipient 2 (27******555) is not a phone number")
    assert "Message 4: max_segments must be a whole number from 1 to 6." in str(error)
    assert "Message 6: The row is of type NoneType." in str(error)
    assert str(error).startswith("23 rows are invalid. Nothing was sent.")
    assert str(error).endswith("\n- and 3 more")
    assert len(error.problems) == 20
    assert sandbox.requests() == []


def test_all_invalid_recipients_of_a_list_are_counted(sandbox: Sandbox, runner: TaskRunner) -> None:
    error = runner.run(send(to=[ANN, "hello", None, BEN, "123"])).error
    assert isinstance(error, InvalidRows)
    assert error.count == 3
    assert [words.split(" is ")[0] for words in error.problems] == [
        "Recipient 2",
        "Recipient 3",
        "Recipient 5 (******)",
    ]
    assert pickle.loads(pickle.dumps(error)).problems == error.problems  # noqa: S301 - our own
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    ("policy", "to", "fails"),
    [
        ("fail_if_all", [ANN, OPTED_OUT], False),
        ("fail_if_all", [OPTED_OUT, BAD_NUMBER], True),
        ("fail", [ANN, OPTED_OUT], True),
        ("fail", [ANN, ANN], False),
        ("ignore", [OPTED_OUT, BAD_NUMBER], False),
    ],
)
def test_on_rejected_decides_whether_declined_recipients_fail_the_task(
    policy: str, to: list[str], fails: bool, runner: TaskRunner
) -> None:
    result = runner.run(send(to=to, on_rejected=policy))
    assert isinstance(result.error, SendRejected) is fails
    assert (result.error is None) is not fails


@pytest.mark.parametrize(
    ("number", "kind", "is_final"),
    [
        (NO_CREDITS, OutOfCredits, False),
        (LOCKED, ConfigurationError, True),
        (TRIAL, ConfigurationError, True),
    ],
)
def test_account_level_rejections_always_fail_the_task(
    number: str, kind: type[Exception], is_final: bool, runner: TaskRunner
) -> None:
    runner.retries = 3
    result = runner.run(send(to=[ANN, number], on_rejected="ignore"))
    assert isinstance(result.error, kind)
    assert isinstance(result.error, AirflowFailException) is is_final
    assert (runner.reported["state"] == "failed") is is_final


def test_a_reason_that_no_document_knows_is_counted_as_other(runner: TaskRunner) -> None:
    runner.run(send(to=[ANN, "27000000009"]))
    assert runner.result["rejected"] == {"other": 1}


@pytest.mark.crash
def test_a_gateway_that_cannot_be_reached_leaves_the_retry_to_airflow(
    sandbox: Sandbox, runner: TaskRunner
) -> None:
    good = runner.connections
    runner.connections = {"winsms_default": {**good["winsms_default"], "host": "http://127.0.0.1:1"}}
    runner.retries = 1
    error = runner.run(send()).error
    assert isinstance(error, GatewayUnavailable)
    assert not isinstance(error, AirflowFailException)
    runner.connections = good
    assert runner.run(send()).error is None
    assert numbers(sandbox) == [ANN, BEN]


def test_without_a_task_state_store_every_second_try_refuses(sandbox: Sandbox, runner: TaskRunner) -> None:
    def run() -> BaseException | None:
        return runner.run(send(pre_execute=lambda context: context.pop("task_state_store"))).error

    assert run() is None
    assert isinstance(run(), OutcomeUnknown)
    assert numbers(sandbox) == [ANN, BEN]


def test_a_function_that_fails_is_named_with_its_line_and_not_quoted(runner: TaskRunner) -> None:
    def on_call(**_: Any) -> list[str]:
        raise KeyError(ANN)

    runner.retries = 1
    error = runner.run(send(to=on_call)).error
    assert isinstance(error, TemplateFailed)
    assert "The function 'on_call' given for `to` failed with KeyError (test_send.py, line " in str(error)
    assert ANN not in str(error)
    assert runner.reported["state"] != "failed"


def test_a_wrong_template_fails_at_once_and_says_what_a_manual_run_lacks(runner: TaskRunner) -> None:
    runner.retries = 3
    error = runner.run(send(text="{{ data_interval_start_of_nothing }}")).error
    assert isinstance(error, AirflowFailException)
    assert "Use dag_run.run_after" in str(error)


def test_declined_recipients_are_logged_masked(
    runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.run(send(to=[ANN, BAD_NUMBER, OPTED_OUT]))
    assert "27******005 bad_number, 27******006 opted_out" in capsys.readouterr().out


def test_each_part_of_the_result_can_be_pulled_alone(runner: TaskRunner) -> None:
    runner.run(send())
    assert runner.xcoms["message_ids"] == runner.result["message_ids"]


def test_neither_numbers_nor_text_are_in_the_rendered_template_view(runner: TaskRunner) -> None:
    runner.run(send(text="Dear {{ 'Ann' }}", to=[ANN]))
    assert runner.rendered["text"] == "1 segment, 8 of 160 septets, not shown"
    assert runner.rendered["to"] == "1 recipient, not shown"
    assert runner.rendered["sms_conn_id"] == "winsms_default"
    runner.run(send_batch({"text": "Dear Ann", "to": ANN}))
    assert runner.rendered["messages"] == "1 message to 1 recipient, not shown"


@pytest.mark.parametrize(
    "text", ["{{ {}[params.number] }}", "{{ your Xylophone }}", "{% Xylophone %}", "{{ 1 | Xylophone }}"]
)
def test_a_wrong_template_is_not_quoted(text: str, runner: TaskRunner) -> None:
    error = runner.run(send(text=text, params={"number": ANN})).error
    assert isinstance(error, InvalidMessage)
    assert ANN not in str(error)
    assert "Xylophone" not in str(error)


@pytest.mark.parametrize(
    "messages",
    [
        ({"text": "Run {{ 1 + 1 }}", "to": number} for number in [ANN]),
        {"a": {"text": "Run {{ 1 + 1 }}", "to": ANN}}.values(),
        deque([MappingProxyType({"text": "Run {{ 1 + 1 }}", "to": ANN})]),
    ],
    ids=["generator", "values", "deque"],
)
def test_templates_are_rendered_in_whatever_holds_them(
    messages: Any, sandbox: Sandbox, runner: TaskRunner
) -> None:
    runner.run(SmsSendBatchOperator(task_id="send", messages=messages))
    assert [text["message"] for text in sandbox.outbox()] == ["Run 2"]


def test_a_function_may_skip_the_task(sandbox: Sandbox, runner: TaskRunner) -> None:
    def nobody_today(**_: Any) -> list[str]:
        msg = "nobody is on call"
        raise AirflowSkipException(msg)

    assert runner.run(send(to=nobody_today)).state == "skipped"
    assert sandbox.requests() == []


def test_the_memory_of_a_send_does_not_expire(runner: TaskRunner) -> None:
    runner.run(send())
    written = [request for request in runner.requests if request.startswith("PUT /store")]
    assert written
    assert all('"expires_at":null' in request for request in written)


def test_a_clear_after_airflow_wiped_the_memory_refuses(
    sandbox: Sandbox, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    assert runner.run(send()).error is None
    runner.task_state.clear()
    runner.clear()
    assert isinstance(runner.run(send()).error, OutcomeUnknown)
    assert numbers(sandbox) == [ANN, BEN]


def test_a_clear_after_airflow_wiped_the_memory_sends_all_again_if_that_was_asked_for(
    sandbox: Sandbox, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    assert runner.run(send()).error is None
    runner.task_state.clear()
    runner.clear()
    assert runner.run(send(on_clear="resend")).error is None
    assert numbers(sandbox) == [ANN, BEN] * 2


def test_one_instant_is_one_instant_in_every_zone(sandbox: Sandbox, runner: TaskRunner) -> None:
    utc = pendulum.now("UTC").add(days=3).start_of("hour")
    same = [utc, utc.in_timezone("Europe/London"), utc.astimezone(UTC), utc.isoformat()]
    runner.run(send_batch(*({"text": "Hi", "to": ANN, "send_at": instant} for instant in same)))
    assert runner.result["duplicates"] == 3
    (text,) = sandbox.outbox()
    assert text["scheduledTime"] == utc.in_timezone("Africa/Johannesburg").strftime("%Y%m%d%H%M")


@pytest.mark.parametrize("reference", ["c" * 151, "two\nlines", "x\ud83d", "nul\0", 1.5, True, ["a"], b"a"])
def test_a_reference_that_no_table_could_hold_is_refused_and_not_shown(
    reference: Any, sandbox: Sandbox, runner: TaskRunner
) -> None:
    for operator in (
        send(to=[Recipient(ANN, reference)]),
        send_batch({"text": "Hi", "to": ANN, "reference": reference}),
    ):
        error = runner.run(operator).error
        assert isinstance(error, InvalidMessage)
        assert "reference" in str(error)
        assert str(reference) not in str(error)
        assert ANN not in repr(error)
    assert sandbox.requests() == []


@pytest.mark.parametrize("reference", ["customer 7", 7, "c" * 150, "Zoë 😀", "", None, float("nan")])
def test_a_reference_is_never_sent(reference: Any, sandbox: Sandbox, runner: TaskRunner) -> None:
    runner.run(send_batch({"text": "Hi", "to": [ANN, BEN], "reference": reference}))
    assert numbers(sandbox) == [ANN, BEN]
    assert [text["clientMessageId"] for text in sandbox.outbox()] == [None, None]


EMPTY: dict[str, Any] = {
    "list": [],
    "text": " , ",
    "template": "{{ [] }}",
    "function": lambda **_: [],
    "function of a generator": lambda **_: iter(()),
}


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize("field", ["to", "messages"])
def test_on_empty_decides_whether_a_send_to_nobody_fails_or_skips(
    field: str, empty: str, sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    def task(**kwargs: Any) -> Any:
        if field == "to":
            return send(to=EMPTY[empty], **kwargs)
        given = [] if isinstance(EMPTY[empty], str) else EMPTY[empty]
        return SmsSendBatchOperator(task_id="batch", messages=given, **kwargs)

    assert isinstance(runner.another().run(task()).error, InvalidMessage)
    capsys.readouterr()
    assert runner.another().run(task(on_empty="skip")).state == "skipped"
    assert "Traceback" not in capsys.readouterr().out
    assert sandbox.requests() == []


def test_on_empty_does_not_skip_a_task_that_has_sent(sandbox: Sandbox, runner: TaskRunner) -> None:
    given = [[ANN], []]
    task = send(to=lambda **_: given.pop(0), on_empty="skip", on_changed="refuse")
    assert runner.run(task).error is None
    assert isinstance(runner.run(task).error, InvalidMessage)
    assert numbers(sandbox) == [ANN]


def test_one_message_to_nobody_is_no_empty_send(sandbox: Sandbox, runner: TaskRunner) -> None:
    task = send_batch({"text": "Hi", "to": ANN}, {"text": "Hi", "to": []}, on_empty="skip")
    assert isinstance(runner.run(task).error, InvalidMessage)
    assert sandbox.requests() == []
