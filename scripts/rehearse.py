"""A release up to its upload: what is committed is built, checked, installed and listed."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from airflow_provider_winsms import __version__
from scripts.project import ROOT

DIST = ROOT / "dist"
SBOM = ROOT / "build" / "sbom.cdx.json"

NAME = "airflow-provider-winsms"

_IMPORT = f"""
from importlib.metadata import distribution, version
from airflow_provider_winsms.get_provider_info import get_provider_info
points = distribution("{NAME}").entry_points
(info,) = points.select(group="apache_airflow_provider")
(plugin,) = points.select(group="airflow.plugins")
assert info.load() is get_provider_info
assert plugin.load().name == "sms"
print("{NAME}", version("{NAME}"), "beside Airflow", version("apache-airflow"))
"""
"""What Airflow looks for in an installed package."""


def main() -> None:
    """Rehearse a release."""
    parser = argparse.ArgumentParser(prog="make rehearse", description=__doc__)
    parser.add_argument("--tag", help="the tag of the release, which must be the version after a v")
    tag = parser.parse_args().tag
    if tag not in {None, f"v{__version__}"}:
        sys.exit(f"The tag {tag} is not that of the version {__version__}: v{__version__}.")
    with tempfile.TemporaryDirectory() as folder:
        wheel = _build(Path(folder) / "checkout")
        _install(wheel, Path(folder) / "environment")
    _say(f"{wheel.name} holds {', '.join(_folders(wheel))}.")
    _say(f"Ready to upload: {DIST.name}/. What was installed with it is listed in {SBOM.relative_to(ROOT)}.")


def _build(checkout: Path) -> Path:
    """Build what is committed, check the metadata, and return the wheel."""
    _say("Building what is committed ...")
    shutil.rmtree(DIST, ignore_errors=True)
    _run("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(checkout))
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(checkout))
    _say("Checking the metadata ...")
    _run(sys.executable, "-m", "twine", "check", "--strict", *map(str, DIST.iterdir()))
    (wheel,) = DIST.glob("*.whl")
    return wheel


def _install(wheel: Path, environment: Path) -> None:
    """Install the wheel in an environment of its own, import it, and list what is installed there."""
    _say("Installing the wheel in an environment of its own ...")
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    _run(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", str(wheel))
    _run(python, "-c", _IMPORT)
    SBOM.parent.mkdir(exist_ok=True)
    listing = ("environment", "--output-reproducible", "--output-file", str(SBOM), python)
    _run(sys.executable, "-m", "cyclonedx_py", *listing)


def _folders(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        parts = [name.split("/") for name in archive.namelist()]
    return sorted({folder for _, folder, *rest in parts if rest and not folder.endswith("licenses")})


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - a command


if __name__ == "__main__":
    main()
