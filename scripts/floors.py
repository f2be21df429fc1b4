"""Print constraints: each declared dependency at its floor, and all else as the oldest Airflow pins it.

With a file of pins as its argument, the constraints are these pins. In both cases ``constraints.txt`` adds
only the tools of developers that the pins lack.
"""

from __future__ import annotations

import re
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

from scripts.airflow_pins import pins, versions

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
    """Return the lines of a constraints file for the floors."""
    lowest = floors()
    others = [line for line in pins(versions()[0]) if _name(line) not in lowest]
    return with_tools([f"{name}=={version}" for name, version in lowest.items()] + others)


def with_tools(pinned: list[str]) -> list[str]:
    """Return pins with those of the developers' tools that they lack."""
    missing = _tools() - {_name(line) for line in pinned}
    ours = (_ROOT / "constraints.txt").read_text().splitlines()
    return pinned + [line for line in ours if _name(line) in missing]


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


def main() -> None:
    """Print constraints for the floors, or for the pins in the file that the command line names."""
    file = sys.argv[1:]
    lines = with_tools(Path(file[0]).read_text().splitlines()) if file else constraints()
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
