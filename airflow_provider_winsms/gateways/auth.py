"""Authentication: the headers of a request, and the logins before it, as one flow.

A flow does no I/O. It yields login calls, and then headers. The transport sends it the token of each login,
and throws each error into it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    OutcomeUnknown,
    SessionExpired,
)

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Call

Headers: TypeAlias = Mapping[str, str]
AuthFlow: TypeAlias = "Generator[Call[Token] | Headers, Any, None]"

_RENEWAL_SECONDS = 60.0
_RENEWAL_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Token:
    """The result of a login.

    :param headers: what the token adds to a request.
    :param seconds: the token's life.
    :param is_idle_time: whether each use begins its life again.
    """

    headers: Headers = field(repr=False)
    seconds: float
    is_idle_time: bool = False


Login: TypeAlias = "Callable[[Headers], Call[Token]]"
"""Makes a login call from the headers of the logins before it.

The call must not be marked as repeatable: a gateway may lock an account after a few wrong logins.
"""


class Authentication:
    """Authenticates requests."""

    def flow(self) -> AuthFlow:
        """Yield the login calls that are needed, and then the headers of a request.

        If the request ends in an error, it is thrown in. To have the request repeated, yield its headers
        again.
        """
        raise NotImplementedError


class ApiKey(Authentication):
    """A key in a header."""

    def __init__(self, header: str, key: str) -> None:
        self._headers = {header: key}

    def flow(self) -> AuthFlow:
        """Yield the header."""
        yield self._headers


class Bearer(ApiKey):
    """A token that does not expire (RFC 6750)."""

    def __init__(self, token: str) -> None:
        super().__init__("Authorization", f"Bearer {token}")


class SignIn(Authentication):
    """Logs in, one login after another, and keeps the tokens for all transports of the process.

    A token is renewed before its end. After ``SessionExpired`` all tokens are renewed, and the request is
    repeated once. A refused login is not repeated in this process: five wrong ones may lock an account.

    :param account: the address and the secrets, which the tokens belong to.
    :param logins: in their order.
    :param clock: returns monotonic seconds.
    """

    def __init__(
        self, account: Hashable, logins: Sequence[Login], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logins = logins
        self._clock = clock
        with _tokens_lock:
            self._tokens = _tokens.setdefault(account, _Tokens())

    def flow(self) -> AuthFlow:
        """Yield a login call for each missing token, and then the headers of all tokens."""
        headers = yield from self._sign_in()
        try:
            yield headers
        except SessionExpired:
            pass
        else:
            return
        self._tokens.drop(headers)
        yield (yield from self._sign_in())

    def _sign_in(self) -> Generator[Call[Token], Token, Headers]:
        """Return the headers of all tokens. Other threads wait until they are there."""
        with self._tokens.lock:
            headers: dict[str, str] = {}
            for index, login in enumerate(self._logins):
                token = self._tokens.find(index, self._clock())
                if token is None:
                    token = yield from self._log_in(login(headers))
                    self._tokens.keep(index, token, self._clock())
                headers |= token.headers
            return headers

    def _log_in(self, call: Call[Token]) -> Generator[Call[Token], Token, Token]:
        if refusal := self._tokens.refusal:
            raise ConfigurationError(refusal)
        try:
            return (yield call)
        except (ConfigurationError, InvalidMessage) as error:
            self._tokens.refusal = f"The login was refused, and is not repeated in this process. {error}"
            raise ConfigurationError(self._tokens.refusal) from None
        except OutcomeUnknown as error:
            msg = f"The login has no usable answer, so nothing else was requested. {error}"
            raise GatewayUnavailable(msg) from None


class _Tokens:
    """The tokens of one account, by the index of their login, with their ends."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.refusal = ""
        self._kept: dict[int, tuple[Token, float]] = {}

    def find(self, index: int, now: float) -> Token | None:
        """Return a token for use; ``None`` if there is none, or its end is near."""
        token, end = self._kept.get(index, (None, 0.0))
        if token is None or now >= end:
            return None
        if token.is_idle_time:
            self.keep(index, token, now)
        return token

    def keep(self, index: int, token: Token, now: float) -> None:
        """Keep a token until shortly before its end."""
        margin = min(_RENEWAL_SECONDS, _RENEWAL_SHARE * token.seconds)
        self._kept[index] = token, now + token.seconds - margin

    def drop(self, headers: Headers) -> None:
        """Drop the tokens that made these headers. Another thread may have renewed them already."""
        with self.lock:
            self._kept = {
                index: (token, end)
                for index, (token, end) in self._kept.items()
                if not token.headers.items() <= headers.items()
            }


_tokens: dict[Hashable, _Tokens] = {}
_tokens_lock = threading.Lock()
