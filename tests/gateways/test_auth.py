"""Signing in: tokens are kept, renewed before their end, and a refused login is not repeated."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    OutcomeUnknown,
    OutOfCredits,
    SmsError,
)
from airflow_provider_winsms.gateways.auth import ApiKey, Bearer, SignIn, Token
from airflow_provider_winsms.gateways.base import Call, Gateway, Problem, Response
from airflow_provider_winsms.gateways.endpoint import Endpoint
from airflow_provider_winsms.gateways.transport import Transport
from tests.gateways.carriers import Time
from tests.gateways.stub import NO_ANSWER, RESET_BEFORE_BODY, Reply, Stub, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from airflow_provider_winsms.gateways.auth import Authentication, Headers, Login

SECRETS = ("key-of-the-app", "secret-of-the-app", "anna", "pass-of-anna")
PROBLEMS = {
    "over": Problem.SIGN_IN_AGAIN,
    "absent": Problem.NOT_THERE,
    "poor": Problem.NO_CREDITS,
    "wrong": Problem.REFUSED,
    "busy": Problem.LATER,
}
SEND = Call("send", "POST", "/texts", lambda response: response.document["id"], body=b"{}")
READ = Call("read", "GET", "/texts", lambda response: response.document["id"], is_repeatable=True)


class TwoTokens(Gateway):
    """A gateway that needs two tokens on each request: of the app for an hour, of a user while in use."""

    name = "TwoTokens"
    credential_words = "the four secrets"

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(time_zone="UTC", country_code="1")
        self._clock = clock

    def authentication(self, endpoint: Endpoint) -> Authentication:
        return SignIn(endpoint.account, [_of_app(endpoint), _of_user(endpoint)], self._clock)

    def error_text(self, document: Any) -> str:  # noqa: ARG002 - the base class's
        return ""

    def problem(self, response: Response) -> Problem | None:
        code = response.document.get("code") if isinstance(response.document, dict) else None
        return PROBLEMS.get(code or "")


def _of_app(endpoint: Endpoint) -> Login:
    pair = f"{endpoint.secrets['client_id']}:{endpoint.secrets['client_secret']}".encode()

    def login(_: Headers) -> Call[Token]:
        return Call(
            "token",
            "POST",
            "/oauth2/token",
            lambda r: Token({"Authorization": f"Bearer {r.document['access_token']}"}, 3600),
            body=b"grant_type=client_credentials",
            headers={
                "Authorization": f"Basic {base64.b64encode(pair).decode()}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            is_at_root=True,
        )

    return login


def _of_user(endpoint: Endpoint) -> Login:
    def login(headers: Headers) -> Call[Token]:
        return Call(
            "login",
            "POST",
            "/session/login",
            lambda r: Token({"X-Session": r.document["sessionToken"]}, 1200, is_idle_time=True),
            body=json.dumps({"username": endpoint.login, "password": endpoint.api_key}).encode(),
            headers=headers,
        )

    return login


def app(name: str = "A1") -> Reply:
    return answer(200, {"access_token": name})


def user(name: str = "U1") -> Reply:
    return answer(200, {"sessionToken": name})


OK = answer(200, {"id": 7})


def problem(code: str, status: int = 400) -> Reply:
    return answer(status, {"code": code})


@pytest.fixture
def time() -> Time:
    return Time()


def transport(stub: Stub, time: Time, **options: Any) -> Transport:
    secrets = {"client_id": SECRETS[0], "client_secret": SECRETS[1]}
    where = Endpoint(
        "two_tokens", TwoTokens(time.clock), stub.base_url, SECRETS[3], login=SECRETS[2], secrets=secrets
    )
    return Transport(where, sleep=time.sleep, clock=time.clock, **options)


def paths(stub: Stub) -> list[str]:
    return [request.path.rpartition("/")[2] for request in stub.requests]


def error_of(carrying: Transport, call: Call[Any], **options: Any) -> SmsError:
    with pytest.raises(SmsError) as caught:
        carrying.execute(call, **options)
    return caught.value


def test_each_login_has_what_it_needs_and_the_request_has_both_tokens(time: Time) -> None:
    with Stub(app(), user(), OK) as stub, transport(stub, time) as carrying:
        assert carrying.execute(SEND) == 7
    first, second, third = stub.requests
    assert (first.path, first.body) == ("/oauth2/token", b"grant_type=client_credentials")
    assert first.headers["content-type"] == "application/x-www-form-urlencoded"
    assert base64.b64decode(first.headers["authorization"].split()[1]).decode() == ":".join(SECRETS[:2])
    assert second.path == "/api/rest/v1/session/login"
    assert second.headers["authorization"] == "Bearer A1"
    assert second.document == {"username": SECRETS[2], "password": SECRETS[3]}
    assert (third.headers["authorization"], third.headers["x-session"]) == ("Bearer A1", "U1")
    assert third.headers["content-type"] == "application/json"


def test_tokens_outlive_their_transport(time: Time) -> None:
    with Stub(app(), user(), OK) as stub:
        for _ in range(3):
            with transport(stub, time) as carrying:
                carrying.execute(SEND)
    assert paths(stub) == ["token", "login", "texts", "texts", "texts"]


def test_another_secret_signs_in_by_itself(time: Time) -> None:
    with Stub(app(), user(), OK, app(), user(), OK) as stub:
        for login in ("anna", "ben"):
            where = Endpoint(
                "two_tokens",
                TwoTokens(time.clock),
                stub.base_url,
                "pass",
                login=login,
                secrets={"client_id": "1", "client_secret": "2"},
            )
            with Transport(where, sleep=time.sleep, clock=time.clock) as carrying:
                carrying.execute(SEND)
    assert paths(stub) == ["token", "login", "texts"] * 2


def test_a_token_is_renewed_before_its_end_and_one_in_use_stays(time: Time) -> None:
    with Stub(app(), user(), *[OK] * 4, app("A2"), OK) as stub, transport(stub, time) as carrying:
        for seconds in (0, 1000, 1000, 1000, 545):
            time.now += seconds
            carrying.execute(SEND)
    assert paths(stub) == ["token", "login", "texts", "texts", "texts", "texts", "token", "texts"]
    assert stub.requests[-1].headers["authorization"] == "Bearer A2"
    assert stub.requests[-1].headers["x-session"] == "U1"


def test_a_session_that_was_idle_is_opened_again(time: Time) -> None:
    with Stub(app(), user(), OK, user("U2"), OK) as stub, transport(stub, time) as carrying:
        carrying.execute(SEND)
        time.now += 1150
        carrying.execute(SEND)
    assert paths(stub) == ["token", "login", "texts", "login", "texts"]


@pytest.mark.parametrize("call", [SEND, READ])
def test_a_session_that_the_gateway_ended_is_opened_again_once(time: Time, call: Call[int]) -> None:
    entered: list[str] = []

    def before_send() -> AbstractContextManager[None]:
        entered.append("sent")
        return nullcontext()

    over = problem("over")
    with Stub(app(), user(), over, app("A2"), user("U2"), OK) as stub, transport(stub, time) as carrying:
        assert carrying.execute(call, before_send) == 7
    assert paths(stub) == ["token", "login", "texts"] * 2
    assert stub.requests[-1].headers["x-session"] == "U2"
    assert entered == ["sent", "sent"]


def test_a_send_is_not_repeated_if_the_gateway_does_not_say_that_the_session_is_over(time: Time) -> None:
    with Stub(app(), user(), answer(401, {"what": "no"})) as stub, transport(stub, time) as carrying:
        assert type(error_of(carrying, SEND)) is OutcomeUnknown
    assert paths(stub) == ["token", "login", "texts"]


def test_a_login_that_is_lost_leaves_the_send_unsent_and_may_be_tried_again(time: Time) -> None:
    entered: list[str] = []

    def before_send() -> AbstractContextManager[None]:
        entered.append("sent")
        return nullcontext()

    with Stub(app(), NO_ANSWER) as stub, transport(stub, time, attempts=1) as carrying:
        error = error_of(carrying, SEND, before_send=before_send)
    assert type(error) is GatewayUnavailable
    assert entered == []
    assert paths(stub) == ["token", "login"]


def test_threads_sign_in_together(time: Time) -> None:
    with Stub(app(), user(), OK) as stub, transport(stub, time) as carrying, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: carrying.execute(SEND), range(16))) == [7] * 16
    assert sorted(paths(stub))[:2] == ["login", "texts"]
    assert (paths(stub).count("token"), paths(stub).count("login")) == (1, 1)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("absent", 400, ConfigurationError),
        ("poor", 400, OutOfCredits),
        ("wrong", 400, InvalidMessage),
        ("wrong", 409, InvalidMessage),
        ("wrong", 404, ConfigurationError),
        ("wrong", 500, InvalidMessage),
        ("busy", 503, GatewayUnavailable),
        ("busy", 400, GatewayUnavailable),
        ("new", 409, OutcomeUnknown),
        ("new", 500, OutcomeUnknown),
    ],
)
def test_a_documented_problem_proves_that_a_send_was_not_executed(
    time: Time, code: str, status: int, kind: type[SmsError]
) -> None:
    with Stub(app(), user(), problem(code, status)) as stub, transport(stub, time, attempts=1) as carrying:
        assert type(error_of(carrying, SEND)) is kind
    assert paths(stub) == ["token", "login", "texts"]


def test_a_gateway_that_asks_to_wait_gets_the_send_later_however_it_says_so(time: Time) -> None:
    busy = answer(503, {"code": "busy"}, headers={"Retry-After": "7"})
    with Stub(app(), user(), busy, OK) as stub, transport(stub, time) as carrying:
        assert carrying.execute(SEND) == 7
    assert time.waits == [7.0]


def test_absence_is_an_answer_where_the_call_says_what_it_means(time: Time) -> None:
    call: Call[list[int]] = Call(
        "find", "GET", "/texts/1", lambda r: r.document, absent=list[int], is_repeatable=True
    )
    script = (app(), user(), problem("absent", 404), answer(404, {}))
    with Stub(*script) as stub, transport(stub, time) as carrying:
        assert carrying.execute(call) == []
        assert type(error_of(carrying, call)) is ConfigurationError


def test_a_call_has_its_own_successes_and_reads_status_and_headers(time: Time) -> None:
    def parse(response: Response) -> tuple[Any, int, str | None]:
        return response.document, response.status, response.headers.get("location")

    call = Call("change", "PUT", "/texts/1", parse, successes=frozenset({201, 202, 204}), query={"next": "x"})
    replies = [answer(202, {"a": 1}, headers={"Location": "/2"}), answer(204), answer(201, body=b"")]
    with Stub(app(), user(), *replies, OK) as stub, transport(stub, time) as carrying:
        assert [carrying.execute(call) for _ in replies] == [
            ({"a": 1}, 202, "/2"),
            (None, 204, None),
            (None, 201, None),
        ]
        assert type(error_of(carrying, call)) is OutcomeUnknown
    assert (stub.requests[2].method, stub.requests[2].query) == ("PUT", {"next": "x"})


def test_a_streamed_part_has_the_status_and_the_headers(time: Time) -> None:
    call = Call(
        "list",
        "GET",
        "/texts",
        lambda r: (r.document["rows"], r.status, r.headers["X-Total"]),
        successes=frozenset({206}),
        is_repeatable=True,
        rows="rows",
    )
    listed = answer(206, {"rows": [1, 2, 3]}, headers={"X-Total": "3"})
    with Stub(app(), user(), listed) as stub, transport(stub, time, part_rows=2) as carrying:
        assert list(carrying.stream(call)) == [([1, 2], 206, "3"), ([3], 206, "3")]


def test_no_secret_and_no_token_is_in_an_error_or_a_repr(time: Time) -> None:
    shown: list[str] = []
    for last in (problem("wrong", 401), NO_ANSWER, RESET_BEFORE_BODY, answer(500, body=b"secret")):
        with Stub(app("TOKEN-A"), last) as stub, transport(stub, time, attempts=1) as carrying:
            error = error_of(carrying, SEND)
            shown += [str(error), repr(error), repr(carrying.endpoint), repr(carrying.__dict__)]
            authentication = carrying.endpoint.gateway.authentication(carrying.endpoint)
            shown += [repr(authentication), repr(vars(authentication)), *map(str, _steps(authentication))]
    assert not [word for word in (*SECRETS, "TOKEN-A") if word in " ".join(shown)]


def _steps(authentication: Authentication) -> Iterator[Any]:
    try:
        yield next(authentication.flow())
    except SmsError as error:
        yield error


@pytest.mark.parametrize(
    ("authentication", "headers"),
    [(ApiKey("X-Key", "k"), {"X-Key": "k"}), (Bearer("t"), {"Authorization": "Bearer t"})],
)
def test_a_fixed_key_is_a_header(authentication: Authentication, headers: Headers) -> None:
    assert list(authentication.flow()) == [headers]
