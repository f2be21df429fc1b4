"""The watcher that starts DAGs when an SMS comes in."""

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

_COMPLAIN_EVERY = 60.0
"""Seconds between complaints about wrong arguments, at first; later more."""

_BEGUN = "begun"

_log = logging.getLogger(__name__)

_audiences: WeakValueDictionary[tuple[object, Hashable], Subscribers] = WeakValueDictionary()
"""Those who share a poll, by event loop and shared stream, as long as one of them or their poll is there."""


class SmsIncomingTrigger(BaseEventTrigger):
    r"""Fires an event for each SMS that comes in, or for each opt-out. For an ``AssetWatcher``.

    All watchers of one connection, dataset and poll interval in one triggerer share one poll, on Airflow 3.3
    or newer. What a watcher has fired it remembers in the state store of its asset, once Airflow has stored
    the event: no message is missed, and none fires twice but where the triggerer ends between the two.
    A watcher that starts for the first time begins with what arrives from then on.

    An event's payload: ``{"dataset": ..., "event_key": ..., "message_id": ..., "in_reply_to": ...,
    "received_at": ..., "keyword": ...}``. ``event_key`` is the same whenever the same message is told, and
    no other message's; ``received_at`` is ISO 8601 text in UTC, to the minute; ``keyword`` is the one of
    ``keywords`` that matched. ``message_id`` and ``in_reply_to``, the last text sent to that number, are the
    gateway's ids, and may be null, as those of opt-outs made by hand.

    A message must pass every filter that is given. Wrong arguments are an import error of the DAG file. A
    watcher that was stored with some before says so in the triggerer's log, and waits to be replaced.

    :param sms_conn_id: the connection whose type says which gateway.
    :param dataset: ``"incoming"``, ``"short_code"`` or ``"opt_outs"``.
    :param keywords: single words, in whatever case; the first word of the text must be one of them.
    :param pattern: a regular expression that must be found in the text, in the syntax of RE2
        (https://github.com/google/re2/wiki/Syntax). Its search takes time in proportion to the text, and
        holds up no other trigger. Lookarounds and backreferences are refused. For ``\w``, ``\d`` and
        ``\b`` only ASCII characters count: ``\pL`` is any letter.
    :param senders_variable: the name of an Airflow Variable with a JSON list of numbers, or numbers with
        commas between them; only what they send is told. It is read again every five minutes. By reference,
        because a trigger's arguments are stored.
    :param poll_interval: seconds, 1 or more; by default 30, for opt-outs 300, as each answer holds them all.
    :param exposed_fields: ``"number"``, ``"text"`` or both put these into the payload. They then stand in
        Airflow's metadata database and in the triggerer's log, and everything that can read the asset's
        events can read them. By default neither is told.
    """

    # A watcher has no task whose queue it could take.
    supports_triggerer_queue = False

    pause: ClassVar[Callable[..., Awaitable[None]]] = staticmethod(pause)
    """Waits for seconds, or for an event; a seam for tests."""

    hold: ClassVar[Callable[..., Awaitable[None]]] = staticmethod(asyncio.sleep)
    """Waits for seconds before an event is fired; a seam for tests."""

    spacer: ClassVar[EventSpacer | None] = None
    """When which asset had its last event; ``None`` for ``TURNS``. A seam for tests."""

    lists: ClassVar[Mapping[str, WatchedList] | None] = None
    """What can be watched, by its name; ``None`` for ``LISTS``. A seam for tests."""

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

        :raises InvalidMessage: if they make no sense, so that the DAG cannot be read.
        """
        # Airflow serializes a watcher when it reads the DAG. A constructor that raises ends the triggerer.
        self._check()
        return "airflow_provider_winsms.triggers.sms.SmsIncomingTrigger", self._arguments()

    def _arguments(self) -> dict[str, Any]:
        return {
            "sms_conn_id": self.sms_conn_id,
            "dataset": self.dataset,
            "keywords": _plain(self.keywords),
            "pattern": self.pattern,
            "senders_variable": self.senders_variable,
            "poll_interval": self.poll_interval,
            "exposed_fields": _plain(self.exposed_fields),
        }

    def shared_stream_key(self) -> Hashable | None:
        """Return what those have in common who share a poll; ``None`` for one who has to complain."""
        if self._problem() is not None:
            return None
        return ("sms-watch", self.sms_conn_id, self.dataset, self._seconds())

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the one poll of all who share it."""
        from airflow_provider_winsms.triggers.producer import Producer

        return Producer(cls(**kwargs)._watch())  # noqa: SLF001 - its own class

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Join those who share a poll, and fire events for what it offers."""
        subscribers = _subscribers(self.shared_stream_key())
        subscriber = self._join(subscribers)
        try:
            async for payload in subscriber.payloads(shared_stream):
                yield TriggerEvent(payload)
        finally:
            subscribers.leave(subscriber)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Do the same alone: before Airflow 3.3, and in ``dag.test()``.

        A message counts as told once its event is handed to Airflow, before it is stored.
        """
        from airflow_provider_winsms.inbound.subscriber import Subscribers

        await self._complain()
        subscribers = Subscribers()
        subscriber = self._join(subscribers)
        async for payload in subscriber.payloads(self._watch(subscribers).settled()):
            yield TriggerEvent(payload)

    async def cleanup(self) -> None:
        """Leave the others."""
        if self._joined is not None:
            subscribers, subscriber = self._joined
            subscribers.leave(subscriber)

    def _watch(self, subscribers: Subscribers | None = None) -> Watcher:
        from airflow_provider_winsms.inbound.watcher import Watcher

        return Watcher(
            self._lists[self.dataset],
            subscribers or _subscribers(self.shared_stream_key()),
            self._connect,
            poll_interval=self._seconds(),
            log=_log,
            pause=self.pause,
        )

    def _join(self, subscribers: Subscribers) -> Subscriber:
        from airflow_provider_winsms.inbound.filters import selection
        from airflow_provider_winsms.inbound.spacing import TURNS
        from airflow_provider_winsms.inbound.subscriber import Subscriber

        stores = _stores(getattr(self, "asset_state_store", None))
        key = self._store_key()
        subscriber = Subscriber(
            (key, *sorted(stores)),
            selection(self.dataset, self.keywords, self.pattern, self.exposed_fields),
            _AssetMemory(list(stores.values()), key) if stores else None,
            self._senders if self.senders_variable else None,
            assets=sorted(stores) or [str(id(self))],
            spacer=self.spacer or TURNS,
            pause=self.hold,
            lists=self._lists,
        )
        self._joined = subscribers, subscriber
        subscribers.join(subscriber)
        return subscriber

    def _store_key(self) -> str:
        """Return what tells this watcher from others of the same asset, and the same after a restart."""
        digest = sha256(json.dumps(self._arguments(), sort_keys=True).encode())
        return f"sms-{self.dataset}-{digest.hexdigest()[:16]}"

    def _seconds(self) -> float:
        interval = (
            self._lists[self.dataset].poll_interval if self.poll_interval is None else self.poll_interval
        )
        return float(interval)

    @property
    def _lists(self) -> Mapping[str, WatchedList]:
        from airflow_provider_winsms.inbound.feeds import LISTS

        return self.lists or LISTS

    def _check(self) -> None:
        """Hold the arguments against what they may be.

        :raises InvalidMessage: naming the one that is wrong.
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

    async def _complain(self) -> None:
        """Return at once if the arguments make sense; otherwise say so, again and again.

        Airflow makes a watcher anew, every second, that raises or returns.
        """
        from airflow_provider_winsms.inbound.watcher import back_off

        complaints = 0
        while (problem := self._problem()) is not None:
            complaints += 1
            self.log.error("This watcher watches nothing. %s Mend the DAG file.", problem)
            await self.pause(back_off(_COMPLAIN_EVERY, complaints))

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[FeedConnection]:
        from airflow_provider_winsms.hooks.awaited import async_hook
        from airflow_provider_winsms.inbound.feeds import FeedConnection

        hook = await async_hook(self.sms_conn_id)
        async with hook.get_async_conn() as transport:
            yield FeedConnection(hook.gateway, transport.execute, hook.page_size, hook.hashes)

    async def _senders(self, country_code: str) -> Collection[str]:
        """Fetch the numbers that the Variable lists.

        :raises ConfigurationError: if there is no such Variable, or it holds something else.
        """
        from airflow.providers.common.compat.sdk import Variable
        from asgiref.sync import sync_to_async

        from airflow_provider_winsms.options import items_of_text
        from airflow_provider_winsms.phone import NotANumber, NumberReader

        where = f"The Variable {self.senders_variable!r} (senders_variable)"
        value = await sync_to_async(Variable.get)(str(self.senders_variable), None)
        if not isinstance(value, str):
            msg = f"{where} does not exist, or is not text."
            raise ConfigurationError(msg)
        reader, numbers, why = NumberReader(country_code), set[str](), ""
        with suppress(InvalidMessage):
            for place, item in enumerate(items_of_text(value, "senders_variable"), start=1):
                try:
                    numbers.add(reader.read(item))
                except NotANumber as error:
                    why = why or f"; entry {place} is none: it {error}"
        if why or not numbers:
            msg = f"{where} must hold a JSON list of phone numbers, or some with commas between{why}."
            raise ConfigurationError(msg)
        return frozenset(numbers)


class _AssetMemory:
    """A cursor in the state stores of all assets that a watcher serves.

    A watcher that stands on several assets fires for all of them, and goes on when one is taken off. Airflow
    tells of any 404 only that there is no such key. So a second key says that there is a cursor.
    """

    def __init__(self, stores: Sequence[Any], key: str) -> None:
        self._stores = stores
        self._key = key
        self._witness_key = f"{key}-begun"
        self._probe_key = f"{key}-probe"
        self._is_witnessed = False

    async def load(self) -> Any:
        """Return the cursor, of several the one that has come furthest, or ``None``.

        :raises LedgerUnavailable: if there was one and it is not found.
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
        """Keep a cursor."""
        for store in self._stores:
            await store.aset(self._key, value)
        if not self._is_witnessed:
            for store in self._stores:
                await store.aset(self._witness_key, _BEGUN)
            self._is_witnessed = True

    async def _cursor(self) -> Any:
        kept = [await store.aget(self._key) for store in self._stores]
        return max((each for each in kept if each is not None), key=_progress, default=None)

    async def _refuse_if_begun(self) -> None:
        """Refuse to begin again, which would pass over what came since the cursor was written."""
        if _BEGUN in [await store.aget(self._witness_key) for store in self._stores]:
            msg = (
                f"The asset's state store has {self._witness_key}, but not its cursor, {self._key}. If the "
                "store failed for a moment, a later poll goes on. To watch from now on instead, delete the "
                "former."
            )
            raise LedgerUnavailable(msg)

    async def _probe(self, store: Any) -> None:
        """Hold a store that has nothing to what it is given."""
        nonce = uuid4().hex
        await store.aset(self._probe_key, nonce)
        if await store.aget(self._probe_key) != nonce:
            msg = (
                "The asset's state store did not return what was just written to it, so its lack of a cursor "
                "proves nothing. A later poll tries again."
            )
            raise LedgerUnavailable(msg)


def _progress(value: Any) -> tuple[int, ...]:
    """Return what grows as a cursor goes on; nothing for what is no cursor, which is refused when read."""
    try:
        sequences = [
            sequence for sequence in (value["watermark"], *value["seen"].values()) if sequence is not None
        ]
        return (max(sequences, default=0), len(sequences))
    except (TypeError, KeyError, AttributeError, ValueError):
        return ()


def _stores(accessors: Any) -> dict[str, Any]:
    """Return the state stores of a watcher's assets, by the assets' names.

    Airflow hands them over together, without telling of which assets they are; and only of a single one can
    they be used so. So it is looked up where it keeps them.
    """
    if accessors is None:
        return {}
    apart = {**getattr(accessors, "_by_uri", {}), **getattr(accessors, "_by_name", {})}
    return apart or {"": accessors}


def _subscribers(key: Hashable) -> Subscribers:
    from airflow_provider_winsms.inbound.subscriber import Subscribers

    return _audiences.setdefault((asyncio.get_running_loop(), key), Subscribers())


def _plain(values: Any) -> Any:
    """Return a list for what is a list in all but name, as Airflow compares what it has stored."""
    return list(values) if isinstance(values, (list, tuple)) else values
