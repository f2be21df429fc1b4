"""MariaDB takes no statement above ``max_allowed_packet``: rows are cut by their bytes as well."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.exceptions import LedgerUnavailable, LoadFailed
from tests.ledger.batches import FIRST, batch, ledger, messages, record
from tests.support.databases import mysql_server, run_on_mysql
from tests.support.lists import row
from tests.transfers.loads import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Database
    from tests.support.lists import Lists

pytestmark = pytest.mark.alone

PACKET = 256 * 1024
TEXTS = {"plain": "x" * 900, "escaped": "'" * 900, "wide": "\U0001f600" * 450, "both": "\\\u20ac" * 450}


@pytest.fixture
def narrow(mariadb: Database) -> Iterator[Database]:
    with packets_of(mariadb, PACKET):
        yield mariadb


@contextmanager
def packets_of(database: Database, size: int) -> Iterator[None]:
    """Let new connections send packets of that size only."""
    ((usual,),) = database.execute("SELECT @@GLOBAL.max_allowed_packet")
    run_on_mysql(mysql_server(), f"SET GLOBAL max_allowed_packet = {size}")
    try:
        yield
    finally:
        run_on_mysql(mysql_server(), f"SET GLOBAL max_allowed_packet = {usual}")


@pytest.mark.parametrize("dataset", ["incoming", "opt_outs"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_many_long_texts_are_loaded(dataset: str, text: str, lists: Lists, narrow: Database) -> None:
    lists.extra["page_size"] = 1000
    lists.rows = lists.opt_outs = [row(n, f"2782{n:07}", text) for n in range(1, 2001)]
    assert run(narrow, dataset)["rows_loaded"] == 2000
    assert narrow.count(f"replies WHERE CHAR_LENGTH(text) = {len(text)}") == 2000


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_large_request_is_claimed_with_its_texts(text: str, narrow: Database) -> None:
    with ledger(narrow, text="keep") as tables:
        tables.open(batch(recipients=1000))
        tables.claim(FIRST, record(1000), messages(1000, text))
    assert narrow.count("sms_messages") == 1000


def test_one_row_that_just_fits_is_loaded(lists: Lists, narrow: Database) -> None:
    lists.rows = [row(1), row(2, text="x" * (PACKET * 3 // 4)), row(3)]
    assert run(narrow)["rows_loaded"] == 3


def test_one_row_that_is_too_long_is_refused_with_the_variable(lists: Lists, narrow: Database) -> None:
    lists.rows = [row(1), row(2, text="x" * PACKET)]
    with pytest.raises(LoadFailed, match="SET GLOBAL max_allowed_packet") as caught:
        run(narrow)
    assert "repeat is safe" not in str(caught.value)
    with ledger(narrow, text="keep") as tables:
        tables.open(batch(recipients=1))
        with pytest.raises(LedgerUnavailable, match="SET GLOBAL max_allowed_packet"):
            tables.claim(FIRST, record(1), messages(1, "x" * PACKET))
