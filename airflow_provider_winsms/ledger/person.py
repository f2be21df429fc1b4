"""All that the ledger's tables hold on one person, and its removal.

A forgotten number becomes a pseudonym, so that a later try still recognises the recipient: an accepted text
does not go out twice. Counts, costs, states and message ids stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.hashing import is_hash
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.database import request_of, transaction
from airflow_provider_winsms.ledger.schema import BATCHES, MESSAGES, RESERVATIONS
from airflow_provider_winsms.ledger.statements import (
    FIND_OTHER_KEYS,
    FORGET_MESSAGE,
    FORGET_RESERVATION,
    READ_MESSAGES_TO,
    READ_RESERVATIONS_OF,
)
from airflow_provider_winsms.sql.types import read_plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.phone import NumberPlan

_SENDER_COLUMNS = ("dag_id", "run_id", "task_id", "map_index", "sms_conn_id", "key_id")


@dataclass(frozen=True)
class Person:
    """A person, by the number, and the forms in which tables may hold it.

    :param number: international digits.
    :param keys: the keys under which tables hash numbers. The first one makes the pseudonym of a number
        that is not hashed.
    """

    number: str = field(repr=False)
    keys: Sequence[KeyedHash] = field(repr=False)
    plan: NumberPlan

    @property
    def pseudonyms(self) -> Mapping[str, str]:
        """The pseudonym for each form: a spelling of the number, or its hash under one of the keys."""
        plain = self.keys[0].pseudonym(self.number)
        return {
            **dict.fromkeys(self._spellings, plain),
            **{
                hashes.of(each): hashes.pseudonym(self.number)
                for hashes in self.keys
                for each in self._spellings
            },
        }

    @property
    def key_ids(self) -> list[str]:
        """The ids of the keys."""
        return [hashes.key_id for hashes in self.keys]

    def key_of(self, row: Mapping[str, Any]) -> KeyedHash | None:
        """Return the key of a row; ``None`` if it is not among the person's."""
        return next((hashes for hashes in self.keys if hashes.key_id == row["key_id"]), None)

    @property
    def _spellings(self) -> list[str]:
        """The number as loads store it, and as older tables or other programs may hold it."""
        number, code = self.number, self.plan.country_code
        national = [self.plan.trunk_prefix + number.removeprefix(code)] if number.startswith(code) else []
        return [number, f"+{number}", f"00{number}", *national]


class ForgottenRows(NamedTuple):
    """How many rows a person was taken out of.

    :param sent: of texts.
    :param reserved: of reservations.
    """

    sent: int
    reserved: int


class PersonalMessages:
    """The texts to one person in the ledger's tables, of any batch, and those that rules reserved.

    :raises LedgerUnavailable: from every method, if the database refuses something.
    """

    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database

    @transaction
    def rows(self, person: Person) -> list[dict[str, Any]]:
        """Return the rows of the texts, oldest first: all columns, and the sender's from the batch."""
        kinds = {column.name: column.kind for column in (*MESSAGES.columns, *BATCHES.columns)}
        return [
            {name: read_plain(kinds[name], value) for name, value in row.items()}
            for row in self._rows(person)
        ]

    @transaction
    def reservations(self, person: Person) -> list[dict[str, Any]]:
        """Return the rows of the texts that rules reserved, oldest first."""
        kinds = {column.name: column.kind for column in RESERVATIONS.columns}
        return [
            {name: read_plain(kinds[name], value) for name, value in row.items()}
            for row in self._reservations(person)
        ]

    @transaction
    def forget(self, person: Person) -> ForgottenRows:
        """Replace the number, the text and the reference of each row, and return the number of rows.

        A batch whose key is not among the person's loses the text whole. A later try of it with another list
        cannot compare the pseudonym, and sends nothing.
        """
        return ForgottenRows(
            sum(self._forget(row, person) for row in self._rows(person)),
            sum(self._forget_reservation(row, person) for row in self._reservations(person)),
        )

    @transaction
    def other_keys(self, person: Person) -> list[str]:
        """Return the ids of further keys, under which numbers are hashed that cannot be searched."""
        return [key_id for (key_id,) in self._database.read(FIND_OTHER_KEYS, key_ids=person.key_ids)]

    def _rows(self, person: Person) -> list[dict[str, Any]]:
        names = (*MESSAGES.column_names, *_SENDER_COLUMNS)
        found = self._database.read(READ_MESSAGES_TO, numbers=list(person.pseudonyms))
        return [dict(zip(names, row, strict=True)) for row in found]

    def _reservations(self, person: Person) -> list[dict[str, Any]]:
        found = self._database.read(READ_RESERVATIONS_OF, numbers=list(person.pseudonyms))
        return [dict(zip(RESERVATIONS.column_names, row, strict=True)) for row in found]

    def _forget_reservation(self, row: Mapping[str, Any], person: Person) -> int:
        own, stored = person.key_of(row), row["number"]
        return self._database.execute(
            FORGET_RESERVATION,
            pseudonym=person.pseudonyms[stored] if own is None else own.pseudonym(person.number),
            number=stored,
            key_digest=row["key_digest"],
            place=row["place"],
        )

    def _forget(self, row: Mapping[str, Any], person: Person) -> int:
        own = person.key_of(row)
        if own is None:
            number, text = person.pseudonyms[row["number"]], ""
        else:
            number = own.pseudonym(person.number)
            text = row["text"] if is_hash(row["text"]) or not row["text"] else own.of(row["text"])
        key = request_of(row["batch_id"], RequestKey(row["round"], row["request"]))
        return self._database.execute(
            FORGET_MESSAGE, number=number, text=text, position=row["position"], **key
        )
