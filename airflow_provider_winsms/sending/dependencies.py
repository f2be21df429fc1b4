"""What the parts of a send work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Execute, Gateway
    from airflow_provider_winsms.ledger.base import Ledger
    from airflow_provider_winsms.runtime import Clock, Log
    from airflow_provider_winsms.sending.policy import Policy


@dataclass(frozen=True, slots=True)
class SendDependencies:
    """What the parts of a send work with.

    :param batch_id: the batch that the ledger has open.
    :param process: identifies this process among all that may send the batch.
    """

    gateway: Gateway
    execute: Execute
    ledger: Ledger
    clock: Clock
    policy: Policy
    log: Log
    batch_id: str
    process: str
