"""The options of a watcher: kept as JSON, and the keys that are made of them."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from typing import Any

import pytest

from airflow_provider_winsms.inbound.watcher_options import WatcherOptions
from airflow_provider_winsms.triggers.incoming import SmsIncomingTrigger


def options(**given: Any) -> WatcherOptions:
    return SmsIncomingTrigger(**given).options


def test_the_trigger_takes_each_option_and_no_other() -> None:
    assert {field.name for field in fields(WatcherOptions)} == set(
        inspect.signature(SmsIncomingTrigger).parameters
    )


def test_the_json_makes_the_same_options_again() -> None:
    made = options(keywords=("YES", "no"), pattern="a+", senders_variable="phones", exposed_fields=("text",))
    kept = json.loads(json.dumps(made.to_json()))
    assert kept == made.to_json() == WatcherOptions(**kept).to_json()
    assert WatcherOptions(**kept).cursor_key == made.cursor_key


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({}, "sms-incoming-ea9db979fe4a5752"),
        (
            {"keywords": ("YES", "no"), "exposed_fields": ("text",), "poll_interval": 5},
            "sms-incoming-58094ffbfb02d568",
        ),
    ],
)
def test_a_watcher_finds_the_cursor_that_it_kept_before_an_upgrade(given: dict[str, Any], key: str) -> None:
    assert options(**given).cursor_key == key


def test_watchers_of_one_list_share_a_poll_whatever_their_filters_are() -> None:
    assert options().poll_key == options(poll_interval=30, keywords=["YES"]).poll_key
    others = [options(dataset="opt_outs"), options(poll_interval=31), options(sms_conn_id="other")]
    assert len({options().poll_key, *(other.poll_key for other in others)}) == 4


def test_wrong_options_are_made_and_name_their_problem() -> None:
    assert options().problem is None
    assert "dataset must be one of" in str(options(dataset="incomming").problem)
