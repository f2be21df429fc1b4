"""What a task and its trigger agree on about a wait for delivery."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_provider_winsms.delivery.packed_ids import pack
from airflow_provider_winsms.delivery.tracker import DeliveryTracker
from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.ledger.base import LedgerAddress
from airflow_provider_winsms.options import NOT_FOUND_GRACE, check_conn_id, check_share
from airflow_provider_winsms.polling.schedule import Schedule
from airflow_provider_winsms.polling.waits import check_text, checked_fields, deferral_timeout

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import timedelta

    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.options import Check

IDS_IN_A_WAIT = 1000
"""How many ids a wait holds itself. If there are more, it says where they are."""


class IdSource(TypedDict, total=False):
    """Where the ids of a wait are. It has one key: the packed ids, a batch of the ledger, or an XCom.

    Only few ids are packed here. An XCom holds ids under ``message_ids``, packed or as a list. It is given by
    the arguments of ``XCom.get_one``.
    """

    message_ids: str
    batch: str
    xcom: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryWait:
    """One wait: for which texts, until when, and for which share of them.

    It holds ids and times, and no number, text or key. Instants are absolute, in seconds since the epoch. So
    a wait that moves to another process keeps its end.

    :param source: where the ids are.
    :param min_delivered: the share, 0 to 1, of the texts that must arrive.
    :param begins_at: when the age of the texts begins.
    :param shortest_pause: seconds between two questions while the texts are young.
    :param longest_pause: seconds between two questions when they are old.
    :param first_at: when to ask first.
    :param end_at: when to stop.
    :param grace_until: until then an unknown id may be one that the gateway has just made.
    :param ledger: the ledger that reports are written into before they count, or ``None``.
    :param not_found_holds: seconds for which an id must be unknown until it counts as lost. A restarted
        trigger counts them from the beginning.
    :param currency: of the costs in reports.
    """

    sms_conn_id: str
    source: IdSource
    min_delivered: float
    begins_at: float
    shortest_pause: float
    longest_pause: float
    first_at: float
    end_at: float
    grace_until: float
    ledger: LedgerAddress | None = None
    not_found_holds: float = NOT_FOUND_GRACE
    currency: str = ""

    @property
    def schedule(self) -> Schedule:
        """When to ask."""
        return Schedule(self.begins_at, self.shortest_pause, self.longest_pause)

    def tracker(self, message_ids: Iterable[MessageId]) -> DeliveryTracker:
        """Return a tracker of the texts with these ids."""
        return DeliveryTracker(
            message_ids,
            min_delivered=self.min_delivered,
            grace_until=self.grace_until,
            not_found_holds=self.not_found_holds,
            currency=self.currency,
        )

    def deferral_timeout(self, now: float) -> timedelta:
        """Return how long Airflow waits for the trigger."""
        return deferral_timeout(self.end_at, now)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the database keeps while a task is deferred."""
        return {**asdict(self), "ledger": None if self.ledger is None else list(self.ledger)}

    @classmethod
    def from_json(cls, value: object) -> DeliveryWait:
        """Read what ``to_json`` wrote.

        :raises InvalidMessage: naming a fact that is missing or wrong.
        """
        given = checked_fields(cls, value, _CHECKS, "The wait for delivery")
        ledger = None if given["ledger"] is None else LedgerAddress(*given["ledger"])
        if ledger is None and "batch" in given["source"]:
            msg = "The source of the wait for delivery is a batch, which needs a ledger."
            raise InvalidMessage(msg)
        return cls(**{**given, "ledger": ledger})


def id_source(message_ids: Collection[MessageId], xcom: dict[str, Any]) -> IdSource:
    """Return the ids themselves, or the XCom for them if they are many."""
    return {"message_ids": pack(message_ids)} if len(message_ids) <= IDS_IN_A_WAIT else {"xcom": xcom}


def _check_source(name: str, source: object) -> None:
    match source:
        case {"message_ids": str(), **rest} | {"batch": str(), **rest} if not rest:
            return
        case {"xcom": dict(xcom), **rest} if not rest and _is_reference(xcom):
            return
    msg = f"{name} must say where the ids of the texts are: one of {', '.join(IdSource.__annotations__)}."
    raise InvalidMessage(msg)


def _is_reference(xcom: dict[str, Any]) -> bool:
    match xcom:
        case {"key": str(), "dag_id": str(), "run_id": str(), "task_id": str(), "map_index": int(), **rest}:
            return not rest
    return False


def _check_ledger(name: str, ledger: object) -> None:
    match ledger:
        case None | [str(), str()]:
            return
    msg = f"{name} must be a connection and a prefix."
    raise InvalidMessage(msg)


_CHECKS: Mapping[str, Check] = {
    "sms_conn_id": check_conn_id,
    "source": _check_source,
    "min_delivered": check_share,
    "ledger": _check_ledger,
    "currency": check_text,
}
"""The checks of facts that are no times. Times are numbers, 0 or more."""
