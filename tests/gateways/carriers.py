"""The transport of tasks and that of event loops behind one verb, with their time in the test's hands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from airflow_provider_winsms.exceptions import SmsError
from airflow_provider_winsms.gateways.endpoint import Endpoint
from airflow_provider_winsms.gateways.transport import ATTEMPTS, AsyncTransport, Transport
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.gateways.base import Call

T = TypeVar("T")

KEY = "3F2504E0-4F89-41D3-9A0C-0305E82C3301"
GATEWAY = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")
WHERE = Endpoint("winsms_default", GATEWAY, "https://gateway.example", KEY)
Caller: TypeAlias = Literal["task", "event loop"]
CALLERS: tuple[Caller, ...] = ("task", "event loop")


@dataclass
class Time:
    """Seconds that pass only when somebody sleeps, or looks at the clock if ``tick`` says so."""

    now: float = 1000.0
    tick: float = 0.0
    slept: list[float] = field(default_factory=list)
    on_wait: Callable[[], object] | None = None

    def clock(self) -> float:
        self.now += self.tick
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        if seconds and self.on_wait:
            self.on_wait()

    @property
    def waits(self) -> list[float]:
        """The sleeps that took time."""
        return [seconds for seconds in self.slept if seconds]


@dataclass
class Carrier:
    """A task or an event loop, which has calls carried out."""

    caller: Caller
    time: Time = field(default_factory=Time)

    def execute(self, base_url: str, *calls: Call[Any], **options: Any) -> list[Any]:
        """Carry out calls one after the other over one transport, and return what they return."""
        results = []
        for outcome in self.outcomes(base_url, *calls, **options):
            if isinstance(outcome, SmsError):
                raise outcome
            results.append(outcome)
        return results

    def failure(self, base_url: str, call: Call[Any], **options: Any) -> SmsError:
        """Carry out one call, which must fail, and return its error."""
        (error,) = self.outcomes(base_url, call, **options)
        assert isinstance(error, SmsError)
        return error

    def outcomes(
        self,
        base_url: str,
        *calls: Call[Any],
        attempts: int = ATTEMPTS,
        between: Callable[[], object] = lambda: None,
        **endpoint: Any,
    ) -> list[Any]:
        """Carry out calls, and return what each of them returns or raises.

        :param between: what happens after each call.
        """
        where = Endpoint(
            **{"name": "winsms_default", "gateway": GATEWAY, "base_url": base_url, "api_key": KEY, **endpoint}
        )
        if self.caller == "event loop":
            return asyncio.run(self._outcomes_awaited(where, calls, attempts, between))
        outcomes: list[Any] = []
        with Transport(where, attempts, self.time.sleep, self.time.clock) as transport:
            for call in calls:
                try:
                    outcomes.append(transport.execute(call))
                except SmsError as error:
                    outcomes.append(error)
                between()
        return outcomes

    async def _outcomes_awaited(
        self, where: Endpoint, calls: tuple[Call[Any], ...], attempts: int, between: Callable[[], object]
    ) -> list[Any]:
        outcomes: list[Any] = []
        async with AsyncTransport(where, attempts, self.time.sleep, self.time.clock) as transport:
            for call in calls:
                try:
                    outcomes.append(await transport.execute(call))
                except SmsError as error:
                    outcomes.append(error)
                between()
        return outcomes
