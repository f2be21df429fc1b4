"""Rows as the warehouse may have them: without what is personal, and without what no database stores."""

from __future__ import annotations

import json
import re
from array import array
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from math import isfinite
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import UnsupportedCapability
from airflow_provider_winsms.options import LoadedText, Privacy, check_choice
from airflow_provider_winsms.sql.dialects import ColumnType
from airflow_provider_winsms.sql.values import storable, utc
from airflow_provider_winsms.warehouse.datasets import KEY_ID, LOAD_RUN, NUMBER, RAW, REMOVED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from decimal import Decimal

    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.messages import Columns
    from airflow_provider_winsms.sql.bulk import EncodedRows
    from airflow_provider_winsms.sql.connection import Database
    from airflow_provider_winsms.warehouse.datasets import Column, Dataset, Load

    _Shape = Callable[[Sequence[Any]], Sequence[Any]]

# Between two digits there may be some signs, seen and unseen: phones put dashes of all lengths for hyphens.
_MAY_BE_A_NUMBER = re.compile(r"\+?\d(?:[\W_]{0,4}\d){6,}")
_DOUBTFUL_ESCAPES = ("\\u0000", "\\ud")
"""What NUL, and the halves of emojis, begin with in JSON."""

_LONGEST_WORD = 64
_LONGEST_NUMBER = 100
_REDACTED = "[number]"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows, ready to be staged: each once.

    :param keys: what tells them apart: message ids in an ``array``, or tuples; empty for opt-outs.
    """

    packed: EncodedRows
    keys: Sequence[Any] = field(repr=False)


class Personal:
    """What a load does to personal data.

    :param privacy: ``"keyed_hash"`` puts keyed hashes for numbers.
    :param hashes: those, if they are asked for.
    :raises InvalidMessage: if there is no such choice.
    """

    def __init__(self, privacy: Privacy, text: LoadedText, hashes: KeyedHash | None) -> None:
        check_choice("privacy", privacy, Privacy)
        check_choice("text", text, LoadedText)
        self._text = text
        self._hashes = hashes if privacy == "keyed_hash" else None

    @property
    def key_id(self) -> str | None:
        """Which key the numbers are hashed with; ``None`` if they are not."""
        return self._hashes.key_id if self._hashes else None

    def numbers(self, values: Sequence[str], key_ids: Sequence[str | None] | None) -> Sequence[str]:
        """Return numbers as they may be stored.

        :param key_ids: with which key each is hashed already, if any is.
        """
        stored = [value[:_LONGEST_NUMBER] for value in _storable(values)]
        if self._hashes is None:
            return stored
        if key_ids is None:
            return list(map(self._hashes.of, stored))
        pairs = zip(stored, key_ids, strict=True)
        return [self._hashes.of(value) if key_id is None else value for value, key_id in pairs]

    def texts(self, values: Sequence[str]) -> Sequence[str | None]:
        """Return texts as they may be stored."""
        if self._text == "drop":
            return [None] * len(values)
        stored = _storable(values)
        if self._text == "redact_numbers":
            return [_MAY_BE_A_NUMBER.sub(_REDACTED, value) for value in stored]
        return stored


class RowMapper:
    """Makes rows of one dataset ready to be staged. Several threads may use it at once."""

    def __init__(self, dataset: Dataset, load: Load, database: Database, personal: Personal) -> None:
        self._dataset = dataset
        self._load = load
        self._database = database
        self._personal = personal
        self._at = database.dialect.instant(load.at)
        self._places = count(1)
        self._by_name: dict[str, _Shape] = {"text": personal.texts, RAW.name: _as_json}
        self._by_kind: dict[ColumnType, _Shape] = {
            ColumnType.ID: _whole,
            ColumnType.INSTANT: self._instants,
            ColumnType.AMOUNT: self._amounts,
            ColumnType.WORD: _words,
        }

    def chunk(self, rows: Columns[Any]) -> Chunk:
        """Return rows of the gateway, or of the ledger, ready to be staged: of each key the last one."""
        keys = self._keys(rows)
        if len(set(keys)) < len(keys):
            rows = rows.take(list({key: place for place, key in enumerate(keys)}.values()))
            keys = self._keys(rows)
        columns = [self._column(column, rows) for column in self._dataset.columns]
        if self._dataset.has_history:
            columns.append([next(self._places) for _ in range(len(rows))])
        return Chunk(self._database.encode(columns), keys)

    def _keys(self, rows: Columns[Any]) -> Sequence[Any]:
        if self._dataset.has_history:
            return ()
        columns = [rows.column(name) for name in self._dataset.key]
        return array("Q", _whole(columns[0])) if len(columns) == 1 else list(zip(*columns, strict=True))

    def _column(self, column: Column, rows: Columns[Any]) -> Sequence[Any]:
        if column.is_read:
            return self._values(column, rows)
        value = {LOAD_RUN: self._load.run_id, REMOVED: None}.get(column.name, self._at)
        return [value] * len(rows)

    def _values(self, column: Column, rows: Columns[Any]) -> Sequence[Any]:
        if column.name == KEY_ID:
            return self._key_ids(rows)
        values = rows.column(column.name)
        if column.name == NUMBER:
            return self._personal.numbers(values, rows.column(KEY_ID) if rows.has(KEY_ID) else None)
        shape = self._by_name.get(column.name) or self._by_kind.get(column.kind)
        return shape(values) if shape else values

    def _key_ids(self, rows: Columns[Any]) -> Sequence[str | None]:
        ours = self._personal.key_id
        if not rows.has(KEY_ID):
            return [ours] * len(rows)
        return [ours if theirs is None else theirs for theirs in rows.column(KEY_ID)]

    def _amounts(self, values: Sequence[Decimal | None]) -> Sequence[Any]:
        amount = self._database.dialect.amount
        return [None if value is None else amount(value) for value in values]

    def _instants(self, values: Sequence[datetime | None]) -> Sequence[Any]:
        # Many rows have the same minute, which is one object.
        moments = dict(zip(map(id, values), values, strict=True))
        known = {place: self._instant(moment) for place, moment in moments.items()}
        return list(map(known.__getitem__, map(id, values)))

    def _instant(self, value: datetime | None) -> Any:
        """Return what the driver is given; ``None`` if UTC has no such time."""
        with suppress(ValueError, OverflowError):
            return None if value is None else self._database.dialect.instant(utc(value))
        return None


def _as_json(values: Sequence[Any]) -> Sequence[str]:
    return list(map(_json, values))


def _json(row: Any) -> str:
    """Return JSON that every database reads as JSON."""
    with suppress(ValueError):
        text = json.dumps(row, default=_as_number, allow_nan=False)
        if not any(escape in text for escape in _DOUBTFUL_ESCAPES):
            return text
    return json.dumps(_readable(row), default=_as_number)


def _readable(value: Any) -> Any:
    """Return a value of JSON with texts that databases store, and without numbers that JSON does not have."""
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
    together = "".join(values)
    with suppress(UnicodeEncodeError):
        together.encode()
        if "\0" not in together:
            return values
    return list(map(storable, values))


def _whole(values: Sequence[Any]) -> Sequence[int | None]:
    if str in set(map(type, values)):
        msg = "The ids of this gateway are not whole numbers, so its messages cannot be loaded."
        raise UnsupportedCapability(msg)
    return values


def _words(values: Sequence[str | None]) -> Sequence[str | None]:
    known = {value: storable(value)[:_LONGEST_WORD] or None if value else None for value in set(values)}
    return [known[value] for value in values]
