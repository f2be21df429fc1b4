"""The numbers in an Airflow Variable, from which a watcher takes messages."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.options import items_of_text
from airflow_provider_winsms.phone import InvalidPhoneNumber, NumberReader

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provider_winsms.phone import NumberPlan


async def read_senders(variable: str, plan: NumberPlan) -> Collection[str]:
    """Read the numbers from a Variable.

    :param plan: of the gateway.
    :raises ConfigurationError: if there is no such Variable, or it holds no list of numbers.
    """
    from airflow.providers.common.compat.sdk import Variable
    from asgiref.sync import sync_to_async

    where = f"The Variable {variable!r} (senders_variable)"
    value = await sync_to_async(Variable.get)(variable, None)
    if not isinstance(value, str):
        msg = f"{where} does not exist, or is not text."
        raise ConfigurationError(msg)
    reader, numbers, why = NumberReader(plan.country_code, trunk_prefix=plan.trunk_prefix), set[str](), ""
    with suppress(InvalidMessage):
        for position, item in enumerate(items_of_text(value, "senders_variable"), start=1):
            try:
                numbers.add(reader.read(item))
            except InvalidPhoneNumber as error:
                why = why or f"; item {position} is none: it {error}"
    if why or not numbers:
        msg = f"{where} must hold a JSON list of phone numbers, or some with commas between{why}."
        raise ConfigurationError(msg)
    return frozenset(numbers)
