"""The pins of each Airflow that CI tries: ``constraints/airflow-VERSION.txt``.

For each release, Airflow publishes constraints: the newest versions of that day that fit together. These
files are made in the same way, for this provider and its extras. So tests need only a package index.

To add a version, put uv on the PATH, and give a time right after the upload of that version:
``python -m scripts.airflow_pins 3.3.2 2026-09-17T09:10:00Z``.
"""

from __future__ import annotations

import argparse
import subprocess
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_FOLDER = _ROOT / "constraints"
_HEADER = """\
# Airflow {version} and what this provider needs of it: the newest versions of {before} that fit together.
# Not Airflow's own constraints, which are made in the same way, and pin more. For Python 3.11 they are at
# https://raw.githubusercontent.com/apache/airflow/constraints-{version}/constraints-3.11.txt
# Written by `python -m scripts.airflow_pins {version} {before}`. Do not edit.
"""
_COMPILE = ("uv", "pip", "compile", "--quiet", "--no-config", "--no-header", "--no-annotate")
_FOR_EVERY_PYTHON = ("--universal", "--python-version", "3.11")


def versions() -> list[str]:
    """Return the versions of Airflow that have pins, the oldest first."""
    found = (path.stem.removeprefix("airflow-") for path in _FOLDER.glob("airflow-*.txt"))
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def pins(version: str) -> list[str]:
    """Return the pins of one Airflow, such as ``requests==2.34.2``, some of them with a marker."""
    lines = _file(version).read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def write(version: str, before: str) -> None:
    """Write the pins of one Airflow: the newest versions that were uploaded before a time.

    :raises CalledProcessError: uv found no versions that fit together; it prints why.
    """
    command = [*_COMPILE, *_FOR_EVERY_PYTHON, "--exclude-newer", before, "-"]
    wanted = "\n".join([f"apache-airflow=={version}", *_providers()])
    done = subprocess.run(command, input=wanted, stdout=subprocess.PIPE, text=True, check=True)
    _file(version).write_text(_HEADER.format(version=version, before=before) + done.stdout)


def _providers() -> list[str]:
    project: dict[str, Any] = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    declared = chain(project["dependencies"], *project["optional-dependencies"].values())
    return [each for each in declared if each.startswith("apache-airflow-providers-")]


def _file(version: str) -> Path:
    return _FOLDER / f"airflow-{version}.txt"


def main() -> None:
    """Write the pins of the Airflow that the command line names."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("version", help="of Airflow, such as 3.3.2")
    parser.add_argument("before", help="a time in UTC, such as 2026-09-17T09:10:00Z")
    asked = parser.parse_args()
    write(asked.version, asked.before)


if __name__ == "__main__":
    main()
