"""The content of a campaign: one text to one number for each row of a query."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import InvalidMessage, NothingToSend
from airflow_provider_winsms.ledger.base import Rejected
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.options import nearest
from airflow_provider_winsms.phone import InvalidPhoneNumber
from airflow_provider_winsms.sending.composer import Problems, reference_if_valid, reference_of
from airflow_provider_winsms.sending.description import grouped, not_shown, recipients_in_words
from airflow_provider_winsms.sending.message_list import MessageList
from airflow_provider_winsms.sending.row_template import row_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.messages import Message, Recipient
    from airflow_provider_winsms.runtime import Log
    from airflow_provider_winsms.sending.composer import Composer
    from airflow_provider_winsms.sending.shards import Shard
    from airflow_provider_winsms.sql.query import Query

    Row = tuple[Any, ...]

_PLAIN_COLUMN = re.compile(r"[^\W\d]\w{0,62}")
_MOST_DIGITS_OF_A_NAME = 6


@dataclass(frozen=True, slots=True)
class RowColumns:
    """What the columns of a query mean.

    :param text: the template of the texts, or ``None`` if a column has them.
    :param text_column: the column with the texts, or ``None``.
    """

    number: str
    text: str | None = field(default=None, repr=False)
    text_column: str | None = None
    reference: str | None = None
    send_at: str | None = None

    def named(self) -> Iterator[tuple[str, str]]:
        """Yield the parameters of the operator that name a column, with the column."""
        columns = {
            "number_column": self.number,
            "text_column": self.text_column,
            "reference_column": self.reference,
            "send_at_column": self.send_at,
        }
        yield from ((parameter, column) for parameter, column in columns.items() if column is not None)
        if self.text is not None:
            yield from (("text", column) for column in sorted(row_template(self.text).columns))

    def check(self, found: Sequence[str]) -> None:
        """Check that the columns of a query have these columns, each once.

        :raises InvalidMessage: naming those that are missing, or there twice.
        """
        twice = [name for name, count in Counter(found).items() if count > 1]
        if twice:
            msg = (
                f"The query returns several columns of the same name: {_names(twice)}. Give each a name of "
                "its own, with AS. Nothing was sent."
            )
            raise InvalidMessage(msg)
        missing = [(parameter, column) for parameter, column in self.named() if column not in found]
        if missing:
            words = ", ".join(f"{column!r} (of `{parameter}`)" for parameter, column in missing)
            near = nearest(missing[0][1], list(filter(_is_plain, found)))
            msg = f"The query returns no column {words}. It returns: {_names(found)}. Nothing was sent.{near}"
            raise InvalidMessage(msg)


def _names(columns: Sequence[str]) -> str:
    return ", ".join(column if _is_plain(column) else "(an expression)" for column in columns)


def _is_plain(column: str) -> bool:
    """Whether a name may be shown. Some databases name an expression by its text, which may hold a number."""
    digits = sum(map(str.isdecimal, column))
    return _PLAIN_COLUMN.fullmatch(column) is not None and digits <= _MOST_DIGITS_OF_A_NAME


@dataclass(frozen=True, slots=True)
class QueryContent:
    """One text for each row of a query.

    :param max_segments: the most segments of each text.
    :param shard: the part of the rows that is sent; ``None``: all.
    """

    query: Query = field(repr=False)
    columns: RowColumns
    max_segments: object = None
    shard: Shard | None = None

    def compose(self, composer: Composer, log: Log) -> MessageList:  # noqa: ARG002 - as of ``Content``
        """Return the messages to the rows.

        :raises InvalidMessage: if the query lacks a column, or if exactly one row is invalid.
        :raises InvalidRows: if several rows are invalid. The error describes the first ones.
        :raises NothingToSend: if there are no rows.
        :raises QueryFailed: if the database refuses the query.
        """
        with self.query.opened() as found:
            self.columns.check(found.columns)
            rows = _RowComposer(composer, self.columns, found.columns, self.max_segments, self.shard)
            for chunk in found.chunks:
                rows.add(chunk)
        return rows.messages_or_raise()

    def in_words(self, messages: Sequence[Message], gateway: Gateway) -> Mapping[str, str]:  # noqa: ARG002
        """Return the number of recipients, and that of the query's parameters."""
        words = {"sql": not_shown(f"a query of {recipients_in_words(messages)}")}
        if self.query.parameters is not None:
            words["sql_parameters"] = not_shown(grouped(len(self.query.parameters), "value"))
        return words


class _InvalidNumber(InvalidMessage):
    """The number of a row is not a phone number."""


class _RowComposer:
    """Makes messages of rows. All that is invalid in a row is found here.

    :param found: the columns of the rows.
    """

    def __init__(
        self,
        composer: Composer,
        columns: RowColumns,
        found: Sequence[str],
        max_segments: object,
        shard: Shard | None,
    ) -> None:
        self._composer = composer
        self._columns = columns
        self._max_segments = max_segments
        self._shard = shard
        self._number = itemgetter(found.index(columns.number))
        self._reference = _getter(found, columns.reference)
        self._send_at = _getter(found, columns.send_at)
        self._text = _text_getter(found, columns)
        self._messages = MessageList()
        self._problems = Problems()
        self._column: str | None = None
        self._read = self._taken = 0
        self._last_time: tuple[object, int, DateTime | None] = (None, 0, None)

    def add(self, rows: Sequence[Row]) -> None:
        """Compose the next rows."""
        for position, row in enumerate(rows, start=self._read + 1):
            try:
                self._add(row)
            except InvalidMessage as error:
                self._reject(row, position, error)
        self._read += len(rows)

    def messages_or_raise(self) -> MessageList:
        """Return the messages.

        :raises InvalidMessage: if rows are invalid, and are not to be left out.
        :raises NothingToSend: if there are no rows.
        """
        self._problems.raise_if_any()
        if not self._taken:
            where = "" if self._shard is None else f" of shard {self._shard}"
            msg = f"The query returned no rows{where}. There are no recipients."
            raise NothingToSend(msg)
        return self._messages

    def _add(self, row: Row) -> None:
        composer, columns = self._composer, self._columns
        self._column = columns.number
        recipient = self._recipient(self._number(row))
        if recipient is None:
            return
        self._column = columns.reference
        reference = reference_of(self._reference(row))
        self._column = columns.send_at
        send_at = self._time(self._send_at(row))
        self._column = columns.text_column
        text, allowed = composer.text(self._text(row), self._max_segments)
        self._messages.append_row(text, recipient, reference, send_at, allowed)

    def _recipient(self, number: object) -> Recipient | None:
        """Return whom a number means; ``None`` if another shard has the row."""
        try:
            recipient = self._composer.gateway.address(number, self._composer.check_numbers)
        except InvalidPhoneNumber as error:
            if not self._takes(str(number)):
                return None
            msg = f"The number {error}."
            raise _InvalidNumber(msg) from None
        return recipient if self._takes(recipient.number) else None

    def _takes(self, number: str) -> bool:
        is_taken = self._shard is None or self._shard.has(number)
        self._taken += is_taken
        return is_taken

    def _time(self, send_at: Any) -> DateTime | None:
        """Return the time of a text. Many rows have the time of the row before."""
        if send_at is None:
            return None
        before, fold, time = self._last_time
        if send_at == before and getattr(send_at, "fold", 0) == fold:
            return time
        time = self._composer.time(send_at)
        self._last_time = send_at, getattr(send_at, "fold", 0), time
        return time

    def _reject(self, row: Row, position: int, error: InvalidMessage) -> None:
        where = f"Row {position}: " if self._column is None else f"Row {position}, column `{self._column}`: "
        rejects = self._composer.rejects
        if rejects is None:
            self._problems.add(error, where)
            return
        is_number = isinstance(error, _InvalidNumber)
        reason = RejectReason.BAD_NUMBER if is_number else RejectReason.INVALID
        rejects.add(error, where, [Rejected(reason, reference_if_valid(self._reference(row)))])


def _getter(found: Sequence[str], column: str | None) -> Callable[[Row], Any]:
    return (lambda _: None) if column is None else itemgetter(found.index(column))


def _text_getter(found: Sequence[str], columns: RowColumns) -> Callable[[Row], Any]:
    """Return a function that returns the text of a row."""
    if columns.text is None:
        return _getter(found, columns.text_column)
    template = row_template(columns.text)
    used = [(name, found.index(name)) for name in template.columns]
    rendered = template.rendered
    return lambda row: rendered({name: row[index] for name, index in used})
