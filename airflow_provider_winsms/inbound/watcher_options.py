"""The options of a watcher, as its DAG file gives them and as the database keeps them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.options import check_conn_id, shown

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from airflow_provider_winsms.inbound.filters import Selection
    from airflow_provider_winsms.options import ExposableField, WatchedDataset

SHORTEST_POLL_INTERVAL = 1.0
"""Seconds: an interval of 0 would ask without pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatcherOptions:
    """The list that a watcher watches, its filters, and the fields of its payloads.

    Any value makes one, since a trigger that raises when it is made ends the triggerer. ``check`` refuses the
    wrong ones, and all other members expect right ones. ``SmsIncomingTrigger`` explains the fields.
    """

    sms_conn_id: str
    dataset: WatchedDataset
    keywords: Sequence[str] | None
    pattern: str | None
    senders_variable: str | None
    poll_interval: float | None
    exposed_fields: Sequence[ExposableField]

    def check(self) -> None:
        """Check every option.

        :raises InvalidMessage: naming the wrong one.
        """
        check_conn_id("sms_conn_id", self.sms_conn_id)
        variable, interval = self.senders_variable, self.poll_interval
        if variable is not None and not (isinstance(variable, str) and variable):
            msg = f"senders_variable must be the name of a Variable; got {shown(variable)}."
            raise InvalidMessage(msg)
        self.selection()
        if interval is not None and not (
            type(interval) in {int, float} and SHORTEST_POLL_INTERVAL <= interval < math.inf
        ):
            msg = f"poll_interval must be a number of seconds, 1 or more; got {interval!r}."
            raise InvalidMessage(msg)

    @property
    def problem(self) -> InvalidMessage | None:
        """The error that ``check`` raises, if it raises one."""
        try:
            self.check()
        except InvalidMessage as error:
            return error
        return None

    def selection(self) -> Selection:
        """Return the filters and the exposed fields.

        :raises InvalidMessage: naming the wrong one.
        """
        from airflow_provider_winsms.inbound.filters import selection

        return selection(self.dataset, self.keywords, self.pattern, self.exposed_fields)

    @property
    def seconds_between_polls(self) -> float:
        """The given interval, or the one of the list."""
        from airflow_provider_winsms.inbound.feeds import list_named

        given = self.poll_interval
        return float(list_named(self.dataset).poll_interval if given is None else given)

    @property
    def poll_key(self) -> Hashable:
        """A key that is the same for all watchers that share a poll."""
        return ("sms-watch", self.sms_conn_id, self.dataset, self.seconds_between_polls)

    @property
    def cursor_key(self) -> str:
        """A key that no other watcher of an asset has, and that stays the same after a restart."""
        digest = sha256(json.dumps(self.to_json(), sort_keys=True).encode())
        return f"sms-{self.dataset}-{digest.hexdigest()[:16]}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the database keeps: the arguments that make the same options again."""
        return {field.name: _as_list(getattr(self, field.name)) for field in fields(self)}


def _as_list(value: Any) -> Any:
    """Return a tuple as a list: Airflow compares arguments with stored ones."""
    return list(value) if isinstance(value, tuple) else value
