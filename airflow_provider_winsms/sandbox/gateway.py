"""WinSMS on a loopback socket: its documented paths, and its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox.api import Api
from airflow_provider_winsms.sandbox.clock import epoch_seconds, instant
from airflow_provider_winsms.sandbox.operations import BASE_PATH
from airflow_provider_winsms.sandbox.server import Server
from airflow_provider_winsms.sandbox.simulation import Simulation
from airflow_provider_winsms.sandbox.wire import minute, tenths_of

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from airflow_provider_winsms.sandbox.admission import RawRequest
    from airflow_provider_winsms.sandbox.faults import Reply
    from airflow_provider_winsms.sandbox.state import Row
    from airflow_provider_winsms.sandbox.wire import Generation

API_KEY = "sandbox-key"
"""The default key."""


class LoopbackGateway:
    """WinSMS on the loopback interface: its documented paths only. Use it once, as a context manager.

    ``ControlledGateway`` adds the methods that control it.

    :param api_key: the key that it accepts.
    :param speed: how many seconds of its time pass in one second. At 0 its clock stands still until
        ``advance``. At any speed but 1, a ``send_at`` counted from wall time may be in the past here.
    :param seed: decides the outcomes of texts. The same seed and the same texts have the same outcomes.
    :param credits: the credits with which a new account starts.
    :param state: a file that keeps the whole state, including the time. An existing file takes precedence
        over ``credits`` and ``now``. ``None`` keeps the state in memory.
    :param now: the aware time at which a new state starts; by default wall time.
    :param host: a loopback address; no other is accepted.
    :param port: 0 takes a free port.
    :param wire: ``v2`` writes times as strings and nulls explicitly; ``v3`` writes integers and omits nulls.
    :param optouts_in_incoming: whether replies that opt out are incoming messages, too; undocumented.
    :param newest_first: whether the list of scheduled texts begins with the newest; undocumented.
    """

    def __init__(
        self,
        *,
        api_key: str = API_KEY,
        speed: float = 1,
        seed: int = 0,
        credits: float = 10_000,  # noqa: A002 - the field's term
        state: str | Path | None = None,
        now: datetime | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        wire: Generation = "v2",
        optouts_in_incoming: bool = True,
        newest_first: bool = False,
    ) -> None:
        start, tenths = epoch_seconds(now), tenths_of(credits)
        if wire not in {"v2", "v3"}:
            msg = f"wire must be 'v2' or 'v3', not {wire!r}."
            raise ValueError(msg)
        self._address = (host, port)
        self._server: Server | None = None
        self._simulation = Simulation(
            start=start,
            speed=speed,
            seed=seed,
            tenths=tenths,
            state=state,
            optouts_in_incoming=optouts_in_incoming,
            newest_first=newest_first,
        )
        self._api = Api(self._simulation, api_key, wire)

    def __enter__(self) -> Self:
        """Start to listen."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening."""
        self.close()

    def start(self) -> None:
        """Start to listen, in threads of its own.

        :raises ValueError: if the host is not a loopback address.
        """
        try:
            self._server = Server(self._address, self.answer, self._simulation.clock.now)
        except (OSError, ValueError):
            self.close()
            raise
        self._server.start()

    def close(self) -> None:
        """Close every connection, write the state to its file, and close it. A second call does nothing."""
        if not self._api.stop():
            return
        if self._server is not None:
            self._server.stop()
            self._server = None
        self._simulation.close()

    @property
    def api_key(self) -> str:
        """The key that it accepts."""
        return self._api.api_key

    @api_key.setter
    def api_key(self, api_key: str) -> None:
        self._api.api_key = api_key

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            msg = "The sandbox is not listening. Use it as a context manager, or call start()."
            raise RuntimeError(msg)
        return self._server.server_port

    @property
    def base_url(self) -> str:
        """The base URL for a WinSMS connection."""
        return f"http://{self._address[0]}:{self.port}{BASE_PATH}"

    def now(self) -> datetime:
        """Return its time, as an aware time of Johannesburg."""
        return instant(self._simulation.clock.now())

    def clock(self) -> Row:
        """Return its time and speed."""
        now = self._simulation.clock.now()
        return {
            "now": instant(now).isoformat(),
            "wireTime": minute(now),
            "speed": self._simulation.clock.speed,
        }

    def advance(self, seconds: float) -> None:
        """Advance its time. Everything that falls due happens."""
        self._simulation.advance(seconds)

    def requests(self) -> list[Row]:
        """Return the requests to WinSMS paths: ``operation``, ``method``, ``path``, ``status``, ``rows``.

        ``status`` is null if no answer was sent. ``rows`` is the number of rows before any fault.
        The last 100,000 requests are kept.
        """
        with self._simulation.lock:
            return [dict(row) for row in self._api.requests]

    def reset(self) -> None:
        """Go back to the first credits, without texts, faults and scripts. The clock continues."""
        with self._simulation.transaction():
            self._simulation.clear()
            self._api.clear()

    def answer(self, request: RawRequest) -> Reply:
        """Answer one request to a WinSMS path."""
        return self._api.answer(request)
