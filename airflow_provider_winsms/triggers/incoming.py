"""The trigger that starts DAGs when an SMS comes in."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4
from weakref import WeakValueDictionary

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, LedgerUnavailable
from airflow_provider_winsms.options import check_conn_id, shown
from airflow_provider_winsms.runtime import pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Mapping, Sequence

    from airflow.triggers.shared_stream import SharedStreamProducer

    from airflow_provider_winsms.inbound.feeds import FeedConnection, WatchedList
    from airflow_provider_winsms.inbound.spacing import EventSpacer
    from airflow_provider_winsms.inbound.subscriber import Subscriber, Subscribers
    from airflow_provider_winsms.inbound.watcher import Watcher
    from airflow_provider_winsms.options import ExposableField, WatchedDataset

SHORTEST_POLL_INTERVAL = 1.0
"""Seconds: an interval of 0 would ask without pause."""

_PROBLEM_LOG_INTERVAL = 60.0
"""Seconds between log lines about invalid arguments, at first; later more."""

_BEGUN = "begun"

_log = logging.getLogger(__name__)

_shared_subscribers: WeakValueDictionary[tuple[object, Hashable], Subscribers] = WeakValueDictionary()
"""The subscribers of each shared poll, by event loop and stream, while one of them or the poll exists."""


class SmsIncomingTrigger(BaseEventTrigger):
    r"""Fires an event for each SMS that comes in, or for each opt-out. For an ``AssetWatcher``.

    All watchers of one connection, dataset and poll interval in one triggerer share one poll, on Airflow 3.3
    or newer. A watcher keeps a cursor in the state store of its asset. The cursor moves on once Airflow has
    stored the event. So no message is missed, and none fires twice, unless the triggerer ends between the
    two. A watcher that starts for the first time begins with the messages that arrive from then on.

    An event's payload: ``{"dataset": ..., "event_key": ..., "message_id": ..., "in_reply_to": ...,
    "received_at": ..., "keyword": ...}``. ``event_key`` is the same in every event of one message, and in no
    other message's; ``received_at`` is ISO 8601 text in UTC, to the minute; ``keyword`` is the one of
    ``keywords`` that matched. ``message_id`` and ``in_reply_to``, the last text sent to that number, are the
    gateway's ids, and may be null, as for opt-outs made by hand.

    A message must pass every given filter. Invalid arguments are an import error of the DAG file. A stored
    watcher whose arguments are invalid says so in the triggerer's log, and waits to be replaced.

    :param sms_conn_id: the connection whose type says which gateway.
    :param dataset: ``"incoming"``, ``"short_code"`` or ``"opt_outs"``.
    :param keywords: single words, in whatever case; the first word of the text must be one of them.
    :param pattern: a regular expression that must be found in the text, in the syntax of RE2
        (https://github.com/google/re2/wiki/Syntax). Its search takes time in proportion to the text, and
        holds up no other trigger. Lookarounds and backreferences are refused. For ``\w``, ``\d`` and
        ``\b`` only ASCII characters count: ``\pL`` is any letter.
    :param senders_variable: the name of an Airflow Variable with a JSON list of numbers, or numbers with
        commas between them; only messages from these fire. It is read again every five minutes. The Variable
        is named, because a trigger's arguments are stored.
    :param poll_interval: seconds, 1 or more; by default 30, for opt-outs 300: each answer holds all of them.
    :param exposed_fields: ``"number"``, ``"text"`` or both put these into the payload. They then stand in
        Airflow's metadata database and in the triggerer's log, and everything that can read the asset's
        events can read them. By default the payload has neither.
    """

    # A watcher has no task, and so no queue of one.
    supports_triggerer_queue = False

    pause: ClassVar[Callable[..., Awaitable[None]]] = staticmethod(pause)
    """Waits for seconds, or for an event; a seam for tests."""

    hold: ClassVar[Callable[..., Awaitable[None]]] = staticmethod(asyncio.sleep)
    """Waits for seconds before an event is fired; a seam for tests."""

    spacer: ClassVar[EventSpacer | None] = None
    """Spaces the events of each asset; ``None`` for ``SHARED_SPACER``. A seam for tests."""

    lists: ClassVar[Mapping[str, WatchedList] | None] = None
    """The lists that can be watched, by name; ``None`` for ``LISTS``. A seam for tests."""

    def __init__(
        self,
        *,
        sms_conn_id: str = "winsms_default",
        dataset: WatchedDataset = "incoming",
        keywords: Sequence[str] | None = None,
        pattern: str | None = None,
        senders_variable: str | None = None,
        poll_interval: float | None = None,
        exposed_fields: Sequence[ExposableField] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sms_conn_id = sms_conn_id
        self.dataset = dataset
        self.keywords = keywords
        self.pattern = pattern
        self.senders_variable = senders_variable
        self.poll_interval = poll_interval
        self.exposed_fields = exposed_fields
        self._joined: tuple[Subscribers, Subscriber] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path and arguments that the trigger is rebuilt from.

        :raises InvalidMessage: if an argument is invalid, so that the DAG cannot be read.
        """
        # Airflow serializes a watcher when it reads the DAG. An error in a constructor ends the triggerer.
        self._check()
        return "airflow_provider_winsms.triggers.sms.SmsIncomingTrigger", self._arguments()

    def _arguments(self) -> dict[str, Any]:
        return {
            "sms_conn_id": self.sms_conn_id,
            "dataset": self.dataset,
            "keywords": _as_list(self.keywords),
            "pattern": self.pattern,
            "senders_variable": self.senders_variable,
            "poll_interval": self.poll_interval,
            "exposed_fields": _as_list(self.exposed_fields),
        }

    def shared_stream_key(self) -> Hashable | None:
        """Return the key of the shared poll; ``None`` if an argument is invalid."""
        if self._problem() is not None:
            return None
        return ("sms-watch", self.sms_conn_id, self.dataset, self._effective_interval())

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the poll that watchers with one key share."""
        from airflow_provider_winsms.triggers.producer import Producer

        return Producer(cls(**kwargs)._watcher())  # noqa: SLF001 - its own class

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Join the shared poll, and fire events for its rows."""
        subscribers = _subscribers(self.shared_stream_key())
        subscriber = self._join(subscribers)
        try:
            async for payload in subscriber.payloads(shared_stream):
                yield TriggerEvent(payload)
        finally:
            subscribers.leave(subscriber)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire events from a poll of its own: before Airflow 3.3, and in ``dag.test()``.

        A message counts as done once Airflow has its event, before the event is stored.
        """
        from airflow_provider_winsms.inbound.subscriber import Subscribers

        await self._wait_while_invalid()
        subscribers = Subscribers()
        subscriber = self._join(subscribers)
        async for payload in subscriber.payloads(self._watcher(subscribers).auto_acked()):
            yield TriggerEvent(payload)

    async def cleanup(self) -> None:
        """Leave the shared poll."""
        if self._joined is not None:
            subscribers, subscriber = self._joined
            subscribers.leave(subscriber)

    def _watcher(self, subscribers: Subscribers | None = None) -> Watcher:
        from airflow_provider_winsms.inbound.watcher import Watcher

        return Watcher(
            self._lists[self.dataset],
            subscribers or _subscribers(self.shared_stream_key()),
            self._connect,
            poll_interval=self._effective_interval(),
            log=_log,
            pause=self.pause,
        )

    def _join(self, subscribers: Subscribers) -> Subscriber:
        from airflow_provider_winsms.inbound.filters import selection
        from airflow_provider_winsms.inbound.spacing import SHARED_SPACER
        from airflow_provider_winsms.inbound.subscriber import Subscriber

        stores = _stores_by_asset(getattr(self, "asset_state_store", None))
        key = self._store_key()
        subscriber = Subscriber(
            (key, *sorted(stores)),
            selection(self.dataset, self.keywords, self.pattern, self.exposed_fields),
            _AssetCursorStore(list(stores.values()), key) if stores else None,
            self._read_senders if self.senders_variable else None,
            assets=sorted(stores) or [str(id(self))],
            spacer=self.spacer or SHARED_SPACER,
            pause=self.hold,
            lists=self._lists,
        )
        self._joined = subscribers, subscriber
        subscribers.join(subscriber)
        return subscriber

    def _store_key(self) -> str:
        """Return a key that no other watcher of the asset has, and that stays the same after a restart."""
        digest = sha256(json.dumps(self._arguments(), sort_keys=True).encode())
        return f"sms-{self.dataset}-{digest.hexdigest()[:16]}"

    def _effective_interval(self) -> float:
        interval = (
            self._lists[self.dataset].poll_interval if self.poll_interval is None else self.poll_interval
        )
        return float(interval)

    @property
    def _lists(self) -> Mapping[str, WatchedList]:
        from airflow_provider_winsms.inbound.feeds import LISTS

        return self.lists or LISTS

    def _check(self) -> None:
        """Check the arguments.

        :raises InvalidMessage: naming the invalid one.
        """
        from airflow_provider_winsms.inbound.filters import selection

        check_conn_id("sms_conn_id", self.sms_conn_id)
        if self.senders_variable is not None and not (
            isinstance(self.senders_variable, str) and self.senders_variable
        ):
            msg = f"senders_variable must be the name of a Variable; got {shown(self.senders_variable)}."
            raise InvalidMessage(msg)
        selection(self.dataset, self.keywords, self.pattern, self.exposed_fields)
        interval = self.poll_interval
        if interval is not None and not (
            type(interval) in {int, float} and SHORTEST_POLL_INTERVAL <= interval < math.inf
        ):
            msg = f"poll_interval must be a number of seconds, 1 or more; got {interval!r}."
            raise InvalidMessage(msg)

    def _problem(self) -> InvalidMessage | None:
        try:
            self._check()
        except InvalidMessage as error:
            return error
        return None

    async def _wait_while_invalid(self) -> None:
        """Return at once if the arguments are valid; otherwise log the problem again and again.

        Airflow restarts a watcher that raises or returns, every second.
        """
        from airflow_provider_winsms.inbound.watcher import poll_pause

        times = 0
        while (problem := self._problem()) is not None:
            times += 1
            self.log.error("Invalid arguments for SmsIncomingTrigger: %s Fix the DAG file.", problem)
            await self.pause(poll_pause(_PROBLEM_LOG_INTERVAL, times))

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[FeedConnection]:
        from airflow_provider_winsms.hooks.async_hooks import async_hook
        from airflow_provider_winsms.inbound.feeds import FeedConnection

        hook = await async_hook(self.sms_conn_id)
        async with hook.get_async_conn() as transport:
            yield FeedConnection(hook.gateway, transport.execute, hook.page_size, hook.hashes)

    async def _read_senders(self, country_code: str) -> Collection[str]:
        """Read the numbers from the Variable.

        :raises ConfigurationError: if there is no such Variable, or it holds no list of numbers.
        """
        from airflow.providers.common.compat.sdk import Variable
        from asgiref.sync import sync_to_async

        from airflow_provider_winsms.options import items_of_text
        from airflow_provider_winsms.phone import InvalidPhoneNumber, NumberReader

        where = f"The Variable {self.senders_variable!r} (senders_variable)"
        value = await sync_to_async(Variable.get)(str(self.senders_variable), None)
        if not isinstance(value, str):
            msg = f"{where} does not exist, or is not text."
            raise ConfigurationError(msg)
        reader, numbers, why = NumberReader(country_code), set[str](), ""
        with suppress(InvalidMessage):
            for position, item in enumerate(items_of_text(value, "senders_variable"), start=1):
                try:
                    numbers.add(reader.read(item))
                except InvalidPhoneNumber as error:
                    why = why or f"; item {position} is none: it {error}"
        if why or not numbers:
            msg = f"{where} must hold a JSON list of phone numbers, or some with commas between{why}."
            raise ConfigurationError(msg)
        return frozenset(numbers)


class _AssetCursorStore:
    """Keeps a cursor in the state stores of all assets of a watcher.

    A watcher of several assets fires for all of them, and continues when one of them is removed. Airflow
    reports any 404 as a missing key. So a second key, the witness, says that there is a cursor.
    """

    def __init__(self, stores: Sequence[Any], key: str) -> None:
        self._stores = stores
        self._key = key
        self._witness_key = f"{key}-begun"
        self._probe_key = f"{key}-probe"
        self._is_witnessed = False

    async def load(self) -> Any:
        """Return the cursor, or ``None``; of several the most advanced one.

        :raises LedgerUnavailable: if there was one, and no store returns it.
        """
        found = await self._cursor()
        if found is None:
            await self._refuse_if_begun()
            for store in self._stores:
                await self._probe(store)
            await self._refuse_if_begun()
            found = await self._cursor()
        return found

    async def save(self, value: dict[str, Any]) -> None:
        """Save a cursor in every store."""
        for store in self._stores:
            await store.aset(self._key, value)
        if not self._is_witnessed:
            for store in self._stores:
                await store.aset(self._witness_key, _BEGUN)
            self._is_witnessed = True

    async def _cursor(self) -> Any:
        kept = [await store.aget(self._key) for store in self._stores]
        return max((each for each in kept if each is not None), key=_cursor_position, default=None)

    async def _refuse_if_begun(self) -> None:
        """Refuse to begin again, which would skip the rows since the cursor was saved."""
        if _BEGUN in [await store.aget(self._witness_key) for store in self._stores]:
            msg = (
                f"The asset's state store has {self._witness_key}, but not its cursor, {self._key}. If the "
                "store failed for a moment, a later poll continues. To watch from now on instead, delete the "
                "former."
            )
            raise LedgerUnavailable(msg)

    async def _probe(self, store: Any) -> None:
        """Check that a store without a cursor returns the values that it is given."""
        nonce = uuid4().hex
        await store.aset(self._probe_key, nonce)
        if await store.aget(self._probe_key) != nonce:
            msg = (
                "The asset's state store did not return a value just written to it, so its lack of a cursor "
                "proves nothing. A later poll tries again."
            )
            raise LedgerUnavailable(msg)


def _cursor_position(value: Any) -> tuple[int, ...]:
    """Return a position that grows as a cursor advances; ``()`` for an invalid one: reading refuses it."""
    try:
        sequences = [
            sequence for sequence in (value["watermark"], *value["seen"].values()) if sequence is not None
        ]
        return (max(sequences, default=0), len(sequences))
    except (TypeError, KeyError, AttributeError, ValueError):
        return ()


def _stores_by_asset(accessors: Any) -> dict[str, Any]:
    """Return the state stores of a watcher's assets, by the assets' names.

    Airflow hands them over as one object, which works only for a single asset and hides the names. Its
    private attributes have both.
    """
    if accessors is None:
        return {}
    by_asset = {**getattr(accessors, "_by_uri", {}), **getattr(accessors, "_by_name", {})}
    return by_asset or {"": accessors}


def _subscribers(key: Hashable) -> Subscribers:
    from airflow_provider_winsms.inbound.subscriber import Subscribers

    return _shared_subscribers.setdefault((asyncio.get_running_loop(), key), Subscribers())


def _as_list(values: Any) -> Any:
    """Return a tuple as a list: Airflow compares arguments with stored ones."""
    return list(values) if isinstance(values, (list, tuple)) else values
