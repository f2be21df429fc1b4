"""The hosted workflow has what the tests need: without a MariaDB they fail there, as ``CI`` is set."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from scripts.warehouse import POSTGRES_VARIABLE
from tests.support.databases import MYSQL_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
JOB: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["all"]
RUNS: list[dict[str, str]] = JOB["strategy"]["matrix"]["include"]

DATABASES = [
    (POSTGRES_VARIABLE, "postgres", "postgres", "POSTGRES_PASSWORD"),
    (MYSQL_VARIABLE, "mariadb", "root", "MARIADB_ROOT_PASSWORD"),
]


@pytest.mark.parametrize(("variable", "service", "user", "password"), DATABASES)
def test_a_variable_that_tests_read_leads_to_a_service(
    variable: str, service: str, user: str, password: str
) -> None:
    url = urlsplit(JOB["env"][variable])
    container = JOB["services"][service]
    assert (url.hostname, url.username, url.password) == ("127.0.0.1", user, container["env"][password])
    assert [f"{url.port}:{url.port}"] == container["ports"]


def test_every_service_is_one_of_the_tests_and_is_waited_for() -> None:
    assert set(JOB["services"]) == {service for _, service, *_ in DATABASES}
    assert set(JOB["env"]) == {variable for variable, *_ in DATABASES}
    for container in JOB["services"].values():
        assert re.search(r"--health-cmd .+ --health-retries \d+", container["options"])
        assert re.fullmatch(r"\w+:[\d.]+", container["image"])


def test_every_python_that_is_declared_runs_everything() -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = re.findall(r"Python :: (3\.\d+)", "\n".join(metadata["classifiers"]))
    assert [each["python"] for each in RUNS if each["run"] == ".ci/run"] == declared


def test_lowest_and_newest_dependencies_are_runs_of_their_own() -> None:
    assert [each["run"] for each in RUNS if each["run"] != ".ci/run"] == ["make lowest", "make newest"]


def test_every_command_exists() -> None:
    targets = set(re.findall(r"^(\w+):", MAKEFILE, re.MULTILINE))
    script = (ROOT / ".ci/run").read_text()
    asked = [*re.findall(r"^make (\w+)$", script, re.MULTILINE)]
    asked += [each["run"].removeprefix("make ") for each in RUNS if each["run"].startswith("make ")]
    assert asked
    assert set(asked) <= targets
    assert JOB["steps"][-1]["run"] == "${{ matrix.run }}"


def test_the_tests_for_other_versions_of_dependencies_exist() -> None:
    (listed,) = re.findall(r"^TOUCHED := \$\(addprefix tests/, (.+?)\)", MAKEFILE, re.MULTILINE | re.DOTALL)
    for name in listed.replace("\\", "").split():
        assert (ROOT / "tests" / name).exists()
