from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from trove_classifiers import classifiers

import airflow_provider_winsms
from airflow_provider_winsms import __version__
from airflow_provider_winsms.get_provider_info import GATEWAYS, REPOSITORY, get_provider_info
from scripts.project import URLS
from scripts.public_modules import public_modules

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "airflow_provider_winsms"


def _schema(name: str) -> Any:
    return json.loads((Path(airflow.__file__).parent / name).read_text())


def _modules() -> list[str]:
    found = pkgutil.walk_packages(airflow_provider_winsms.__path__, "airflow_provider_winsms.")
    return sorted(module.name for module in found if not module.name.endswith("__main__"))


def test_the_entry_point_leads_to_the_provider_info() -> None:
    points = importlib.metadata.entry_points(group="apache_airflow_provider")
    (ours,) = [point for point in points if point.value.startswith("airflow_provider_winsms")]
    assert ours.load() is get_provider_info


def test_the_provider_info_is_valid_against_airflows_runtime_schema() -> None:
    jsonschema.validate(get_provider_info(), _schema("provider_info.schema.json"))


def test_the_connection_form_is_valid_against_airflows_strict_schema() -> None:
    strict = _schema("provider.yaml.schema.json")["properties"]["connection-types"]
    jsonschema.validate(get_provider_info()["connection-types"], strict)


def test_every_field_of_the_form_says_what_it_is_and_may_be_left_empty() -> None:
    for kind in get_provider_info()["connection-types"]:
        for field in kind["conn-fields"].values():
            assert field["label"]
            assert field["description"]
            assert field["schema"]["type"][-1] == "null"


def test_every_module_that_the_provider_info_names_exists() -> None:
    for section in ("operators", "sensors", "hooks", "triggers"):
        for entry in get_provider_info()[section]:
            for module in entry["python-modules"]:
                assert importlib.import_module(module)
    for transfer in get_provider_info()["transfers"]:
        assert importlib.import_module(transfer["python-module"])
    for path in get_provider_info()["extra-links"]:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name)().name
    for path in get_provider_info()["queues"]:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name)().scheme in GATEWAYS


def test_the_package_name_is_the_one_that_airflow_looks_for() -> None:
    assert get_provider_info()["package-name"] == "airflow-provider-winsms"
    assert importlib.metadata.version("airflow-provider-winsms") == airflow_provider_winsms.__version__


def test_the_list_of_gateways_is_the_list_of_their_folders() -> None:
    folders = {path.name for path in (PACKAGE / "gateways").iterdir() if (path / "gateway.py").exists()}
    types = {kind["connection-type"] for kind in get_provider_info()["connection-types"]}
    assert set(GATEWAYS) == folders == types


HEAVY = {
    *("requests", "urllib3", "httpx", "aiohttp", "tenacity", "jsonschema", "msgspec"),
    *("sqlalchemy", "sqlite3", "psycopg", "psycopg2", "duckdb", "pandas"),
    *("holidays", "phonenumbers", "re2", "difflib"),
}
"""Clients, drivers and tables that only a running task or trigger needs."""

FOR_DAG_FILES = {
    "airflow_provider_winsms.utils.errors",
    "airflow_provider_winsms.utils.batches",
    "airflow_provider_winsms.options",
    "airflow_provider_winsms.runtime",
    "airflow_provider_winsms.gateways.winsms.connection",
    "airflow_provider_winsms.hooks.connections",
    "airflow_provider_winsms.links.sms",
    "airflow_provider_winsms.utils.task_store",
    "airflow_provider_winsms.operators.balance",
    "airflow_provider_winsms.operators.cancel",
    "airflow_provider_winsms.operators.refresh",
    "airflow_provider_winsms.operators.send_base",
    "airflow_provider_winsms.sending.shards",
    "airflow_provider_winsms.transfers.campaign_checks",
    "airflow_provider_winsms.utils.parameters",
    "airflow_provider_winsms.hashing",
    "airflow_provider_winsms.get_provider_info",
    "airflow_provider_winsms.sending.content",
    "airflow_provider_winsms.sending.plan_id",
    "airflow_provider_winsms.sending.policy",
    "airflow_provider_winsms.utils.templates",
    "airflow_provider_winsms.sensors.balance",
    "airflow_provider_winsms.sensors.shared_poll",
    "airflow_provider_winsms.triggers.approval",
    "airflow_provider_winsms.triggers.balance",
    "airflow_provider_winsms.triggers.incoming",
    "airflow_provider_winsms.triggers.shared_poll",
}
"""The modules of this package that the public ones load: parameters and their checks, no work."""


def _loaded(code: str) -> set[str]:
    """Return the modules that code loads in a fresh interpreter, beyond those that every DAG file does."""
    script = (
        "import sys; from airflow.sdk import DAG, BaseOperator; base = set(sys.modules);"
        f"{code}; print(*sorted(set(sys.modules) - base))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_public_modules_and_operators_load_no_client_and_no_database_driver() -> None:
    """A DAG file is parsed again and again; what it imports is paid each time."""
    loaded = _loaded(
        f"import {', '.join(public_modules())};"
        "from airflow_provider_winsms.operators.sms import SmsSendOperator;"
        "SmsSendOperator(task_id='send', text='Hi', to='27825550101')"
    )
    assert not HEAVY & {name.split(".")[0] for name in loaded}
    providers = {name for name in loaded if name.startswith("airflow.providers")}
    assert all(name.startswith("airflow.providers.common") for name in providers)
    assert not [name for name in providers if ".hooks" in name]


def test_public_modules_load_no_module_of_this_package_that_only_a_running_task_needs() -> None:
    expected = FOR_DAG_FILES | set(public_modules())
    packages = {name.rpartition(".")[0] for name in expected}
    loaded = _loaded(f"import {', '.join(public_modules())}")
    assert not {"airflow.triggers.shared_stream", "gsm0338"} & loaded
    assert {name for name in loaded if name.startswith("airflow_provider_winsms")} <= expected | packages


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def test_a_package_index_gets_absolute_links_to_files_that_exist(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        page = archive.read(metadata).decode()
    links = re.findall(r"\]\(([^)]+)\)", page)
    beginning = re.compile(rf"{re.escape(REPOSITORY)}/(?:blob|raw)/v{re.escape(__version__)}/")
    ours = [beginning.sub("", link) for link in links if beginning.match(link)]
    assert len(ours) > 20
    assert [path for path in ours if not (ROOT / path).exists()] == []
    assert [link for link in links if not link.startswith("https://")] == []
    assert f"Project-URL: Documentation, {URLS['Documentation']}\n" in page


def test_the_logo_is_a_file_of_the_repository() -> None:
    (integration,) = get_provider_info()["integrations"]
    assert (ROOT / integration["logo"].removeprefix(f"{REPOSITORY}/raw/main/")).is_file()
    assert URLS["Source"] == REPOSITORY


def test_every_classifier_is_one_that_package_indexes_know() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["classifiers"]) <= classifiers


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        assert "airflow_provider_winsms/py.typed" in archive.namelist()
    assert tops == {
        "airflow_provider_winsms",
        f"airflow_provider_winsms-{airflow_provider_winsms.__version__}.dist-info",
    }


@pytest.mark.airflow
def test_every_module_of_the_bare_wheel_can_be_imported(wheel: Path, tmp_path: Path) -> None:
    """The wheel in an environment of its own; only what it depends on comes from this one."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(dependencies))
    script = f"import importlib, sys; [importlib.import_module(name) for name in {_modules()!r}];"
    script += "print(sys.modules['airflow_provider_winsms'].__file__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [python, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert found.stdout.strip().splitlines()[-1].startswith(str(site))
