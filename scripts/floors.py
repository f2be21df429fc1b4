"""Print constraints that pin each declared dependency to its floor, and developers' tools as usual.

The installer chooses everything else: an older Airflow needs other versions than ``constraints.txt`` pins.
"""

from __future__ import annotations

import re
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[\w.-]+")
_FLOOR = re.compile(r"(?P<name>[\w.-]+)>=(?P<version>[\w.]+)")


def floors() -> dict[str, str]:
    """Return the oldest declared version of each dependency of the project and its extras.

    :raises ValueError: for a dependency that is not declared as ``name>=version``; the error names it.
    """
    project = _declared()["project"]
    extras = project["optional-dependencies"].values()
    return dict(map(_floor, chain(project["dependencies"], *extras)))


def constraints() -> list[str]:
    """Return the lines of a constraints file."""
    lowest, tools = floors(), _tools()
    pinned = (_ROOT / "constraints.txt").read_text().splitlines()
    of_tools = [line for line in pinned if _name(line) in tools and _name(line) not in lowest]
    return [f"{name}=={version}" for name, version in lowest.items()] + of_tools


def _tools() -> set[str]:
    groups = _declared()["dependency-groups"].values()
    return {_name(each) for each in chain(*groups) if isinstance(each, str)}


def _declared() -> dict[str, Any]:
    return tomllib.loads((_ROOT / "pyproject.toml").read_text())


def _floor(requirement: str) -> tuple[str, str]:
    found = _FLOOR.fullmatch(requirement)
    if found is None:
        msg = f"{requirement!r} in pyproject.toml has no floor. Declare it as name>=version."
        raise ValueError(msg)
    return found["name"], found["version"]


def _name(requirement: str) -> str:
    found = _NAME.match(requirement)
    return found[0].lower().replace("_", "-") if found else ""


if __name__ == "__main__":
    sys.stdout.write("\n".join(constraints()) + "\n")
