"""A question to several people, each with a code of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_winsms.sending.composer import words_of
from airflow_provider_winsms.sending.description import not_shown, recipients_in_words, size_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.runtime import Log
    from airflow_provider_winsms.sending.composer import Composer


@dataclass(frozen=True, slots=True)
class Question:
    """The content of a send that asks people.

    :param options: the words to answer with.
    :param code_of: returns the code of a number.
    :ivar asked: the numbers, as international digits, once the question is composed.
    """

    subject: object = field(repr=False)
    to: object = field(repr=False)
    options: Sequence[str]
    code_of: Callable[[str], str]
    asked: list[str] = field(default_factory=list, init=False, repr=False)

    def compose(self, composer: Composer, log: Log) -> Sequence[Message]:  # noqa: ARG002 - as of ``Content``
        """Return a text for each person: the subject, and how to answer."""
        recipients = composer.compose(self.subject, self.to).recipients
        self.asked[:] = dict.fromkeys(recipient.number for recipient in recipients)
        rows = [{"text": self._text(number), "to": number} for number in self.asked]
        return composer.compose_rows(rows)

    def in_words(self, messages: Sequence[Message], gateway: Gateway) -> Mapping[str, str]:
        """Return the number of people, and the size of the text to one of them."""
        size = size_in_words(messages[0].text, gateway)
        return {"to": not_shown(recipients_in_words(messages)), "subject": not_shown(size)}

    def _text(self, number: str) -> str:
        code = self.code_of(number)
        answers = [f"{option} {code}" for option in self.options]
        return f"{words_of(self.subject).rstrip()} Reply {', '.join(answers[:-1])} or {answers[-1]}"
