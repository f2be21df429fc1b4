"""Which of the rows that arrive are told, and what is told of them."""

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
"""How much of a text the filters read: as much as 255 joined segments hold, the most there are."""

# Characters; RE2 quotes the pattern.
_REASON_SHOWN = 100

# It begins where the first word does, so that no position is tried twice, whatever a phone sends.
_FIRST_WORD = re.compile(r"\w(?:[^\s,.;:!?\u2026]*\w)?")


class Pattern:
    r"""A regular expression of RE2, whose search takes time in proportion to the text.

    Strangers write the texts. With Python's ``re`` one text of some patterns takes minutes, and a thread that
    searches cannot be stopped. RE2 has no lookarounds and no backreferences, which need such a search. It
    lets other threads run meanwhile.

    :param expression: in RE2's syntax, at whose ``\w``, ``\d`` and ``\b`` only ASCII characters count.
    :raises InvalidMessage: if it is none.
    """

    def __init__(self, expression: object) -> None:
        import re2

        options = re2.Options()
        # What is wrong is in the error, and not in the log as well.
        options.log_errors = False
        if not isinstance(expression, str):
            msg = f"pattern is not a regular expression: it is of type {type(expression).__name__}."
            raise InvalidMessage(msg)
        try:
            self._compiled = re2.compile(expression, options)
        except (re2.error, UnicodeEncodeError) as error:
            raise InvalidMessage(_wrong_pattern(error)) from None

    async def is_in(self, text: str) -> bool:
        """Tell whether it is found in a text. The search runs in a thread: the event loop is others'."""
        # A gateway's JSON may hold half a surrogate pair, which UTF-8 cannot.
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
    """Which rows are told, and what is told of them. A row must pass every filter that is given.

    :param keywords: the first words that a text may have, as the DAG spells them, by their casefolded forms.
    :param pattern: searched for in the text.
    :param exposed_fields: which of ``EXPOSABLE`` are told.
    """

    dataset: str
    keywords: Mapping[str, str]
    pattern: Pattern | None
    exposed_fields: tuple[str, ...]

    async def payload(self, entry: FeedRow, senders: Collection[str] | None) -> dict[str, Any] | None:
        """Return what is told of a row, or ``None`` if nothing is.

        :param senders: the numbers whose rows are told; ``None`` for all.
        """
        row = entry.row
        text = row.text[:CHARACTERS_READ]
        keyword = self.keywords.get(first_word(text).casefold())
        if (
            (self.keywords and keyword is None)
            or (senders is not None and row.number not in senders)
            or (self.pattern and not await self.pattern.is_in(text))
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
    found = _FIRST_WORD.search(text)
    return found[0] if found else ""


def selection(dataset: object, keywords: object, pattern: object, exposed_fields: object) -> Selection:
    """Return what a DAG asked for.

    :raises InvalidMessage: naming the argument that is wrong.
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
