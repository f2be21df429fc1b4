"""Filters of rows, and the payloads of their events."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.inbound.feeds import list_named
from airflow_provider_winsms.messages import OptOut
from airflow_provider_winsms.options import ExposableField

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pendulum import DateTime

    from airflow_provider_winsms.inbound.feeds import FeedRow

EXPOSABLE = get_args(ExposableField)

CHARACTERS_READ = 39_015
"""How much of a text the filters read: 255 joined segments, the longest text possible."""

# Characters; RE2 quotes the pattern.
_REASON_SHOWN = 100

# The match begins where the first word does, so that no text makes the search try a position twice.
_FIRST_WORD = re.compile(r"\w(?:[^\s,.;:!?\u2026]*\w)?")


class Pattern:
    r"""A regular expression of RE2, whose search takes time in proportion to the text.

    Strangers write the texts. With Python's ``re`` some patterns take minutes for one text, and nothing can
    stop a thread that searches. RE2 lacks lookarounds and backreferences, which need such a search. Other
    threads run during a search of RE2.

    :param expression: in RE2's syntax, where ``\w``, ``\d`` and ``\b`` know only ASCII characters.
    :raises InvalidMessage: if RE2 cannot search for it.
    """

    def __init__(self, expression: object) -> None:
        import re2

        options = re2.Options()
        # The error says what is wrong; RE2 would log it too.
        options.log_errors = False
        if not isinstance(expression, str):
            msg = f"pattern is not a regular expression: it is of type {type(expression).__name__}."
            raise InvalidMessage(msg)
        try:
            self._compiled = re2.compile(expression, options)
        except (re2.error, UnicodeEncodeError) as error:
            raise InvalidMessage(_wrong_pattern(error)) from None

    async def matches(self, text: str) -> bool:
        """Whether a text matches. The search runs in a thread: other triggers share the event loop."""
        # A gateway's JSON may hold half a surrogate pair, which UTF-8 cannot encode.
        encoded = text.encode("utf-8", "replace")
        return await asyncio.to_thread(self._compiled.search, encoded) is not None


def _wrong_pattern(error: Exception) -> str:
    reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else "no UTF-8"
    return (
        f"pattern is not a regular expression that RE2 can search for: {reason[:_REASON_SHOWN]}. RE2 has no "
        "lookarounds (?=, (?!, (?<=, (?<! and no backreferences such as \\1, as their search may never end. "
        "Write the pattern without them, or let the DAG that is started look at the text."
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """The filters of a watcher, and the fields of its payloads. A row must pass every given filter.

    :param keywords: the allowed first words, as the DAG spells them, by their casefolded forms.
    :param pattern: must match the text.
    :param exposed_fields: the fields of ``EXPOSABLE`` in the payload.
    """

    dataset: str
    keywords: Mapping[str, str]
    pattern: Pattern | None
    exposed_fields: tuple[str, ...]

    async def payload(self, row: FeedRow, senders: Collection[str] | None) -> dict[str, Any] | None:
        """Return the payload of a row; ``None`` if the row does not pass the filters.

        :param senders: the numbers whose rows pass; ``None`` for all.
        """
        record = row.record
        text = record.text[:CHARACTERS_READ]
        keyword = self.keywords.get(first_word(text).casefold())
        if (
            (self.keywords and keyword is None)
            or (senders is not None and record.number not in senders)
            or (self.pattern and not await self.pattern.matches(text))
        ):
            return None
        received_at = record.opted_out_at if isinstance(record, OptOut) else record.received_at
        return {
            "dataset": self.dataset,
            "event_key": row.key,
            "message_id": record.message_id,
            "in_reply_to": None if isinstance(record, OptOut) else record.in_reply_to,
            "received_at": _in_utc(received_at),
            "keyword": keyword,
            **{name: getattr(record, name) for name in self.exposed_fields},
        }


def _in_utc(time: DateTime | None) -> str | None:
    """Return ISO 8601 text; ``None`` if UTC cannot express the time."""
    with suppress(ValueError, OverflowError):
        return None if time is None else time.in_timezone("UTC").isoformat()
    return None


def first_word(text: str) -> str:
    """Return a text's first word, without punctuation: up to a blank, a comma or the end of a sentence."""
    found = _FIRST_WORD.search(text)
    return found[0] if found else ""


def selection(dataset: object, keywords: object, pattern: object, exposed_fields: object) -> Selection:
    """Check the filter arguments of a DAG, and return them.

    :raises InvalidMessage: naming the wrong argument.
    """
    return Selection(
        dataset=list_named(dataset).name,
        keywords=_keywords(keywords),
        pattern=None if pattern is None else Pattern(pattern),
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


def _exposed(given: object) -> tuple[str, ...]:
    if isinstance(given, (list, tuple)) and all(name in EXPOSABLE for name in given):
        return tuple(name for name in EXPOSABLE if name in given)
    msg = f"exposed_fields must be a list of {' and '.join(map(repr, EXPOSABLE))}, or empty; got {given!r}."
    raise InvalidMessage(msg)
