"""The trigger that starts DAGs when an SMS comes in."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_winsms.runtime import pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence

    from airflow.triggers.shared_stream import SharedStreamProducer

    from airflow_provider_winsms.inbound.feeds import FeedConnection, WatchedList
    from airflow_provider_winsms.inbound.subscriber import EventSpacer, Subscriber, Subscribers
    from airflow_provider_winsms.inbound.watcher import Watcher
    from airflow_provider_winsms.options import ExposableField, WatchedDataset

_PROBLEM_LOG_INTERVAL = 60.0
"""Seconds between log lines about invalid arguments, at first; later more."""

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
        from airflow_provider_winsms.inbound.watcher_options import WatcherOptions

        super().__init__()  # type: ignore[no-untyped-call]
        self.options = WatcherOptions(
            sms_conn_id=sms_conn_id,
            dataset=dataset,
            keywords=keywords,
            pattern=pattern,
            senders_variable=senders_variable,
            poll_interval=poll_interval,
            exposed_fields=exposed_fields,
        )
        self._joined: tuple[Subscribers, Subscriber] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path and arguments that the trigger is rebuilt from.

        :raises InvalidMessage: if an argument is invalid, so that the DAG cannot be read.
        """
        # Airflow serializes a watcher when it reads the DAG. An error in a constructor ends the triggerer.
        self.options.check()
        return "airflow_provider_winsms.triggers.sms.SmsIncomingTrigger", self.options.to_json()

    def shared_stream_key(self) -> Hashable | None:
        """Return the key of the shared poll; ``None`` if an argument is invalid."""
        return self.options.poll_key if self.options.problem is None else None

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the poll that watchers with one key share."""
        from airflow_provider_winsms.triggers.producer import Producer

        return Producer(cls(**kwargs)._watcher())  # noqa: SLF001 - its own class

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Join the shared poll, and fire events for its rows."""
        subscribers = _subscribers(self.options.poll_key)
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
            self._lists[self.options.dataset],
            subscribers or _subscribers(self.options.poll_key),
            self._connect,
            poll_interval=self.options.seconds_between_polls,
            log=_log,
            pause=self.pause,
        )

    def _join(self, subscribers: Subscribers) -> Subscriber:
        from airflow_provider_winsms.inbound.subscriber import SHARED_SPACER, Subscriber
        from airflow_provider_winsms.triggers.cursor_store import AssetCursorStore, stores_by_asset
        from airflow_provider_winsms.triggers.senders import read_senders

        stores = stores_by_asset(getattr(self, "asset_state_store", None))
        key, variable = self.options.cursor_key, self.options.senders_variable
        subscriber = Subscriber(
            (key, *sorted(stores)),
            self.options.selection(),
            AssetCursorStore(list(stores.values()), key) if stores else None,
            partial(read_senders, variable) if variable else None,
            assets=sorted(stores) or [str(id(self))],
            spacer=self.spacer or SHARED_SPACER,
            pause=self.hold,
            lists=self._lists,
        )
        self._joined = subscribers, subscriber
        subscribers.join(subscriber)
        return subscriber

    @property
    def _lists(self) -> Mapping[str, WatchedList]:
        from airflow_provider_winsms.inbound.feeds import LISTS

        return self.lists or LISTS

    async def _wait_while_invalid(self) -> None:
        """Return at once if the arguments are valid; otherwise log the problem again and again.

        Airflow restarts a watcher that raises or returns, every second.
        """
        from airflow_provider_winsms.inbound.watcher import poll_pause

        times = 0
        while (problem := self.options.problem) is not None:
            times += 1
            self.log.error("Invalid arguments for SmsIncomingTrigger: %s Fix the DAG file.", problem)
            await self.pause(poll_pause(_PROBLEM_LOG_INTERVAL, times))

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[FeedConnection]:
        from airflow_provider_winsms.hooks.async_hooks import async_hook
        from airflow_provider_winsms.inbound.feeds import FeedConnection

        hook = await async_hook(self.options.sms_conn_id)
        async with hook.get_async_conn() as transport:
            yield FeedConnection(hook.gateway, transport.execute, hook.page_size, hook.hashes)


def _subscribers(key: Hashable) -> Subscribers:
    from airflow_provider_winsms.inbound.subscriber import Subscribers

    return _shared_subscribers.setdefault((asyncio.get_running_loop(), key), Subscribers())
