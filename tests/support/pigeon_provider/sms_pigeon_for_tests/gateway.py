"""Pigeon, Poland: paths, signing in, requests, and the meanings of errors."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_winsms.gateways.alphabets import Gsm7, Ucs2
from airflow_provider_winsms.gateways.auth import SignIn, Token
from airflow_provider_winsms.gateways.base import (
    Call,
    Capabilities,
    Gateway,
    Limits,
    ListReading,
    Problem,
    StatusSource,
)
from airflow_provider_winsms.messages import Answers, Cancellation, DeliveryState, message_id_of
from airflow_provider_winsms.phone import NumberPlan
from sms_pigeon_for_tests import parsing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.auth import Authentication, Headers
    from airflow_provider_winsms.gateways.base import Response
    from airflow_provider_winsms.gateways.endpoint import Endpoint
    from airflow_provider_winsms.messages import (
        Balance,
        DeliveryReport,
        IncomingMessage,
        Message,
        MessageId,
        Page,
        Receipt,
        Recipient,
        SentMessage,
    )

PROBLEMS = {
    (401, "session-over"): Problem.SIGN_IN_AGAIN,
    (401, "login-refused"): Problem.REFUSED,
    (402, "no-credits"): Problem.NO_CREDITS,
    (404, "no-such-text"): Problem.NOT_THERE,
    (400, "refused"): Problem.REFUSED,
    (422, "refused"): Problem.REFUSED,
    (503, "later"): Problem.LATER,
}
"""The documented problems, by their status and the last word of their type."""

PROBLEM_TYPE = "urn:pigeon:problem:"
_CREATED, _ACCEPTED, _NO_CONTENT = 201, 202, 204
_ENVELOPE = '{"texts":[]}'


class PigeonGateway(Gateway):
    """Pigeon. It is made up."""

    name = "Pigeon"
    capabilities = Capabilities(
        batch=True,
        schedule=True,
        cancel=True,
        status=StatusSource.BY_ID,
        sent_history=True,
        references=True,
        incoming=ListReading.NUMBERED,
        pages=ListReading.NUMBERED,
        balance=True,
        transfer_credits=True,
        cancelled_state=DeliveryState.NOT_SENT,
        alphabets=(Gsm7(segments=4), Ucs2(segments=4)),
    )
    limits = Limits(
        recipients=100,
        messages=20,
        body_bytes=64_000,
        envelope_bytes=len(_ENVELOPE),
        status_ids=40,
        cancel_ids=1,
        page_rows=50,
        status_retention=timedelta(days=30),
        send_at_step=timedelta(seconds=1),
    )
    currency = "PLN"
    credential_words = "the user and the password"
    error_texts = ("The session is over", "User or password are wrong", "No credits", "Refused", "Later")

    def __init__(self, *, country_code: str) -> None:
        super().__init__(country_code=country_code)

    @property
    def number_plan(self) -> NumberPlan:
        """Return the plan of Poland, whose national numbers have no prefix."""
        return NumberPlan(self.country_code, trunk_prefix="")

    def authentication(self, endpoint: Endpoint) -> Authentication:
        """Sign in with user and password; the session's token goes into a header."""

        def sign_in(_headers: Headers) -> Call[Token]:
            return Call(
                "signIn",
                "POST",
                "/sessions",
                _token,
                successes=frozenset({_CREATED}),
                body=_encode({"user": endpoint.login, "password": endpoint.api_key}),
            )

        return SignIn(endpoint.account, [sign_in])

    def error_text(self, document: Any) -> str:
        """Return the title of a problem (RFC 9457)."""
        return str(document.get("title", "")) if isinstance(document, dict) else ""

    def problem(self, response: Response) -> Problem | None:
        """Read the type of a problem document, whose own status must be the answer's."""
        document = response.document if isinstance(response.document, dict) else {}
        if document.get("status") != response.status:
            return None
        name = str(document.get("type", "")).removeprefix(PROBLEM_TYPE)
        return PROBLEMS.get((response.status, name))

    def answered_at(self, document: Any) -> DateTime | None:
        """Return ``None``: answers state their time in their head alone."""
        del document
        return None

    def message_bytes(self, message: Message) -> int:
        """Return the bytes of a text without recipients, with a comma."""
        return len(_encode(self._wire_text(message, ()))) + 1

    def recipient_bytes(self, recipient: Recipient) -> int:
        """Return the bytes of a recipient, with a comma."""
        return len(_encode(_wire_recipient(recipient))) + 1

    def first_possible_time(self, send_at: DateTime) -> DateTime:
        """Round up to a second."""
        return send_at if not send_at.microsecond else send_at.replace(microsecond=0).add(seconds=1)

    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        """``POST /texts``."""
        return self.send_batch([message])

    def send_batch(self, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """``POST /texts``. The rows of the answer are in no order."""
        return Call(
            "sendTexts",
            "POST",
            "/texts",
            lambda response: parsing.receipts(response.document, messages),
            successes=frozenset({_ACCEPTED}),
            body=_encode({"texts": [self._wire_text(m, m.recipients) for m in messages]}),
        )

    def sent(self, start: int, limit: int) -> Call[Page[SentMessage]]:
        """``GET /texts``, by pages: newest first."""
        return _page_call("listTexts", "/texts", parsing.sent, start, limit)

    def incoming(self, start: int, limit: int) -> Call[Page[IncomingMessage]]:
        """``GET /inbox``, by pages: newest first."""
        return _page_call("listInbox", "/inbox", parsing.incoming, start, limit)

    def delivery_reports(self, message_ids: Sequence[MessageId]) -> Call[Answers[DeliveryReport]]:
        """``GET /texts`` with ids. A 404 says that none of them is known."""
        return Call(
            "getTexts",
            "GET",
            "/texts",
            lambda response: parsing.reports(response.document, message_ids),
            query={"ids": ",".join(map(str, message_ids))},
            absent=lambda: Answers.of(map(parsing.unknown_text, message_ids)),
            is_repeatable=True,
        )

    def cancel(self, message_ids: Sequence[MessageId]) -> Call[Answers[Cancellation]]:
        """``DELETE /texts/{id}``. A repeat answers that there is no such text."""
        (message_id,) = message_ids
        return Call(
            "deleteText",
            "DELETE",
            f"/texts/{quote(str(message_id), safe='')}",
            lambda _: Answers.of([parsing.cancellation(message_id, cancelled=True)]),
            successes=frozenset({_NO_CONTENT}),
            absent=lambda: Answers.of([parsing.cancellation(message_id, cancelled=False)]),
            is_repeatable=True,
        )

    def balance(self) -> Call[Balance]:
        """``GET /account``."""
        return _account_call(parsing.balance)

    def ping(self) -> Call[str]:
        """Ask for the account."""
        return _account_call(lambda document: f"{parsing.balance(document).credits} {self.currency} left")

    def transfer_credits(self, sender: int, receiver: int, quantity: int) -> Call[bool]:
        """``PUT /accounts/{receiver}/transfer``. A repeat moves the amount again."""
        return Call(
            "transfer",
            "PUT",
            f"/accounts/{receiver}/transfer",
            lambda _: True,
            successes=frozenset({_NO_CONTENT}),
            body=_encode({"from": sender, "amount": quantity}),
        )

    def message_ids(self, values: Iterable[object]) -> tuple[MessageId, ...]:
        """Return ids as ``message_id_of`` makes them."""
        return tuple(dict.fromkeys(message_id_of(str(value).strip()) for value in values))

    def _wire_text(self, message: Message, recipients: Sequence[Recipient]) -> dict[str, Any]:
        alphabet = next(each for each in self.capabilities.alphabets if each.carries(message.text))
        wire: dict[str, Any] = {
            "body": message.text,
            "alphabet": alphabet.name,
            "to": list(map(_wire_recipient, recipients)),
        }
        if message.send_at is not None:
            send_at = self.first_possible_time(message.send_at).in_timezone("UTC")
            wire["at"] = send_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return wire


def _token(response: Response) -> Token:
    document = response.document
    return Token({"X-Pigeon-Session": str(document["token"])}, float(document["expires_in"]))


def _page_call(
    operation: str,
    path: str,
    read: Callable[[Response, int, int], Page[Any]],
    number: int,
    size: int,
) -> Call[Page[Any]]:
    return Call(
        operation,
        "GET",
        path,
        lambda response: read(response, number, size),
        query={"page": number, "per_page": size},
        is_repeatable=True,
    )


def _account_call(parse: Callable[[Any], Any]) -> Call[Any]:
    return Call(
        "getAccount", "GET", "/account", lambda response: parse(response.document), is_repeatable=True
    )


def _wire_recipient(recipient: Recipient) -> dict[str, str]:
    wire = {"number": f"+{recipient.number}"}
    return wire if recipient.reference is None else {**wire, "cid": recipient.reference}


def _encode(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
