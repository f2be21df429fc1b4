"""The id of a plan: it tells whether a send is exactly the one that a person has approved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.exceptions import InvalidMessage, PlanNotApproved
from airflow_provider_winsms.messages import pluralize

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.sending.plan import Plan

_DIGITS = 32
_PLAN_ID = re.compile(rf"([0-9a-f]{{{_DIGITS}}})" + 3 * r"\.([0-9]{1,12})")
_COUNTS = ("recipient", "request", "segment")

NOT_GIVEN: Any = type("NotGiven", (), {"__repr__": lambda _: "NOT_GIVEN", "__module__": __name__})()
"""The default of a parameter that may be left out, but not be empty."""


class PlanId(NamedTuple):
    """Identifies what a send would submit. It depends on no clock, no process, and not on ``hold``.

    :param digest: a keyed digest of the texts as they are spelled, with their times, segments and numbers, in
        their order.
    :param segments: of all texts to all recipients.
    """

    digest: str
    recipients: int
    requests: int
    segments: int

    @classmethod
    def of(cls, plan: Plan, hashes: KeyedHash, gateway: Gateway) -> PlanId:
        """Return the id of a plan."""
        whole = plan.digest(hashes)
        segments = sum(
            gateway.alphabet_of(part.message.text).count_segments(part.message.text) * (part.end - part.start)
            for request in plan.requests
            for part in request.parts
        )
        digest = hashes.of_parts("plan", whole.texts, whole.numbers)[:_DIGITS]
        return cls(digest, plan.recipients, len(plan.requests), segments)

    @classmethod
    def read(cls, name: str, given: object) -> PlanId:
        """Return the id that a parameter holds.

        :raises InvalidMessage: it holds none.
        """
        found = _PLAN_ID.fullmatch(given) if isinstance(given, str) else None
        if found is None:
            is_empty = given is None or (isinstance(given, str) and given.strip() in {"", "None"})
            what = "is empty" if is_empty else "is no plan_id"
            msg = (
                f"`{name}` {what}, so no plan was approved. Nothing was sent. Give the plan_id of a task "
                "with plan_only=True: {{ ti.xcom_pull(task_ids='plan')['plan_id'] }}."
            )
            raise InvalidMessage(msg)
        return cls(found[1], *(int(count) for count in found.groups()[1:]))

    def __str__(self) -> str:
        """Return the digest and the counts, with dots between them."""
        return ".".join(map(str, self))

    def require(self, found: PlanId) -> None:
        """Refuse a send that is not this plan, which was approved.

        :raises PlanNotApproved: naming the difference.
        """
        if found != self:
            msg = (
                f"The plan that was approved {self._difference(found)}. This try has sent nothing. Give both "
                "tasks the same parameters. If the list has changed, plan it, and have that plan approved."
            )
            raise PlanNotApproved(msg)

    def _difference(self, found: PlanId) -> str:
        pairs = zip(_COUNTS, self[1:], found[1:], strict=True)
        counts = [
            f"{pluralize(abs(approved - now), thing)} {'more' if approved > now else 'fewer'}"
            for thing, approved, now in pairs
            if approved != now
        ]
        if counts:
            return f"has {', '.join(counts)} than this send"
        return (
            "has as many recipients, requests and segments as this send, but other texts, numbers or times "
            "(or the connection had another API key or hash_secret)"
        )


def check_plan_id(name: str, plan_id: object) -> None:
    """Check that a parameter is the id of a plan.

    :raises InvalidMessage: it is not.
    """
    PlanId.read(name, plan_id)


def check_plan_options(
    approved_plan: object, is_approval_given: object, plan_only: object, show_texts: object
) -> None:
    """Refuse options of a plan that contradict each other, and an approved plan that is empty.

    :param is_approval_given: whether ``approved_plan`` was given. An empty one is refused, and never ignored.
    :raises InvalidMessage: naming them.
    """
    if show_texts and not plan_only:
        msg = "show_texts=True is about the plan that plan_only=True returns. A send shows no text."
        raise InvalidMessage(msg)
    if plan_only and is_approval_given:
        msg = "plan_only=True makes a plan, and `approved_plan` sends one. Give one of them."
        raise InvalidMessage(msg)
    if is_approval_given:
        check_plan_id("approved_plan", approved_plan)
