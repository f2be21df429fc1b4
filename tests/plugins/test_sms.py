"""The plugin, as every process of Airflow finds and imports it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

from airflow_provider_winsms.plugins.sms import SmsPlugin


def test_airflow_finds_it_by_its_entry_point() -> None:
    (point,) = [
        each
        for each in entry_points(group="airflow.plugins")
        if each.value.startswith("airflow_provider_winsms.")
    ]
    assert point.load() is SmsPlugin


def test_a_task_s_process_does_not_import_the_app() -> None:
    code = (
        "import sys; from airflow_provider_winsms.plugins.sms import SmsPlugin; SmsPlugin();"
        "print([name for name in ('airflow_provider_winsms.plugins.app', 'cachetools', "
        "'airflow_provider_winsms.reports') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_app_is_made_once() -> None:
    plugin = SmsPlugin()
    assert plugin.fastapi_apps is plugin.fastapi_apps
    (app,) = plugin.fastapi_apps
    assert app["url_prefix"] == "/sms"
    assert [route.path for route in app["app"].routes] == ["/"]


def test_its_addresses_are_relative_so_that_a_base_url_may_have_a_path() -> None:
    assert [view["href"] for view in SmsPlugin.external_views] == [
        "sms/",
        "sms/?dag_id={DAG_ID}&run_id={RUN_ID}",
    ]
    routes = [view["url_route"] for view in SmsPlugin.external_views]
    assert len(set(routes)) == 2
