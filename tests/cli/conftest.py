from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.home import Home

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """An Airflow home that is only copied."""
    home = Home(tmp_path_factory.mktemp("migrated"))
    done = home.airflow("db", "migrate")
    assert done.returncode == 0, done.stdout + done.stderr
    return home


@pytest.fixture
def home(migrated: Home, tmp_path: Path) -> Home:
    """An Airflow home with a migrated, empty database."""
    path = tmp_path / "home"
    path.mkdir()
    shutil.copy(migrated.path / "airflow.db", path / "airflow.db")
    return Home(path)
