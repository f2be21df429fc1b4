"""Which of the rows that arrive are told, and what is told of them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.arrivals import list_named
from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import OptOut

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pendulum import DateTime

    from airflow_provider_winsms.arrivals import Entry

EXPOSABLE = ("number", "text")
"""The fields of a row that an event has only where they are asked for."""

_WORD_ENDS = re.compile(r"[\s,.;:!?\u2026]")
_NOT_WORD = re.compile(r"^\W+|\W+$")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are told, and what is told of them. A row must pass every filter that is given.

    :param keywords: the first words that a text may have, as the DAG spells them, by their casefolded forms.
    :param pattern: searched for in the text.
    :param exposed_fields: which of ``EXPOSABLE`` are told.
    """

    dataset: str
    keywords: Mapping[str, str]
    pattern: re.Pattern[str] | None
    exposed_fields: tuple[str, ...]

    def payload(self, entry: Entry, senders: Collection[str] | None) -> dict[str, Any] | None:
        """Return what is told of a row, or ``None`` if nothing is.

        :param senders: the numbers whose rows are told; ``None`` for all.
        """
        row = entry.row
        keyword = self.keywords.get(first_word(row.text).casefold())
        if (
            (self.keywords and keyword is None)
            or (self.pattern and not self.pattern.search(row.text))
            or (senders is not None and row.number not in senders)
        ):
            return None
        received_at = row.opted_out_at if isinstance(row, OptOut) else row.received_at
        return {
            "dataset": self.dataset,
            "event_key": entry.key,
            "message_id": row.message_id,
            "in_reply_to": None if isinstance(row, OptOut) else row.in_reply_to,
            "received_at": _in_utc(received_at),
            "keyword": keyword,
            **{name: getattr(row, name) for name in self.exposed_fields},
        }


def _in_utc(time: DateTime | None) -> str | None:
    """Return ISO 8601 text; ``None`` if UTC has no such time."""
    with suppress(ValueError, OverflowError):
        return None if time is None else time.in_timezone("UTC").isoformat()
    return None


def first_word(text: str) -> str:
    """Return the first word of a text: up to a blank, comma or end of sentence, and bare of punctuation."""
    found = _WORD_ENDS.split(_NOT_WORD.sub("", text), maxsplit=1)[0]
    return _NOT_WORD.sub("", found)


def selection(dataset: object, keywords: object, pattern: object, exposed_fields: object) -> Selection:
    """Return what a DAG asked for.

    :raises InvalidMessage: naming the argument that is wrong.
    """
    return Selection(
        dataset=list_named(dataset).name,
        keywords=_keywords(keywords),
        pattern=_pattern(pattern),
        exposed_fields=_exposed(exposed_fields),
    )


def _keywords(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, (list, tuple)) or not given or not all(isinstance(word, str) for word in given):
        msg = "keywords must be a list of words, such as ['YES', 'NO']."
        raise InvalidMessage(msg)
    if unusable := [word for word in given if first_word(word) != word]:
        msg = f"keywords are single words without punctuation; {unusable[0]!r} is none."
        raise InvalidMessage(msg)
    return {word.casefold(): word for word in given}


def _pattern(given: object) -> re.Pattern[str] | None:
    if given is None:
        return None
    try:
        return re.compile(given)  # type: ignore[call-overload, no-any-return] # what is no text is refused
    except (re.error, TypeError, RecursionError, OverflowError) as error:
        msg = f"pattern is not a regular expression: {error}."
        raise InvalidMessage(msg) from None


def _exposed(given: object) -> tuple[str, ...]:
    if isinstance(given, (list, tuple)) and all(name in EXPOSABLE for name in given):
        return tuple(name for name in EXPOSABLE if name in given)
    msg = f"exposed_fields must be a list of {' and '.join(map(repr, EXPOSABLE))}, or empty; got {given!r}."
    raise InvalidMessage(msg)
