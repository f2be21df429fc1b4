"""What a text costs and how it reaches a phone: septets, segments, transliteration.

The GSM 7-bit default alphabet (3GPP TS 23.038) carries a character in one septet, and ten characters of
its extension table in two. One segment holds 160 septets; a longer text is cut into parts of 153, and a
two-septet character never straddles two parts. WinSMS sends this alphabet only and puts characters of its
own choice for any other (WinSMS cost calculator), so the choice is made here, where it can be seen.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage

if TYPE_CHECKING:
    import gsm0338

__all__ = ["CONCATENATED_SEGMENT", "SINGLE_SEGMENT", "segments", "septets", "transliterate"]

SINGLE_SEGMENT = 160
"""Septets in a text of one segment (TS 23.038)."""

CONCATENATED_SEGMENT = 153
"""Septets in each part of a longer text; the part's header takes the other seven."""

# The codec takes it, but alone it would turn the character behind it into another one.
_ESCAPE = "\x1b"

# Tried once for all carriage returns in a row: from each of them anew, many without a line end take minutes.
_LINE_END = re.compile(r"(?<!\r)\r+\n")

# Fractions, raised, lowered and circled digits, close behind a digit: one and a half is 1 1/2, not 11/2, and
# a price with raised cents is not a hundred times as high.
_MIXED_NUMBER = re.compile(
    r"(?<=[0-9])(?=[\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2079\u2080-\u2089\u2150-\u215f\u2189\u2460-\u2473])"
)

# Marks on one character that are put in order together: more than any language needs (UAX #15, section 13).
# The time for it grows with the square of their number.
_MARKS = 30

# The combining class of strokes through a character (Unicode, table of canonical combining classes).
_OVERLAY = 1

# Typography that has a plain spelling. What Unicode itself decomposes (accents, ligatures, full-width
# letters, the ellipsis) needs no entry.
_PLAIN = str.maketrans(
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

    :raises InvalidMessage: if a character is not in the alphabet; it is named by code point.
    """
    return sum(_widths(text))


def segments(text: str) -> int:
    """Count the parts that a text is sent, and paid, in.

    Counted as the strictest splitter does (a two-septet character is never cut in two), so that a text
    never takes more parts than this says.

    :raises InvalidMessage: if a character is not in the GSM 7-bit alphabet.
    """
    widths = _widths(text)
    if sum(widths) <= SINGLE_SEGMENT:
        return 1
    parts, room = 1, CONCATENATED_SEGMENT
    for width in widths:
        if width > room:
            parts, room = parts + 1, CONCATENATED_SEGMENT
        room -= width
    return parts


def transliterate(text: str) -> str:
    """Spell a text in the GSM 7-bit alphabet: curly quotes become straight ones, ``ê`` becomes ``e``.

    A character that has a place in the alphabet stays as it is (``é``, ``ö``, ``€``). One that has neither a
    place nor a plain spelling (an emoji, Cyrillic) is refused, never dropped.

    :raises InvalidMessage: naming the characters that cannot be spelt, by code point.
    """
    composed = _MIXED_NUMBER.sub(" ", _composed(text))
    spelt = "".join(char if _fits(char) else _spell(char) for char in composed)
    septets(spelt)
    return _LINE_END.sub("\n", spelt)


def _composed(text: str) -> str:
    """Return a text with its letters and their marks as one character (NFC), as far as there is one."""
    if text.isascii():
        return text
    pieces, start, marks = [], 0, 0
    for place, char in enumerate(text):
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks > _MARKS:
            pieces.append(text[start:place])
            start, marks = place, 1
    pieces.append(text[start:])
    return "".join(unicodedata.normalize("NFC", piece) for piece in pieces)


def _spell(char: str) -> str:
    """Return a plain spelling, or the character itself if there is none."""
    plain = char.translate(_PLAIN)
    if plain != char:
        return plain
    decomposed = unicodedata.normalize("NFKD", char)
    spelt = "".join(part.translate(_PLAIN) for part in decomposed if not _is_accent(part))
    return spelt if all(map(_fits, spelt)) else char


def _is_accent(char: str) -> bool:
    """Tell an accent, which may be left out, from an overlay: a stroke through = makes it not equal."""
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


def _widths(text: str) -> list[int]:
    widths = [_width(char) for char in text]
    if not all(widths):
        raise InvalidMessage(_not_in_alphabet(sorted({char for char in text if not _fits(char)})))
    return widths


def _not_in_alphabet(strange: list[str]) -> str:
    named = ", ".join(f"U+{ord(char):04X} {unicodedata.name(char, 'unnamed')}" for char in strange[:5])
    more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""  # noqa: PLR2004 - as many as are named
    return (
        f"The text holds characters that the GSM 7-bit alphabet cannot carry: {named}{more}. "
        "Remove them or spell them out."
    )
