"""The forms in which the ledger's tables hold numbers and texts, and comparisons with them."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_winsms.hashing import HASH_DIGITS, PSEUDONYMS, SHORT_HASH_DIGITS, Pseudonym, is_hash
from airflow_provider_winsms.ledger.base import RecipientDigest, short_hash_of_address
from airflow_provider_winsms.ledger.database import chunks, read_moment, transaction
from airflow_provider_winsms.ledger.statements import FIND_CONFLICTS, FIND_OTHER_FORMS, READ_RECIPIENTS
from airflow_provider_winsms.messages import instants_of
from airflow_provider_winsms.phone import is_plain
from airflow_provider_winsms.sql.values import storable

if TYPE_CHECKING:
    from collections.abc import Collection

    from pendulum import DateTime

    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.ledger.base import RequestKey
    from airflow_provider_winsms.ledger.batches import OpenBatch
    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.ledger.message_rows import MessageRows, SentMessage
    from airflow_provider_winsms.ledger.sql import SqlOptions
    from airflow_provider_winsms.messages import MessageId, ScheduledMessage


class StoredForms:
    """The forms in which numbers and texts are stored. Each try of a task may choose another one.

    :param hashes: makes the stored hashes.
    """

    def __init__(self, hashes: KeyedHash, options: SqlOptions) -> None:
        self._hashes = hashes
        self._options = options

    def number(self, number: str) -> str:
        """Return a number as it is stored."""
        return self._hashes.of(number) if self._options.privacy == "keyed_hash" else number

    def text(self, text: str) -> str:
        """Return a text as it is stored."""
        return storable(text) if self._options.text == "keep" else self._hashes.of(text)

    def short_hash(self, part: str) -> str:
        """Return a short hash of a number or a text."""
        return self._hashes.of(part)[:SHORT_HASH_DIGITS]

    def of(self, number: str) -> tuple[str, str]:
        """Return a number as it is stored, and as it is stored once it is forgotten."""
        return self.number(number), self._hashes.pseudonym(number)

    def all_of(self, number: str) -> tuple[str, str, str]:
        """Return a number in every form that tables may hold it in: in plain, as its hash, or forgotten."""
        number_hash = self._hashes.of(number)
        return number, number_hash, self._hashes.pseudonym_of_hash(number_hash)

    @property
    def key_id(self) -> str:
        """The id of the key of the hashes."""
        return self._hashes.key_id

    def short_hash_of_stored(self, stored: str) -> str:
        """Return the same hash of a number or a text that is stored in plain, as its hash, or forgotten."""
        if pseudonym := Pseudonym.read(stored):
            return pseudonym.short_hash
        return stored[:SHORT_HASH_DIGITS] if is_hash(stored) else self.short_hash(stored)

    def is_under_another_key(self, number: str) -> bool:
        """Tell whether a stored number is forgotten, and cannot be compared with the numbers of a try."""
        pseudonym = Pseudonym.read(number)
        return pseudonym is not None and pseudonym.key_id != self._hashes.key_id

    def may_be_same(self, number: str, text: SentMessage) -> bool:
        """Tell whether a stored text may be to a number, as far as both can be compared."""
        if Pseudonym.read(text.number):
            is_comparable = is_plain(number) and not self.is_under_another_key(text.number)
            return not is_comparable or text.number == self._hashes.pseudonym(number)
        if len(text.number) != HASH_DIGITS:
            return not is_plain(number) or text.number == number
        is_comparable = is_plain(number) and text.key_id == self._hashes.key_id
        return not is_comparable or text.number == self._hashes.of(number)

    @property
    def others(self) -> dict[str, int | str]:
        """Return the parameters of ``FIND_OTHER_FORMS``, which finds numbers that cannot be compared."""
        is_hashed = self._options.privacy == "keyed_hash"
        least, most = (0, HASH_DIGITS - 1) if is_hashed else (HASH_DIGITS, HASH_DIGITS)
        key_id = self._hashes.key_id if is_hashed else ""
        forgotten = {"forgotten": PSEUDONYMS, "comparable": self._hashes.pseudonyms}
        return {"least": least, "most": most, "key_id": key_id, **forgotten}


class StoredTexts:
    """Comparisons of texts with those that the tables hold."""

    def __init__(
        self, database: LedgerDatabase, messages: MessageRows, batch: OpenBatch, forms: StoredForms
    ) -> None:
        self._database = database
        self._batch = batch
        self._messages = messages
        self._forms = forms

    @transaction
    def recipient_digests(self, key: RequestKey) -> list[RecipientDigest] | None:
        """Return the recipients of a claimed request; ``None`` if one was forgotten under another key."""
        rows = self._database.read(READ_RECIPIENTS, **self._batch.request(key))
        if any(self._forms.is_under_another_key(row[0]) for row in rows):
            return None
        texts = {text: self._forms.short_hash_of_stored(text) for text in {row[2] for row in rows}}
        return [
            RecipientDigest(
                short_hash_of_address(kind, self._forms.short_hash_of_stored(number), self._forms.short_hash),
                texts[text],
                own and read_moment(own),
            )
            for number, kind, text, own in rows
        ]

    @transaction
    def known_ids(self, rows: Collection[ScheduledMessage]) -> set[MessageId]:
        """Return the ids of the rows that belong to recipients of any batch in the tables."""
        sent = defaultdict(list)
        ids = [row.message_id for row in rows]
        for text in self._messages.sent_as(ids, self._batch.sms_conn_id):
            sent[text.message_id].append(text)
        return {
            row.message_id
            for row in rows
            if any(self._is_same(text, row) for text in sent.get(row.message_id, ()))
        }

    @transaction
    def conflicts(self, key: RequestKey, send_at: DateTime, numbers: Collection[str]) -> set[str]:
        """Return the numbers that another request in doubt has a text for in that minute."""
        minute = send_at.replace(second=0, microsecond=0)
        later = minute + timedelta(minutes=1)
        between = {"minute": self._database.instant(minute), "next_minute": self._database.instant(later)}
        others = {"batch_id": self._batch.id, **self._forms.others}
        if self._database.read(FIND_OTHER_FORMS, **between, **others):
            return set(numbers)
        plain = {form: number for number in numbers for form in self._forms.of(number)}
        return {
            plain.get(row[0], row[0])
            for chunk in chunks(list(plain))
            for row in self._database.read(
                FIND_CONFLICTS, numbers=chunk, **between, **self._batch.request(key)
            )
        }

    def _is_same(self, text: SentMessage, row: ScheduledMessage) -> bool:
        """Tell whether a row is of a text, as far as number and minute can be compared."""
        times = instants_of(row.send_at)
        if text.send_at is None or (times and text.send_at not in times):
            return False
        return self._forms.may_be_same(row.number, text)
