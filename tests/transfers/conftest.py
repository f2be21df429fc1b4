from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.support.databases import KINDS
from tests.support.lists import PAGE_SIZE, Lists, connection_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database

ALWAYS = ("sqlite", "postgres")
"""The databases that quick tests load into. The lane ``database`` has all kinds; some claims always do."""

LOADED_INTO = tuple(
    kind if kind in ALWAYS else pytest.param(kind, marks=pytest.mark.database) for kind in KINDS
)


@pytest.fixture(params=LOADED_INTO)
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database, of each kind, behind the connection ``warehouse``."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=KINDS)
def any_database(request: pytest.FixtureRequest) -> Database:
    """The same, for the claims that are always tried on all of them."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["sqlite", *(pytest.param(kind, marks=pytest.mark.database) for kind in KINDS[1:])])
def one_database(request: pytest.FixtureRequest) -> Database:
    """The same, for claims of which every case need not be tried on more than one of them each time."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def gateway(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox behind the connection ``winsms_default``, read in pages of 10."""
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", connection_to(sandbox, page_size=PAGE_SIZE))
    return sandbox


@pytest.fixture
def lists(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Lists:
    """The sandbox behind the connection ``winsms_default``, which lists what it is told to."""
    found = Lists(sandbox)
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", found.connection)
    return found


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return what was logged since, through whichever library, down to the last detail."""
    caplog.set_level(logging.DEBUG)

    def everything() -> str:
        written = capfd.readouterr()
        return caplog.text + written.out + written.err

    return everything
