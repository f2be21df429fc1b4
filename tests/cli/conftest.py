from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.commands import Commands
from tests.cli.home import Home
from tests.prove.real_airflow import migrated_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def migrated(tmp_path: Path) -> Home:
    """An Airflow home with an empty database, whose commands are processes that begin as any does."""
    shutil.copy(migrated_file(), tmp_path)
    return Home(tmp_path)


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with Commands(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def home(commands: Commands) -> Home:
    """The Airflow home that all commands have, with an empty database."""
    for file in commands.home.glob("airflow.db*"):
        file.unlink()
    shutil.copy(migrated_file(), commands.home)
    return Home(commands.home, commands=commands)
