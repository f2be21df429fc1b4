"""Where a DAG is read, only a text that no gateway can send is refused. The alphabet is the gateway's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pendulum
import pytest

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gateways.alphabets import Gsm7, Ucs2
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sending.composer import Composer, OneText
from airflow_provider_winsms.sending.content import check_sendable

if TYPE_CHECKING:
    from airflow_provider_winsms.messages import Message

ANN = "27825550101"
BOTH = (Gsm7(6), Ucs2(10))


class UnicodeGateway(WinSMSGateway):
    capabilities: ClassVar = replace(WinSMSGateway.capabilities, alphabets=BOTH)


class Log:
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, words: str, /, *values: object) -> None:
        self.lines.append(words % values)

    warning = exception = info

    def debug(self, words: str, /, *values: object) -> None:
        words % values


def is_refused(text: str) -> bool:
    try:
        check_sendable("text", text)
    except InvalidMessage:
        return True
    return False


@pytest.mark.parametrize("char", [*map(chr, range(32)), "\x7f", "\x85", "\ud83d"])
def test_control_characters_and_halves_of_characters_are_refused_early(char: str) -> None:
    assert is_refused(f"a{char}b") == (char not in "\t\n\r\f")


def test_a_text_of_another_gateway_s_alphabet_and_length_is_read_and_composed_in_it() -> None:
    text = "see you \U0001f600 a\u0328" * 40
    task = SmsSendOperator(task_id="send", text=text, to=ANN, max_segments=10)
    log = Log()
    gateway = UnicodeGateway(time_zone="UTC", country_code="27")
    composer = Composer(gateway, pendulum.now)
    (message,) = OneText(task.text, ANN, None, task.max_segments).compose(composer, log)
    assert message.text == "see you \U0001f600 \u0105" * 40
    assert log.lines == ["The text was spelt in the alphabet UCS-2; it takes 8 segments."]


def strictly(text: str) -> Message:
    gateway = UnicodeGateway(time_zone="UTC", country_code="27")
    return Composer(gateway, pendulum.now, encoding="strict").compose(text, ANN)


def test_a_strict_text_is_in_the_first_alphabet_that_has_its_characters() -> None:
    assert [strictly(text).max_segments for text in ("a" * 160, "’" + "a" * 69, "’" + "a" * 70)] == [1, 1, 2]


def test_what_no_alphabet_has_is_named_with_its_place_and_what_one_has_is_not() -> None:
    with pytest.raises(InvalidMessage) as caught:
        strictly("It’s \x07 and 😀 \ud83d")
    assert str(caught.value) == (
        "The text holds characters that cannot be sent: U+0007 (a control character) at 6, U+D83D (half of a "
        "character) at 14. Remove them."
    )
