"""The GSM 7-bit alphabet: septets, segments and transliteration of a text.

The default alphabet (3GPP TS 23.038) has a character in one septet, and ten characters of its extension
table in two. One segment holds 160 septets. A longer text is cut into parts of 153, and a two-septet
character is never cut in two. WinSMS sends this alphabet only, and replaces any other character by one of its
own choice (WinSMS cost calculator). So the package chooses here, visibly.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import gsm0338

__all__ = [
    "CONCATENATED_SEGMENT",
    "SINGLE_SEGMENT",
    "composed",
    "is_carried",
    "segments",
    "segments_of",
    "septets",
    "transliterate",
    "widths",
]

SINGLE_SEGMENT = 160
"""Septets in a text of one segment (TS 23.038)."""

CONCATENATED_SEGMENT = 153
"""Septets in each part of a longer text; the part's header takes the other seven."""

# The codec accepts it, but alone it would change the character after it.
_ESCAPE = "\x1b"

# The lookbehind tries a run of carriage returns once. From each of them, a long run would take minutes.
_LINE_END = re.compile(r"(?<!\r)\r+\n")

# Fractions, and raised, lowered and circled digits, right after a digit: one and a half is 1 1/2, not 11/2,
# and a price with raised cents is not a hundred times as high.
_MIXED_NUMBER = re.compile(
    r"(?<=[0-9])(?=[\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2079\u2080-\u2089\u2150-\u215f\u2189\u2460-\u2473])"
)

# Marks on one character that are ordered together: more than any language needs (UAX #15, section 13). The
# time for it grows with the square of their number.
_MAX_MARKS = 30

# The combining class of strokes through a character (Unicode, table of canonical combining classes).
_OVERLAY = 1

# Typography with a plain spelling. Characters that Unicode itself decomposes (accents, ligatures, full-width
# letters, the ellipsis) need no entry.
_PLAIN_SPELLINGS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u02b9\u02c8\u0060\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u02ba", '"'),
        **dict.fromkeys("\u2039", "<"),
        **dict.fromkeys("\u203a", ">"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u2022\u00b7", "*"),
        **dict.fromkeys("\t\u2028\u2029", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
        "\u0131": "i",
        "\u0141": "L",
        "\u0142": "l",
        "\u0110": "D",
        "\u0111": "d",
        "\u0152": "OE",
        "\u0153": "oe",
        "\u00a9": "(c)",
        "\u00ae": "(r)",
        "\u00d7": "x",
        "\u2044": "/",
    }
)


def septets(text: str) -> int:
    """Count the septets of a text that is in the GSM 7-bit alphabet.

    :raises InvalidMessage: a character is not in the alphabet; the error names its code point.
    """
    return sum(widths(text))


def segments(text: str) -> int:
    """Count the segments in which a text is sent and paid.

    The count is that of the strictest splitter, which never cuts a two-septet character in two. So a text
    never takes more segments.

    :raises InvalidMessage: a character is not in the GSM 7-bit alphabet.
    """
    return segments_of(widths(text), SINGLE_SEGMENT, CONCATENATED_SEGMENT)


def segments_of(widths: Sequence[int], single: int, joined: int) -> int:
    """Count the segments of a text by the units of its characters, none of which is cut in two.

    :param single: units in a text of one segment.
    :param joined: units in each segment of a longer text.
    """
    if sum(widths) <= single:
        return 1
    parts, room = 1, joined
    for width in widths:
        if width > room:
            parts, room = parts + 1, joined
        room -= width
    return parts


def is_carried(text: str) -> bool:
    """Whether the alphabet has each character of a text, so that it needs no other spelling."""
    return all(map(_fits, _LINE_END.sub("\n", composed(text))))


def transliterate(text: str) -> str:
    """Spell a text in the GSM 7-bit alphabet: curly quotes become straight ones, ``ê`` becomes ``e``.

    A character of the alphabet stays as it is (``é``, ``ö``, ``€``). A character that is not in the alphabet
    and has no plain spelling (an emoji, Cyrillic) is refused, never dropped.

    :raises InvalidMessage: some characters have no spelling; the error names their code points.
    """
    whole = _MIXED_NUMBER.sub(" ", composed(text))
    spelt = "".join(char if _fits(char) else _spell(char) for char in whole)
    septets(spelt)
    return _LINE_END.sub("\n", spelt)


def composed(text: str) -> str:
    """Return a text in which a letter and its marks are one character (NFC), if there is one."""
    if text.isascii():
        return text
    chunks, start, marks = [], 0, 0
    for index, char in enumerate(text):
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks > _MAX_MARKS:
            chunks.append(text[start:index])
            start, marks = index, 1
    chunks.append(text[start:])
    return "".join(unicodedata.normalize("NFC", chunk) for chunk in chunks)


def _spell(char: str) -> str:
    """Return the plain spelling of a character, or the character itself if there is none."""
    plain = char.translate(_PLAIN_SPELLINGS)
    if plain != char:
        return plain
    decomposed = unicodedata.normalize("NFKD", char)
    spelt = "".join(part.translate(_PLAIN_SPELLINGS) for part in decomposed if not _is_accent(part))
    return spelt if all(map(_fits, spelt)) else char


def _is_accent(char: str) -> bool:
    """Whether a mark is an accent, which may be dropped; an overlay may not, as a stroke negates =."""
    return unicodedata.combining(char) > _OVERLAY


def _fits(char: str) -> bool:
    return _width(char) > 0


@lru_cache(maxsize=1024)
def _width(char: str) -> int:
    if char == _ESCAPE:
        return 0
    return len(_codec().encode(char, "ignore")[0])


@cache
def _codec() -> gsm0338.Codec:
    import gsm0338

    return gsm0338.Codec()


def widths(text: str) -> list[int]:
    """Return the septets of each character.

    :raises InvalidMessage: a character is not in the alphabet; the error names its code point.
    """
    found = [_width(char) for char in text]
    if not all(found):
        raise InvalidMessage(_not_in_alphabet(sorted({char for char in text if not _fits(char)})))
    return found


def _not_in_alphabet(unsupported: list[str]) -> str:
    named = ", ".join(f"U+{ord(char):04X} {unicodedata.name(char, 'unnamed')}" for char in unsupported[:5])
    more = f" and {len(unsupported) - 5} more" if len(unsupported) > 5 else ""  # noqa: PLR2004 - as many as are named
    return (
        f"The text holds characters that the GSM 7-bit alphabet cannot carry: {named}{more}. "
        "Remove them or spell them out."
    )
