"""The GSM 7-bit alphabet: septets, segments and transliteration of a text.

The default alphabet (3GPP TS 23.038) has a character in one septet, and ten characters of its extension
table in two. One segment holds 160 septets. A longer text is cut into parts of 153, and a two-septet
character is never cut in two. WinSMS sends this alphabet only, and replaces any other character by one of its
own choice (WinSMS cost calculator). So the package chooses here, visibly.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.exceptions import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import gsm0338

__all__ = [
    "CONCATENATED_SEGMENT",
    "SINGLE_SEGMENT",
    "Refusal",
    "Respelling",
    "TextCheck",
    "check_text",
    "composed",
    "is_carried",
    "name_of",
    "segments",
    "segments_of",
    "septets",
    "size_of",
    "spell_strictly",
    "transliterate",
    "widths",
    "with_places",
]

SINGLE_SEGMENT = 160
"""Septets in a text of one segment (TS 23.038)."""

CONCATENATED_SEGMENT = 153
"""Septets in each part of a longer text; the part's header takes the other seven."""

# The codec accepts it, but alone it would change the character after it.
_ESCAPE = "\x1b"

# Texts that are sent as they are, with one septet for each character.
_PLAIN = re.compile(r"[\n -Z_a-z]*")

# The lookbehind tries a run of carriage returns once. From each of them, a long run would take minutes.
_LINE_END = re.compile(r"(?<!\r)\r+\n")

_FRACTIONS = frozenset("\u00bc\u00bd\u00be\u2189").union(map(chr, range(0x2150, 0x2160)))

# Fractions, and raised, lowered and circled digits. After a digit they are spelt with a blank before: one and
# a half is 1 1/2, not 11/2, and a price with raised cents is not a hundred times as high.
_NUMERALS = _FRACTIONS.union(
    "\u00b2\u00b3\u00b9",
    *(map(chr, block) for block in (range(0x2070, 0x207A), range(0x2080, 0x208A), range(0x2460, 0x2474))),
)

# Marks on one character that are ordered together: more than any language needs (UAX #15, section 13). The
# time for it grows with the square of their number.
_MAX_MARKS = 30

# Places that an error names. The count includes all.
_PLACES_SHOWN = 5

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


class Respelling(NamedTuple):
    """A character that is sent in another spelling."""

    position: int
    """Where it begins in the text as given, in code points from 1."""
    character: str
    """As given: a letter and its combining marks are one character."""
    spelling: str
    """What is sent for it. Empty for a character without width, such as a zero-width space."""


class Refusal(NamedTuple):
    """A character that has no spelling in the alphabet; the fields are those of ``Respelling``."""

    position: int
    character: str


@dataclass(frozen=True, slots=True)
class TextCheck:
    """What becomes of a text in the GSM 7-bit alphabet.

    ``encoding="transliterate"`` sends a text without ``refused``. ``encoding="strict"`` sends a text without
    ``refused`` and without ``respelt``.

    :param septets: septets of the text as it is sent. ``None`` if it is refused.
    :param segments: segments in which it is sent and paid. ``None`` if it is refused.
    :param sent: the text as it is sent. ``None`` if it is refused.
    :param respelt: the characters that are sent in another spelling, in the order of the text. To compose a
        letter and its marks to one character, and to send CR LF as LF, is no other spelling.
    :param refused: the characters that have no spelling, in the order of the text.
    """

    septets: int | None
    segments: int | None
    sent: str | None = field(repr=False)
    respelt: tuple[Respelling, ...] = field(repr=False)
    refused: tuple[Refusal, ...] = field(repr=False)

    @property
    def room(self) -> int | None:
        """Septets that the segments hold. ``None`` if the text is refused."""
        if self.segments is None:
            return None
        return SINGLE_SEGMENT if self.segments == 1 else CONCATENATED_SEGMENT * self.segments

    @property
    def lacking(self) -> list[Respelling | Refusal]:
        """The characters that the alphabet lacks, in the order of the text: respelt or refused."""
        return sorted([*self.respelt, *self.refused], key=lambda each: each.position)


def check_text(text: str) -> TextCheck:
    """Tell how a text is sent in the GSM 7-bit alphabet, and what is respelt or refused. Nothing is raised.

    It agrees with ``transliterate``, which the operators use.
    """
    spelt, respelt, refused, before = [], [], [], ""
    for position, character in _characters(text):
        whole = composed(character)
        spelling = whole if _is_in_alphabet(whole) else _plainly(whole, before)
        if not _is_in_alphabet(spelling):
            refused.append(Refusal(position, character))
        elif spelling != whole:
            respelt.append(Respelling(position, character, spelling))
        spelt.append(spelling)
        before = next(filter(_plain, reversed(whole)), before)
    if refused:
        return TextCheck(None, None, None, tuple(respelt), tuple(refused))
    sent = _LINE_END.sub("\n", "".join(spelt))
    return TextCheck(septets(sent), segments(sent), sent, tuple(respelt), ())


def septets(text: str) -> int:
    """Count the septets of a text that is in the GSM 7-bit alphabet.

    :raises InvalidMessage: a character is not in the alphabet; the error names its code point and its place.
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


def size_of(text: str) -> tuple[int, int]:
    """Return the septets and the segments of a text that is in the GSM 7-bit alphabet.

    :raises InvalidMessage: a character is not in the alphabet.
    """
    if _PLAIN.fullmatch(text):
        length = len(text)
        return length, 1 if length <= SINGLE_SEGMENT else -(-length // CONCATENATED_SEGMENT)
    found = widths(text)
    return sum(found), segments_of(found, SINGLE_SEGMENT, CONCATENATED_SEGMENT)


def is_carried(text: str) -> bool:
    """Whether the alphabet has each character of a text, so that it needs no other spelling."""
    return _is_in_alphabet(composed(text))


def transliterate(text: str) -> str:
    """Spell a text in the GSM 7-bit alphabet: curly quotes become straight ones, ``ê`` becomes ``e``.

    A character of the alphabet stays as it is (``é``, ``ö``, ``€``). A character that is not in the alphabet
    and has no plain spelling (an emoji, Cyrillic) is refused, never dropped.

    :raises InvalidMessage: some characters have no spelling; the error names their code points and places.
    """
    if _PLAIN.fullmatch(text):
        return text
    whole = composed(text)
    if not _is_in_alphabet(whole):
        whole = _plainly(whole)
        if not _is_in_alphabet(whole):
            raise InvalidMessage(_not_in_alphabet(check_text(text).refused))
    return _LINE_END.sub("\n", whole)


def spell_strictly(text: str) -> str:
    """Return a text as it is sent if the GSM 7-bit alphabet has each of its characters.

    A letter and its marks become one character, and CR LF becomes LF.

    :raises InvalidMessage: some characters are not in the alphabet; the error names their code points and
        places.
    """
    if _PLAIN.fullmatch(text):
        return text
    whole = composed(text)
    if not _is_in_alphabet(whole):
        raise InvalidMessage(_not_as_it_stands(check_text(text)))
    return _LINE_END.sub("\n", whole)


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


def _characters(text: str) -> Iterator[tuple[int, str]]:
    """Yield the characters of a text, each with its combining marks, and their positions from 1.

    ``composed`` of the text is ``composed`` of each, joined.
    """
    start, marks = 0, 0
    for index, char in enumerate(text):
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks > _MAX_MARKS:
            marks = 1
        elif marks or _joins(text[start:index], char):
            continue
        if index:
            yield start + 1, text[start:index]
        start = index
    if text:
        yield start + 1, text[start:]


def _joins(before: str, char: str) -> bool:
    """Whether a character without a combining class, such as a Hangul vowel, is composed with another one."""
    if char.isascii() or not before:
        return False
    nfc = partial(unicodedata.normalize, "NFC")
    return nfc(before + char) != nfc(before) + nfc(char)


def _plainly(whole: str, before: str = "") -> str:
    """Return a composed text in its plain spelling. A character without one stays.

    :param before: the last character before the text whose spelling is not empty.
    """
    spelt = []
    for char in whole:
        plain = _plain(char)
        spelt.append(f" {plain}" if _is_apart(before, char) else plain)
        before = char if plain else before
    return "".join(spelt)


def _is_apart(before: str, char: str) -> bool:
    """Whether a character needs a blank before it, so that two numbers do not become one."""
    if char not in _NUMERALS or not _plain(before)[-1:].isdigit():
        return False
    return before not in _NUMERALS or not _FRACTIONS.isdisjoint((before, char))


def _plain(char: str) -> str:
    return char if _width(char) else _spell(char)


def _spell(char: str) -> str:
    """Return the plain spelling of a character, or the character itself if there is none."""
    plain = char.translate(_PLAIN_SPELLINGS)
    if plain != char:
        return plain
    decomposed = unicodedata.normalize("NFKD", char)
    spelt = "".join(part.translate(_PLAIN_SPELLINGS) for part in decomposed if not _is_accent(part))
    return spelt if _is_in_alphabet(spelt) else char


def _is_accent(char: str) -> bool:
    """Whether a mark is an accent, which may be dropped; an overlay may not, as a stroke negates =."""
    return unicodedata.combining(char) > _OVERLAY


def _is_in_alphabet(text: str) -> bool:
    """Whether a text is in the alphabet."""
    return all(map(_width, set(text)))


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

    :raises InvalidMessage: a character is not in the alphabet; the error names its code point and its place.
    """
    found = [_width(char) for char in text]
    if not all(found):
        lacking = [Refusal(place, char) for place, char in enumerate(text, start=1) if not _width(char)]
        raise InvalidMessage(_not_in_alphabet(lacking))
    return found


def name_of(character: str) -> str:
    """Return the code point and the Unicode name of a character.

    Of a letter and its marks, it is the first one that the alphabet lacks.
    """
    char = next((char for char in composed(character) if not _width(char)), character[0])
    kind = _KINDS.get(unicodedata.category(char), "(without a name)")
    return f"U+{ord(char):04X} {unicodedata.name(char, kind)}"


_KINDS = {"Cc": "(a control character)", "Cs": "(half of a character)"}
"""What characters without a name are, by their category."""


def with_places(found: Sequence[Refusal | Respelling]) -> str:
    """Return the names of characters with their places, and how many more there are."""
    named = ", ".join(f"{name_of(each.character)} at {each.position}" for each in found[:_PLACES_SHOWN])
    more = len(found) - _PLACES_SHOWN
    return f"{named} and {more} more" if more > 0 else named


def _not_in_alphabet(refused: Sequence[Refusal]) -> str:
    return (
        f"The text holds characters that the GSM 7-bit alphabet cannot carry: {with_places(refused)}. "
        "Remove them or spell them out."
    )


def _not_as_it_stands(check: TextCheck) -> str:
    way_out = "" if check.refused else ', or give encoding="transliterate", which sends plain spellings'
    return (
        'encoding="strict" sends a text as it stands, and the GSM 7-bit alphabet lacks '
        f"{with_places(check.lacking)}. Replace them{way_out}. `airflow sms check` shows the plain spellings."
    )
