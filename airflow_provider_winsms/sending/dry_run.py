"""A look at a send before anything leaves: how many texts, to which countries, and at which price.

It asks the gateway nothing except what rules ask, and it writes nothing. It holds no number, and no text
unless a person asks for texts.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.sending.batch_planner import Listed
from airflow_provider_winsms.sending.composer import Composer, RejectedRecipients
from airflow_provider_winsms.sending.description import mask_numbers
from airflow_provider_winsms.sending.plan import without_duplicates
from airflow_provider_winsms.sending.plan_id import PlanId
from airflow_provider_winsms.sending.rules.prices import PriceList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.runtime import Log
    from airflow_provider_winsms.sending.attempt import SendOrder
    from airflow_provider_winsms.sending.message_list import MessagePart
    from airflow_provider_winsms.sending.plan import Plan
    from airflow_provider_winsms.sending.rules.base import Rule
    from airflow_provider_winsms.sending.rules.rule_set import RuleSet

TEXTS_SHOWN = 3
"""How many different texts a plan describes."""


class DryRun:
    """Plans a send as ``BatchPlanner`` would plan its first try, without a ledger.

    :param compose: returns the checked messages that a composer makes of the content.
    :param rules: decide who gets a text. Their context says that it is a dry run.
    :param prices: of a segment.
    """

    def __init__(
        self,
        order: SendOrder,
        compose: Callable[[Composer], Sequence[Message]],
        *,
        gateway: Gateway,
        hashes: KeyedHash,
        now: Callable[[], DateTime],
        rules: RuleSet,
        prices: PriceList,
    ) -> None:
        self._compose = compose
        self._gateway = gateway
        self._hashes = hashes
        self._rules = rules
        self._prices = prices
        self._policy = order.policy
        self._now = now
        self._rejects = RejectedRecipients()
        self._composer = Composer(gateway, now, order.check_numbers, order.encoding, self._rejects)

    def run(self, log: Log, *, show_texts: bool = False) -> dict[str, Any]:
        """Return the plan as JSON values, and log its counts.

        :param show_texts: whether the first texts are in it, with numbers masked.
        :raises InvalidMessage: if the content is invalid as a whole. Invalid rows are listed in the plan.
        :raises NothingToSend: if the list is empty.
        :raises RefusedByRule: if a rule refuses the send.
        """
        composed = without_duplicates(self._compose(self._composer))
        listed = Listed(*composed, self._gateway, is_held=self._policy.is_held)
        plan = listed.plan_of(self._rules.decided(listed.messages), self._rules.dispatch())
        result = self._described(plan, show_texts=show_texts)
        log.info(
            "A plan, and no send: %s in %s, %s; %s left out; %s invalid. Plan %s.",
            pluralize(plan.recipients, "recipient"),
            pluralize(len(plan.requests), "request"),
            pluralize(result["segments"], "segment"),
            pluralize(plan.duplicates, "duplicate"),
            result["invalid"]["recipients"],
            result["plan_id"],
        )
        return result

    def _described(self, plan: Plan, *, show_texts: bool) -> dict[str, Any]:
        plan_id = PlanId.of(plan, self._hashes, self._gateway)
        return {
            "plan_id": str(plan_id),
            "recipients": plan.recipients,
            "requests": plan_id.requests,
            "segments": plan_id.segments,
            "duplicates": plan.duplicates,
            "estimated_cost": self._cost(plan),
            "taken_out": [
                {"rule": effect.rule, "reason": str(reason), "recipients": count}
                for effect in self._rules.effects
                for reason, count in sorted(effect.rejected.items())
            ],
            "invalid": {
                "recipients": len(self._rejects.recipients),
                "shown": list(self._rejects.shown),
            },
            "texts": self._texts(plan, show_texts=show_texts),
            "times": self._times(plan),
        }

    def _times(self, plan: Plan) -> dict[str, Any]:
        times: set[DateTime] = set()
        without_time = 0
        dispatch, now = self._rules.dispatch(), self._now()
        leaves_at = self._policy.held_until(now, self._gateway) or now
        for request in plan.requests:
            held_until = dispatch.held_until(leaves_at, request, self._gateway)
            for part in request.parts:
                at = part.message.send_at or held_until
                if at is None:
                    without_time += part.end - part.start
                else:
                    times.add(at)
        first, last = (min(times).isoformat(), max(times).isoformat()) if times else (None, None)
        return {"first": first, "last": last, "without_time": without_time}

    def _cost(self, plan: Plan) -> dict[str, Any]:
        texts = ((part.message, recipient) for part in _parts(plan) for recipient in part.recipients)
        estimate = self._prices.estimate(texts)
        return {
            "total": estimate.total_text,
            "currency": self._gateway.currency,
            "by_country": estimate.by_country(),
        }

    def _texts(self, plan: Plan, *, show_texts: bool) -> list[dict[str, Any]]:
        described = []
        for text in _first_texts(plan):
            alphabet = self._gateway.alphabet_of(text)
            units, segments = alphabet.size_of(text)
            row: dict[str, Any] = {"segments": segments, alphabet.unit.replace(" ", "_"): units}
            described.append({**row, "text": mask_numbers(text)} if show_texts else row)
        return described


def prices_of(rules: Sequence[Rule], gateway: Gateway) -> PriceList:
    """Return the prices of a segment: those of the first rule that has ``prices``, or the usual ones."""
    given = next(filter(None, (getattr(rule, "prices", None) for rule in rules)), None)
    pairs = given and [(str(prefix), Decimal(str(price))) for prefix, price in dict(given).items()]
    return PriceList(pairs, gateway)


def _parts(plan: Plan) -> Iterator[MessagePart]:
    return (part for request in plan.requests for part in request.parts)


def _first_texts(plan: Plan) -> list[str]:
    found: dict[str, None] = {}
    for part in _parts(plan):
        found[part.message.text] = None
        if len(found) == TEXTS_SHOWN:
            break
    return list(found)
