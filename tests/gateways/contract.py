"""The gateways whose contract is tested: the calls of each, and its refusals. A new one is one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.gateways.calls import ONCE_ONLY, OPERATIONS
from tests.gateways.carriers import GATEWAY
from tests.gateways.stub import Reply, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_winsms.gateways.base import Gateway
    from tests.gateways.calls import Operation


@dataclass(frozen=True)
class GatewayUnderTest:
    """A gateway with an example of each call.

    :param operations: each call with its shortest success, by the name of the operation.
    :param once_only: the operations that cost money each time they are carried out.
    :param refusal: makes the gateway's own refusal with a status.
    :param documented: the statuses with which the gateway refuses.
    """

    gateway: Gateway
    operations: Mapping[str, Operation]
    once_only: frozenset[str]
    refusal: Callable[[int], Reply]
    documented: frozenset[int]


UNDER_TEST = {
    "winsms": GatewayUnderTest(
        GATEWAY, OPERATIONS, frozenset(ONCE_ONLY), refusal, frozenset({400, 401, 404, 405, 413, 415, 422})
    ),
}
"""By their folders in ``gateways/``, or by a name of their own if they are made up."""

EACH_OPERATION = [(name, operation) for name, each in UNDER_TEST.items() for operation in each.operations]
EACH_ONCE_ONLY = [
    (name, operation) for name, each in UNDER_TEST.items() for operation in sorted(each.once_only)
]
EACH_REPEATABLE = [each for each in EACH_OPERATION if each not in EACH_ONCE_ONLY]
