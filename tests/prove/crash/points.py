"""Where a send is struck, and with what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

REQUEST_SIZE = 2
"""So many recipients fit into a request here: the protocol does not depend on it."""


class Blow(StrEnum):
    """What happens to the process that sends."""

    KILL = "SIGKILL"
    """It is gone, as after a power cut."""

    TIMEOUT = "execution_timeout"
    """``AirflowTaskTimeout`` is raised, wherever it is."""

    TERM = "SIGTERM"
    """Airflow kills the task: ``on_kill``."""

    DROP = "dropped"
    """The connection, to the gateway or to the ledger, breaks."""

    STOP = "SIGSTOP"
    """It stands still, and goes on when its task has a next try: a zombie."""


class Moment(StrEnum):
    """When, within a step."""

    ABOUT = "about to be written"
    BEFORE_COMMIT = "before the commit"
    AFTER_COMMIT = "committed, not told"
    HALF_SENT = "half of the request sent"
    SENT = "sent, arrives later"
    NO_ANSWER = "carried out, not answered"
    HALF_ANSWERED = "half of the answer read"


@dataclass(frozen=True)
class Point:
    """One boundary of the protocol.

    :param step: of the ledger: ``open``, ``claim``, ``record``; of the gateway: ``send``, ``list``,
        ``cancel``.
    :param number: which request of the round; of ``list``, which look.
    :param round: of the request; a gateway counts its requests through.
    """

    step: str
    moment: Moment
    number: int = 1
    round: int = 1

    @property
    def is_of_gateway(self) -> bool:
        return self.step in {"send", "list", "cancel"}

    @property
    def name(self) -> str:
        again = f" of round {self.round}" if self.round > 1 else ""
        number = "" if self.step == "open" else f" {self.number}{again}"
        return f"{self.step}{number}: {self.moment}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Point:
        return cls(**{**values, "moment": Moment(values["moment"])})
