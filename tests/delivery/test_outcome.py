"""The result of a wait on its way from the triggerer to the task."""

from __future__ import annotations

import json

import pytest

from airflow_provider_winsms.delivery.outcome import WaitResult
from airflow_provider_winsms.exceptions import InvalidMessageId, SessionExpired, SmsError
from airflow_provider_winsms.polling.waits import REFUSALS, refusal


@pytest.mark.parametrize("kind", [*REFUSALS, SessionExpired, InvalidMessageId])
def test_a_permanent_error_of_any_type_reaches_the_task_with_its_words(kind: type[SmsError]) -> None:
    event = json.loads(json.dumps(refusal(kind("Its words."))))
    with pytest.raises(REFUSALS, match=r"^Its words\.$") as caught:
        WaitResult.from_event(event)
    assert issubclass(kind, type(caught.value))
