from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.commands import Commands
from tests.cli.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """An Airflow home with a migrated, empty database."""
    home = Home(tmp_path_factory.mktemp("migrated"))
    done = home.airflow("db", "migrate")
    assert done.returncode == 0, done.stdout + done.stderr
    return home


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with Commands(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def home(migrated: Home, commands: Commands) -> Home:
    """The Airflow home that all commands have, with an empty database."""
    for file in commands.home.glob("airflow.db*"):
        file.unlink()
    shutil.copy(migrated.path / "airflow.db", commands.home)
    return Home(commands.home, commands=commands)
