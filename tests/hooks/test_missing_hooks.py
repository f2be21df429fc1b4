"""A database whose hook or driver is not installed: the error names what to install."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook

from airflow_provider_winsms.exceptions import ConfigurationError, LoadFailed
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.sql.connection import Database

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = ("apache_airflow_providers_postgres-", "mysql", "duckdb")
"""What the installation below lacks: the provider of PostgreSQL, and two drivers."""

HIDDEN_TYPES = {
    "postgres": (
        "has the type 'postgres', whose hook is in apache-airflow-providers-postgres, which is not "
        "installed. Install it: pip install 'airflow-provider-winsms[postgres]'"
    ),
    "mysql": (
        "has the type 'mysql', whose hook needs the Python module 'mysql'. "
        "Install it: pip install 'airflow-provider-winsms[mysql]'"
    ),
    "duckdb": (
        "has the type 'duckdb', whose hook is in airflow-provider-duckdb, which is not installed. "
        "Install it: pip install 'airflow-provider-winsms[duckdb]'"
    ),
    "sqlite": "found SqliteHook",
}
"""What is said there of a connection of each type."""

TYPES = {
    "snowflake": (
        "has the type 'snowflake', whose hook is in apache-airflow-providers-snowflake, which is not "
        "installed. Install it: pip install apache-airflow-providers-snowflake"
    ),
    "mssql": "Install it: pip install apache-airflow-providers-microsoft-mssql",
    "gcpbigquery": "Install it: pip install apache-airflow-providers-google",
    "postgress": "for which no installed package has a hook. Did you mean 'postgres'?",
    "abacus": "has the type 'abacus', for which no installed package has a hook.",
    "winsms": "has the type 'winsms'; expected an SQL database, whose hook is a DbApiHook.",
    "smtp": "has the type 'smtp'; expected an SQL database, whose hook is a DbApiHook.",
}
"""What is said of a connection of each type, wherever this package is tested."""

SCRIPT = """
import json
from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.hooks.connections import sql_hook
for conn_type in {types!r}:
    try:
        words = "found " + type(sql_hook(conn_type)).__name__
    except ConfigurationError as error:
        words = str(error)
    print("FOUND", json.dumps([conn_type, words]))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What is said in an installation that lacks ``HIDDEN``."""
    site = tmp_path_factory.mktemp("site")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(HIDDEN):
            (site / path.name).symlink_to(path)
    search = (ROOT, ROOT / "tests" / "support" / "mysql_provider", site)
    environment = {
        "PYTHONPATH": ":".join(map(str, search)),
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("home")),
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps({"conn_type": name}) for name in HIDDEN_TYPES},
    }
    # Without the site of this environment, which lacks nothing.
    command = [sys.executable, "-S", "-c", SCRIPT.format(types=list(HIDDEN_TYPES))]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = [line.removeprefix("FOUND ") for line in run.stdout.splitlines() if line.startswith("FOUND ")]
    return dict(map(json.loads, lines))


@pytest.mark.database
@pytest.mark.parametrize("conn_type", HIDDEN_TYPES)
def test_what_is_not_installed_is_named_with_how_to_install_it(
    conn_type: str, said: Mapping[str, str]
) -> None:
    assert said[conn_type].endswith(HIDDEN_TYPES[conn_type])


@pytest.mark.parametrize("conn_type", TYPES)
def test_a_type_without_a_hook_for_databases_is_named_with_the_way_out(
    conn_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": conn_type, "password": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    with pytest.raises(ConfigurationError) as caught:
        sql_hook("warehouse")
    assert str(caught.value).startswith("The connection 'warehouse' has the type ")
    assert str(caught.value).endswith(TYPES[conn_type])


class LazyHook(DbApiHook):
    """A hook that imports its driver when it connects, as Airflow's own for MySQL does."""

    conn_name_attr = "lazy_conn_id"
    default_conn_name = "lazy_default"
    conn_type = "mysql"

    def get_conn(self) -> NoReturn:
        importlib.import_module("no_such_driver")
        raise AssertionError


def test_a_driver_that_is_missing_when_it_connects_is_named_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "mysql"}))
    database = Database(LazyHook("warehouse"), lambda _: LoadFailed("refused"))
    with pytest.raises(ConfigurationError) as caught:
        database.open()
    assert str(caught.value) == (
        "The database of the connection 'warehouse' needs the Python module 'no_such_driver'. "
        "Install it: pip install 'airflow-provider-winsms[mysql]'"
    )
