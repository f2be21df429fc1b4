"""The settings of the page, as Airflow's configuration has them."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from airflow_provider_winsms.exceptions import SmsError
from airflow_provider_winsms.get_provider_info import get_provider_info
from airflow_provider_winsms.plugins.settings import SECTION, PageSettings, read_settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sms-page.md").read_text()


def configure(monkeypatch: pytest.MonkeyPatch, **options: str) -> None:
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__WINSMS__{name.upper()}", value)


def test_nothing_is_shown_unless_it_is_named() -> None:
    assert read_settings() == PageSettings((), "sms_", {})


def test_lists_are_parted_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(
        monkeypatch,
        ledger_conn_ids=" warehouse ,crm,, warehouse",
        ledger_prefix="texts_",
        opt_outs_tables="crm:outs, warehouse:opt_outs",
    )
    tables = {"crm": "outs", "warehouse": "opt_outs"}
    assert read_settings() == PageSettings(("warehouse", "crm"), "texts_", tables)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ledger_prefix": "a-b"}, "ledger_prefix"),
        ({"opt_outs_tables": "opt_outs"}, "a colon and a table, such as warehouse:opt_outs"),
        ({"opt_outs_tables": "other:opt_outs"}, "'other:opt_outs'"),
        ({"opt_outs_tables": "warehouse:opt outs"}, "opt_outs_tables"),
    ],
)
def test_a_setting_without_meaning_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, str], words: str
) -> None:
    configure(monkeypatch, ledger_conn_ids="warehouse", **options)
    with pytest.raises(SmsError, match=words):
        read_settings()


def test_the_settings_that_are_shown_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    for block in re.findall(r"^```ini\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        parser = ConfigParser()
        parser.read_string(block)
        configure(monkeypatch, **parser[SECTION])
        shown.append(read_settings())
    assert shown == [
        PageSettings(("warehouse",), "sms_", {}),
        PageSettings(("warehouse", "crm"), "sms_", {"warehouse": "opt_outs"}),
    ]


def test_airflow_knows_every_setting_and_its_default() -> None:
    options = get_provider_info()["config"][SECTION]["options"]
    assert {name: option["default"] for name, option in options.items()} == {
        "ledger_conn_ids": "",
        "ledger_prefix": "sms_",
        "opt_outs_tables": "",
    }
