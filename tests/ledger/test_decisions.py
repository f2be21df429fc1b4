"""A ledger keeps the decisions of rules with their batch, whatever their length."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from tests.ledger.batches import HASHES, KEY, batch

if TYPE_CHECKING:
    from tests.support.databases import Database

LONG = "0123456789" * 20_000


@pytest.mark.parametrize("decisions", ["", "{}", LONG], ids=["none", "short", "long"])
def test_tables_keep_decisions(decisions: str, database: Database) -> None:
    with SqlLedger(database.hook(), KEY, HASHES, SqlOptions()) as ledger:
        ledger.open(replace(batch(), decisions=decisions))
    with SqlLedger(database.hook(), KEY, HASHES, SqlOptions()) as ledger:
        found = ledger.latest()
    assert found is not None
    assert found.decisions == decisions


def test_the_tables_of_an_earlier_version_get_the_missing_table(sqlite: Database) -> None:
    with SqlLedger(sqlite.hook(), KEY, HASHES, SqlOptions()) as ledger:
        ledger.open(batch())
    sqlite.execute("DROP TABLE {}sms_decisions")
    with SqlLedger(sqlite.hook(), KEY, HASHES, SqlOptions()) as ledger:
        assert not ledger.is_new
        assert ledger.latest() == batch()
    assert "sms_decisions" in sqlite.tables()
