"""The mapping of rows to what a table may store: no hidden personal data, no values that databases refuse."""

from __future__ import annotations

import json
import re
from array import array
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from math import isfinite
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.columns import DictionaryColumn, Times
from airflow_provider_winsms.hashing import Pseudonym
from airflow_provider_winsms.messages import PHONE, mask_number
from airflow_provider_winsms.options import LoadedPrivacy, LoadedText, check_choice
from airflow_provider_winsms.sql.bulk import encode
from airflow_provider_winsms.sql.dialects import BulkMethod
from airflow_provider_winsms.sql.types import ColumnType
from airflow_provider_winsms.sql.values import storable, utc
from airflow_provider_winsms.warehouse.datasets import (
    ADDRESS_KIND,
    CURRENCY,
    KEY_ID,
    LOAD_RUN,
    MASKED,
    NUMBER,
    RAW,
    REMOVED,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.messages import Columns, MessageId
    from airflow_provider_winsms.sql.bulk import EncodedRows
    from airflow_provider_winsms.sql.connection import Database
    from airflow_provider_winsms.warehouse.datasets import Column, Dataset, LoadRun

    _Converter = Callable[[Sequence[Any]], Sequence[Any]]

# Up to four signs may separate two digits, some of them invisible: phones turn hyphens into other dashes.
_NUMBER_LIKE = re.compile(r"\+?\d(?:[\W_]{0,4}\d){6,}")
_DOUBTFUL_ESCAPES = ("\\u0000", "\\ud")
"""The beginnings of NUL and of half an emoji in JSON."""

_LONGEST_WORD = 64
_LONGEST_NUMBER = 100
_REDACTED = "[number]"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are ready to be staged, each once.

    :param keys: their keys: message ids, whole numbers in an ``array``; or tuples; empty for opt-outs.
    """

    encoded: EncodedRows
    keys: Sequence[Any] = field(repr=False)


class PrivacyPolicy:
    """The treatment of personal data in a load.

    :param privacy: ``"keyed_hash"`` replaces numbers by keyed hashes, ``"masked"`` by masks.
    :param hashes: makes the hashes, for ``"keyed_hash"``, and the pseudonyms of forgotten numbers.
    :ivar forgotten: the pseudonyms that take the place of their numbers, if the numbers are the table's key.
    :ivar key_id: the id of the key that hashes the numbers; ``MASKED`` if they are masked; ``None`` if they
        are stored as they are.
    :raises InvalidMessage: if a value is not a choice.
    """

    def __init__(self, privacy: LoadedPrivacy, text: LoadedText, hashes: KeyedHash | None) -> None:
        check_choice("privacy", privacy, LoadedPrivacy)
        check_choice("text", text, LoadedText)
        self._text = text
        self._any_hashes = hashes
        self.forgotten: frozenset[str] = frozenset()
        self._hide: Callable[[str], str] | None = None
        self.key_id: str | None = None
        if privacy == "masked":
            self._hide, self.key_id = mask_number, MASKED
        elif privacy == "keyed_hash" and hashes:
            self._hide, self.key_id = hashes.of, hashes.key_id

    @property
    def pseudonyms(self) -> str:
        """The pattern of the pseudonyms that can be recognised, for LIKE; empty if none can."""
        return self._any_hashes.pseudonyms if self._any_hashes else ""

    def numbers(self, values: Sequence[str], key_ids: Sequence[str | None] | None) -> Sequence[str]:
        """Return numbers as they may be stored. A number that is hashed already stays as it is.

        :param key_ids: the id of the key that hashed each number already; ``None`` for one in plain.
        """
        stored = _storable(values)
        if max(map(len, stored), default=0) > _LONGEST_NUMBER:
            stored = [value[:_LONGEST_NUMBER] for value in stored]
        if self.forgotten:
            stored = list(map(self._unless_forgotten, stored))
        hide = self._hide
        if hide is None:
            return stored
        if key_ids is None and not self.forgotten:
            return list(map(hide, stored))
        pairs = zip(stored, key_ids or [None] * len(stored), strict=True)
        return [value if key_id or Pseudonym.read(value) else hide(value) for value, key_id in pairs]

    def _unless_forgotten(self, number: str) -> str:
        if self._any_hashes is None:
            return number
        pseudonym = self._any_hashes.pseudonym(number)
        return pseudonym if pseudonym in self.forgotten else number

    def texts(self, values: Sequence[str]) -> Sequence[str | None]:
        """Return texts as they may be stored."""
        if self._text == "drop":
            return DictionaryColumn.constant(None, len(values))
        stored = _storable(values)
        if self._text == "redact_numbers":
            return list(map(redact_numbers, stored))
        return stored


def redact_numbers(text: str, *, is_kept: Callable[[str], bool] = lambda _: False) -> str:
    """Replace seven or more digits, with few signs between them, by ``[number]``.

    :param is_kept: tells which of these stay.
    """
    return _NUMBER_LIKE.sub(lambda found: found[0] if is_kept(found[0]) else _REDACTED, text)


class RowMapper:
    """Maps rows of one dataset to chunks. Several threads may use it at once."""

    def __init__(self, dataset: Dataset, load: LoadRun, database: Database, personal: PrivacyPolicy) -> None:
        self._dataset = dataset
        self._load = load
        self._database = database
        self._personal = personal
        self._at = database.dialect.instant(load.at)
        takes_any_text = database.dialect.bulk is BulkMethod.COPY
        self._takes_iso = takes_any_text or self._at == utc(load.at).isoformat()
        self._staged_places = count(1)
        self._defaults = {ADDRESS_KIND: PHONE, CURRENCY: load.currency}
        self._by_name: dict[str, _Converter] = {"text": personal.texts, RAW.name: _as_json}
        self._by_type: dict[ColumnType, _Converter] = {
            # COPY makes texts of numbers itself.
            ColumnType.ID: _unchanged if takes_any_text else _id_texts,
            ColumnType.INSTANT: self._instants,
            ColumnType.AMOUNT: self._amounts,
            ColumnType.WORD: _words,
        }

    def chunk(self, rows: Columns[Any]) -> Chunk:
        """Return rows of the gateway or the ledger as a chunk: the last row of each key."""
        keys = self._keys(rows)
        if len(set(keys)) < len(keys):
            rows = rows.take(list({key: index for index, key in enumerate(keys)}.values()))
            keys = self._keys(rows)
        columns = self._without_forgotten([self._column(column, rows) for column in self._dataset.columns])
        if self._dataset.has_history:
            columns.append([next(self._staged_places) for _ in range(len(rows))])
        return Chunk(encode(columns, self._database.dialect.bulk), keys)

    def _without_forgotten(self, columns: list[Sequence[Any]]) -> list[Sequence[Any]]:
        """Empty the personal columns of rows whose numbers are forgotten."""
        names = self._dataset.column_names
        if NUMBER not in names or not (self._personal.forgotten or self._dataset.is_from_ledger):
            return columns
        forgotten = [Pseudonym.read(number) is not None for number in columns[names.index(NUMBER)]]
        if not any(forgotten):
            return columns
        personal = self._dataset.personal_columns
        return [
            [None if hides else value for value, hides in zip(column, forgotten, strict=True)]
            if name in personal
            else column
            for name, column in zip(names, columns, strict=True)
        ]

    def _keys(self, rows: Columns[Any]) -> Sequence[Any]:
        if self._dataset.has_history:
            return ()
        first, *others = [rows.column(name) for name in self._dataset.key]
        if others:
            return list(zip(first, *others, strict=True))
        return first if str in set(map(type, first)) else array("Q", first)

    def _column(self, column: Column, rows: Columns[Any]) -> Sequence[Any]:
        if column.is_read:
            return self._values(column, rows)
        value = {LOAD_RUN: self._load.run_id, REMOVED: None}.get(column.name, self._at)
        return DictionaryColumn.constant(value, len(rows))

    def _values(self, column: Column, rows: Columns[Any]) -> Sequence[Any]:
        if column.name == KEY_ID:
            return self._key_ids(rows)
        if column.name in self._defaults and not rows.has(column.name):
            return DictionaryColumn.constant(self._defaults[column.name], len(rows))
        values = rows.column(column.name)
        if column.name == NUMBER:
            return self._personal.numbers(values, rows.column(KEY_ID) if rows.has(KEY_ID) else None)
        convert = self._by_name.get(column.name) or self._by_type.get(column.kind)
        return convert(values) if convert else values

    def _key_ids(self, rows: Columns[Any]) -> Sequence[str | None]:
        ours = self._personal.key_id
        if not rows.has(KEY_ID):
            return DictionaryColumn.constant(ours, len(rows))
        return [ours if theirs is None else theirs for theirs in rows.column(KEY_ID)]

    def _amounts(self, values: Sequence[Decimal | None]) -> Sequence[Any]:
        amount = self._database.dialect.amount
        return [None if value is None else amount(value) for value in values]

    def _instants(self, values: Sequence[datetime | None]) -> Sequence[Any]:
        if isinstance(values, Times):
            instants = values.instants()
            return instants if self._takes_iso else instants.map(self._instant_of_text)
        # Rows of the same minute share one object.
        keys = list(map(id, values))
        return DictionaryColumn(keys, dict(zip(keys, values, strict=True))).map(self._instant)

    def _instant_of_text(self, text: str | None) -> Any:
        return None if text is None else self._instant(datetime.fromisoformat(text))

    def _instant(self, value: datetime | None) -> Any:
        """Return the driver's value; ``None`` if UTC cannot express the time."""
        with suppress(ValueError, OverflowError):
            return None if value is None else self._database.dialect.instant(utc(value))
        return None


def _as_json(values: Sequence[Any]) -> Sequence[str]:
    return list(map(_json, values))


def _json(row: Any) -> str:
    """Return JSON that every database accepts."""
    with suppress(ValueError):
        text = json.dumps(row, default=_as_number, allow_nan=False)
        if not any(escape in text for escape in _DOUBTFUL_ESCAPES):
            return text
    return json.dumps(_readable(row), default=_as_number)


def _readable(value: Any) -> Any:
    """Return a JSON value with only texts that databases store, and only numbers that JSON has."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(key): _readable(each) for key, each in value.items()}
    if isinstance(value, list):
        return list(map(_readable, value))
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _as_number(value: Decimal) -> float | str:
    number = float(value)
    return number if isfinite(number) else str(value)


def _storable(values: Sequence[str]) -> Sequence[str]:
    with suppress(UnicodeEncodeError):
        "".join([value for value in values if not value.isascii()]).encode()
        if not any(["\0" in value for value in values]):  # noqa: C419 - a list is made faster
            return values
    return list(map(storable, values))


def _unchanged(values: Sequence[Any]) -> Sequence[Any]:
    return values


def _id_texts(values: Sequence[MessageId | None]) -> Sequence[str | None]:
    return [None if value is None else str(value) for value in values]


def _words(values: Sequence[str | None]) -> Sequence[str | None]:
    words = {value: storable(value)[:_LONGEST_WORD] or None if value else None for value in set(values)}
    return DictionaryColumn(values, words)
