"""The ledger in tables of a database. It knows all batches of all tasks, and outlives Airflow's own state.

Each transaction may run twice: if the answer to its commit is lost, it is repeated over a new connection. So
each one can be repeated without harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_winsms.ledger.alerts import Alerts
from airflow_provider_winsms.ledger.batches import OpenBatch
from airflow_provider_winsms.ledger.database import LedgerDatabase
from airflow_provider_winsms.ledger.message_rows import MessageRows
from airflow_provider_winsms.ledger.requests import Claims, Outcomes
from airflow_provider_winsms.ledger.reservations import Reservations
from airflow_provider_winsms.ledger.spending import Spending
from airflow_provider_winsms.ledger.stored_forms import StoredForms, StoredTexts
from airflow_provider_winsms.options import StoredPrivacy, StoredText, check_choice, check_prefix

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_winsms.hashing import KeyedHash


@dataclass(frozen=True, slots=True)
class SqlOptions:
    """The names of the tables, and the personal data in them.

    :param prefix: the beginning of the tables' names.
    :param privacy: ``"keyed_hash"`` stores a keyed hash of each number.
    :param text: ``"keep"`` stores each text; otherwise a keyed hash of it is stored.
    :raises InvalidMessage: if a value is not one of the choices.
    """

    prefix: str = "sms_"
    privacy: StoredPrivacy = "none"
    text: StoredText = "digest"

    def __post_init__(self) -> None:
        check_prefix("ledger_prefix", self.prefix)
        check_choice("ledger_privacy", self.privacy, StoredPrivacy)
        check_choice("ledger_text", self.text, StoredText)


class SqlLedger(LedgerDatabase):
    """The ledger of one batch key: a ``Ledger`` in tables, whose methods are those of its parts.

    :param hook: the database's: PostgreSQL, MySQL, MariaDB or SQLite.
    :param key: of the batches.
    :param hashes: makes the stored hashes.
    :raises ConfigurationError: if the database cannot keep a ledger, or a table lacks columns.
    """

    def __init__(self, hook: DbApiHook, key: str, hashes: KeyedHash, options: SqlOptions) -> None:
        super().__init__(hook, options.prefix)
        forms = StoredForms(hashes, options)
        rows = MessageRows(self)
        batch = OpenBatch(self, rows, key)
        claims = Claims(self, rows, batch, forms)
        outcomes = Outcomes(self, rows, batch, claims)
        texts = StoredTexts(self, rows, batch, forms)
        self.latest, self.open, self.take_over = batch.latest, batch.open, batch.take_over
        self.revise, self.reject = batch.revise, batch.reject
        self.rounds, self.open_round = batch.rounds, batch.open_round
        self.find, self.claim, self.renew = claims.find, claims.claim, claims.renew
        self.release_claim = claims.release_claim
        self.record, self.mark_not_received = outcomes.record, outcomes.mark_not_received
        self.mark_cancelling = outcomes.mark_cancelling
        self.short_hash, self.recipient_digests = forms.short_hash, texts.recipient_digests
        self.known_ids, self.conflicts = texts.known_ids, texts.conflicts
        self.alerts = Alerts(self)
        """What notifiers ask before they send."""
        self.spending = Spending(self, key)
        """What rules may ask about costs."""
        self.history = Reservations(self, forms, key)
        """What rules may ask about texts."""
