"""What the contract suite must know about a gateway: one object each, in ``<folder>_under_test.py``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.gateways.base import Problem, Response
from tests.gateways.stub import Stub, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from airflow_provider_winsms.exceptions import SmsError
    from airflow_provider_winsms.gateways.base import Call, Gateway
    from airflow_provider_winsms.messages import Message
    from tests.gateways.carriers import Carrier
    from tests.gateways.stub import Reply

REFUSED: dict[int, type[SmsError]] = {
    300: ConfigurationError,
    301: ConfigurationError,
    302: ConfigurationError,
    304: ConfigurationError,
    307: ConfigurationError,
    308: ConfigurationError,
    400: InvalidMessage,
    401: ConfigurationError,
    403: ConfigurationError,
    404: ConfigurationError,
    405: ConfigurationError,
    413: InvalidMessage,
    415: InvalidMessage,
    422: InvalidMessage,
}
"""Statuses that say of what may be repeated that it was not carried out, and never will be as it stands."""

METHODS = {
    "batch": "send_batch",
    "list_scheduled": "scheduled",
    "cancel": "cancel",
    "status": "delivery_reports",
    "sent_history": "sent",
    "incoming": "incoming",
    "short_code": "short_code",
    "opt_outs": "opt_outs",
    "balance": "balance",
    "transfer_credits": "transfer_credits",
    "sub_accounts": "sub_accounts",
}
"""The operation that each capability promises."""

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "opt_outs": (),
    "balance": (),
    "sub_accounts": (),
    "transfer_credits": (1, 2, 3),
    "send_batch": ([],),
    "cancel": ([1],),
    "delivery_reports": ([1],),
}
"""What an operation is called with that a gateway lacks; lists take a start and a limit."""


class Operation(NamedTuple):
    """An operation, with the shortest answer that says that it was carried out."""

    call: Call[Any]
    success: Any
    status: int = 200
    headers: Mapping[str, str] | None = None

    @property
    def reply(self) -> Reply:
        return answer(self.status, self.success, headers=self.headers)


@dataclass(frozen=True)
class GatewayUnderTest:
    """A gateway, with the answers that only its own documents tell.

    :param gateway: the gateway.
    :param credentials: fields of ``Endpoint``, with secrets that are found wherever they leak to.
    :param operations: each operation, by the name of its method in ``Gateway``.
    :param examples: makes operations whose answers hold whole rows, from an id as the wire has it.
    :param wire_ids: three ids or more, as the wire has them, of every shape that it may have.
    :param once_only: the operations that cost money, or move it, each time they are carried out.
    :param accept: makes the answer to a send of one message: rows for these recipients, by their indexes, in
        this order. Row ``i`` has the id ``wire_ids[i]`` and a cost.
    :param costs: amounts that the wire can write, of the most places.
    :param personal: numbers and texts in ``operations`` and ``examples``. The first three are numbers of one
        country.
    :param documented: the statuses of documented refusals, whatever the operation, with their errors.
    :param refusal: makes an error answer in the gateway's own form, with a reason in words.
    :param states: makes the answer to a request for the states of these ids, as the wire has them: a whole
        row each, in this order.
    :param timeless: the operations whose rows state no time.
    :param not_there: the answer that says that the thing is not there.
    :param later: the answer, besides a 429, that says that no request is taken now.
    :param session_over: the answer that says that the session is over.
    :param logins: the answers of logins that succeed, by their paths.
    :param refused_login: the answer to wrong credentials.
    """

    gateway: Gateway
    credentials: Mapping[str, Any]
    operations: Mapping[str, Operation]
    examples: Callable[[Any], Mapping[str, Operation]]
    wire_ids: Sequence[Any]
    once_only: frozenset[str]
    accept: Callable[[Message, Sequence[int], Decimal], Operation]
    costs: Sequence[Decimal]
    personal: Sequence[str]
    documented: Mapping[int, type[SmsError]]
    refusal: Callable[[int, str], Reply]
    states: Callable[[Sequence[Any]], Operation] | None = None
    timeless: frozenset[str] = frozenset({"cancel"})
    not_there: Reply | None = None
    later: Reply | None = None
    session_over: Reply | None = None
    logins: Mapping[str, Reply] = field(default_factory=dict)
    refused_login: Reply | None = None

    def __str__(self) -> str:
        return self.gateway.name

    @property
    def secrets(self) -> list[str]:
        """Everything that signs in, and what signing in returns."""
        return [str(value) for value in self.credentials.values()]

    @property
    def refusals(self) -> dict[int, type[SmsError]]:
        """The errors of answers that are no success, by their status, of what may be repeated."""
        return {**REFUSED, **self.documented}

    def says_not_there(self, status: int) -> bool:
        """Whether the refusal of a status says that the thing is not there."""
        body = self.refusal(status, "No.").wire.partition(b"\r\n\r\n")[2]
        document = json.loads(body) if body else None
        return self.gateway.problem(Response(document, status)) is Problem.NOT_THERE

    def stub(self, *script: Reply) -> Stub:
        """Return a server that knows how to sign in."""
        return Stub(*script, logins=self.logins)

    def outcomes(self, carrier: Carrier, stub: Stub, *calls: Call[Any], **options: Any) -> list[Any]:
        """Carry out calls, and return what each of them returns or raises."""
        endpoint = {"gateway": self.gateway, **self.credentials, **options}
        return carrier.outcomes(stub.base_url, *calls, **endpoint)

    def execute(self, carrier: Carrier, stub: Stub, *calls: Call[Any], **options: Any) -> list[Any]:
        """Carry out calls, and return what they return."""
        endpoint = {"gateway": self.gateway, **self.credentials, **options}
        return carrier.execute(stub.base_url, *calls, **endpoint)
