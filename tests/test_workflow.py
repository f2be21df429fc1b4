"""The hosted workflow runs all tests, and has what they need: with ``CI`` set they fail without a MariaDB."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from scripts.airflow_pins import versions
from scripts.warehouse import POSTGRES_VARIABLE
from tests.conftest import LANES
from tests.support.databases import MYSQL_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
SCRIPT = (ROOT / ".ci/run").read_text()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
# YAML reads the word `on` as true.
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
JOBS: dict[str, Any] = WORKFLOW["jobs"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
RELEASE: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
WITH_TESTS = ("unit", "versions", "airflow", "prove")
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))

DATABASES = [
    (POSTGRES_VARIABLE, "postgres", "postgres", "POSTGRES_PASSWORD"),
    (MYSQL_VARIABLE, "mariadb", "root", "MARIADB_ROOT_PASSWORD"),
]


def runs(job: str) -> list[str]:
    """Return the commands of a job, once each, with what its matrix puts into them left open."""
    return [step["run"] for step in JOBS[job]["steps"] if "run" in step]


USES = [
    (path.name, *line)
    for path in WORKFLOWS
    for line in re.findall(r"uses: ([\w./-]+)@(\S+)(.*)$", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("file", "action", "revision", "comment"), USES)
def test_every_action_is_pinned_by_a_hash_beside_its_version(
    file: str, action: str, revision: str, comment: str
) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", revision), (file, action)
    assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), (file, action)


def test_one_version_of_an_action_is_used_everywhere() -> None:
    revisions = {(action, revision, comment) for _, action, revision, comment in USES}
    assert len(revisions) == len({action for action, *_ in revisions})


def test_a_release_gives_each_job_only_the_rights_that_it_needs() -> None:
    assert RELEASE["permissions"] == {}
    rights = {name: set(job["permissions"]) for name, job in RELEASE["jobs"].items()}
    assert rights == {
        "build": {"contents"},
        "attest": {"attestations", "id-token"},
        "publish": {"id-token"},
        "site": {"id-token", "pages"},
    }
    assert RELEASE["jobs"]["publish"]["environment"] == "release"
    assert [job.get("needs") for job in RELEASE["jobs"].values()] == [None, "build", "attest", "publish"]
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text()


def test_a_release_is_what_is_rehearsed() -> None:
    commands = [step["run"] for step in RELEASE["jobs"]["build"]["steps"] if "run" in step]
    assert commands == ['make rehearse ARGS="--tag $GITHUB_REF_NAME"', "make docs"]


def test_a_tag_of_another_version_is_refused() -> None:
    command = [sys.executable, "-m", "scripts.rehearse", "--tag", "v9.9.9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "The tag v9.9.9 is not that of the version" in done.stderr


@pytest.mark.parametrize("job", WITH_TESTS)
@pytest.mark.parametrize(("variable", "service", "user", "password"), DATABASES)
def test_a_variable_that_tests_read_leads_to_a_service(
    job: str, variable: str, service: str, user: str, password: str
) -> None:
    url = urlsplit(JOBS[job]["env"][variable])
    container = JOBS[job]["services"][service]
    assert (url.hostname, url.username, url.password) == ("127.0.0.1", user, container["env"][password])
    assert [f"{url.port}:{url.port}"] == container["ports"]


@pytest.mark.parametrize("job", WITH_TESTS)
def test_every_service_is_one_of_the_tests_and_is_waited_for(job: str) -> None:
    assert set(JOBS[job]["services"]) == {service for _, service, *_ in DATABASES}
    assert set(JOBS[job]["env"]) == {variable for variable, *_ in DATABASES}
    for container in JOBS[job]["services"].values():
        assert re.search(r"--health-cmd .+ --health-retries \d+", container["options"])
        assert re.fullmatch(r"\w+:[\d.]+", container["image"])


def test_every_python_that_is_declared_runs_the_quick_tests() -> None:
    assert JOBS["unit"]["strategy"]["matrix"]["python"] == PYTHONS
    assert runs("unit") == ["make test"]


def test_lowest_and_newest_dependencies_are_runs_of_their_own() -> None:
    listed = JOBS["versions"]["strategy"]["matrix"]["include"]
    assert [each["run"] for each in listed] == ["make lowest", "make newest"]
    assert {each["python"] for each in listed} <= set(PYTHONS)
    assert runs("versions") == ["${{ matrix.run }}"]


def test_every_airflow_that_has_pins_is_run_on_every_python() -> None:
    matrix = JOBS["airflow"]["strategy"]["matrix"]
    assert matrix == {"airflow": versions(), "python": PYTHONS}
    assert all(command.startswith("make pinned AIRFLOW=${{ matrix.airflow }}") for command in runs("airflow"))


def test_every_event_runs_one_of_the_two_kinds_of_constraints() -> None:
    conditions = [step["if"] for step in JOBS["airflow"]["steps"] if "run" in step]
    assert conditions == [f"github.event_name {operator} 'schedule'" for operator in ("!=", "==")]


def test_the_run_here_tries_the_newest_airflow_that_has_pins() -> None:
    assert re.findall(r"^AIRFLOW \?= (.+)$", MAKEFILE, re.MULTILINE) == versions()[-1:]


def test_each_lane_of_proofs_is_a_run_of_its_own() -> None:
    assert set(JOBS["prove"]["strategy"]["matrix"]["lane"]) == LANES
    (command,) = runs("prove")
    assert command.startswith("make prove LANES=${{ matrix.lane }} ALL=")


def test_each_night_proofs_run_whole_and_on_every_python() -> None:
    assert WORKFLOW[True]["schedule"]
    assert runs("prove")[0].endswith("ALL=${{ github.event_name == 'schedule' && '1' || '' }}")
    nightly, pushed = re.findall(r"'(\[.*?\])'", JOBS["prove"]["strategy"]["matrix"]["python"])
    assert json.loads(nightly) == PYTHONS
    assert json.loads(pushed) == PYTHONS[:1]


def test_the_lanes_are_the_markers_of_what_is_not_quick() -> None:
    declared = {each.split(":")[0] for each in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    assert declared == {*LANES, "alone"}
    (proofs,) = re.findall(r"^LANES \?= (.+)$", MAKEFILE, re.MULTILINE)
    assert set(proofs.split(" or ")) == LANES
    (quick,) = re.findall(r'^QUICK := .* -m "(.+)"$', MAKEFILE, re.MULTILINE)
    assert {each.removeprefix("not ") for each in quick.split(" and ")} == LANES


def test_one_command_runs_everything_here() -> None:
    assert re.findall(r"^make (\w+)$", SCRIPT, re.MULTILINE) == ["check", "docs", "test", "lowest", "prove"]


def test_every_command_exists() -> None:
    targets = set(re.findall(r"^(\w+):", MAKEFILE, re.MULTILINE))
    asked = set(re.findall(r"make (\w+)", SCRIPT + (ROOT / ".github/workflows/ci.yml").read_text()))
    assert {"check", "docs", "test", "lowest", "pinned", "newest", "prove"} == asked <= targets


def test_the_tests_for_other_versions_of_dependencies_exist() -> None:
    (listed,) = re.findall(r"^TOUCHED := \$\(addprefix tests/, (.+?)\)", MAKEFILE, re.MULTILINE | re.DOTALL)
    for name in listed.replace("\\", "").split():
        assert (ROOT / "tests" / name).exists()


def test_the_tests_of_a_file_that_starts_an_airflow_stay_in_one_process() -> None:
    """Each process would start an Airflow. pytest-xdist groups the tests by the end of their ids."""
    file = "tests/prove/test_demo.py"
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    asked = ["--numprocesses", "1", "--dist", "loadgroup", "-m", "airflow", "--setup-plan", "-v"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *asked, file]
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    listed = [line.strip() for line in done.stdout.splitlines() if line.startswith(f"{file}::")]
    assert listed, done.stdout + done.stderr
    assert all(line.endswith(f"@{file}") for line in listed)


@pytest.mark.parametrize("file", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda file: file.name)
def test_each_form_and_setting_of_the_repository_can_be_read(file: Path) -> None:
    assert yaml.safe_load(file.read_text())


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_each_page_at_the_top_links_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []
