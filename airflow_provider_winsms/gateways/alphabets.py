"""Alphabets of texts: GSM 7-bit in septets, and UCS-2 in code units of UTF-16 (3GPP TS 23.038)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_winsms import gsm7
from airflow_provider_winsms.exceptions import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Sequence


_UNSENDABLE = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def refuse_unsendable(text: str) -> None:
    """Refuse characters that no alphabet has: halves of characters, and controls but for tabs and line ends.

    :raises InvalidMessage: the text holds one; the error names its code point and its place.
    """
    if found := [gsm7.Refusal(each.start() + 1, each[0]) for each in _UNSENDABLE.finditer(text)]:
        msg = f"The text holds characters that cannot be sent: {gsm7.with_places(found)}. Remove them."
        raise InvalidMessage(msg)


@dataclass(frozen=True, slots=True)
class Alphabet:
    """An alphabet, and how much of it fits into a text.

    :param single: units in a text of one segment.
    :param joined: units in each segment of a longer text.
    :param segments: segments of the longest text.
    """

    unit: ClassVar[str]
    """The units, in the plural."""

    name: str
    single: int
    joined: int
    segments: int

    @property
    def units(self) -> int:
        """Units of the longest text."""
        return self.units_in(self.segments)

    def units_in(self, segments: int) -> int:
        """Return the units of the longest text of so many segments."""
        return self.single if segments == 1 else self.joined * segments

    def carries(self, text: str) -> bool:
        """Whether the alphabet has each character of a text."""
        raise NotImplementedError

    def spell(self, text: str) -> str:
        """Return a text in this alphabet.

        :raises InvalidMessage: the alphabet cannot spell it.
        """
        raise NotImplementedError

    def spell_strictly(self, text: str) -> str:
        """Return a text in this alphabet, if it has each of its characters. No other spelling is taken.

        :raises InvalidMessage: it has not; the error names the characters and their places.
        """
        raise NotImplementedError

    def widths(self, text: str) -> Sequence[int]:
        """Return the units of each character of a text that is spelled in the alphabet."""
        raise NotImplementedError

    def size_of(self, text: str) -> tuple[int, int]:
        """Return the units of a spelled text, and the segments in which it is sent."""
        widths = self.widths(text)
        return sum(widths), gsm7.segments_of(widths, self.single, self.joined)

    def count_segments(self, text: str) -> int:
        """Count the segments in which a spelled text is sent."""
        return self.size_of(text)[1]


class Gsm7(Alphabet):
    """The GSM 7-bit alphabet, in septets. It spells typography and rare accents in a plain way."""

    __slots__ = ()
    unit = "septets"

    def __init__(self, segments: int) -> None:
        super().__init__("GSM-7", gsm7.SINGLE_SEGMENT, gsm7.CONCATENATED_SEGMENT, segments)

    def carries(self, text: str) -> bool:
        """Whether the text needs no plain spelling."""
        return gsm7.is_carried(text)

    def spell(self, text: str) -> str:
        """Return the text in a plain spelling."""
        return gsm7.transliterate(text)

    def spell_strictly(self, text: str) -> str:
        """Return the text, with each letter and its marks as one character, and LF for CR LF."""
        return gsm7.spell_strictly(text)

    def widths(self, text: str) -> Sequence[int]:
        """Return the septets of each character."""
        return gsm7.widths(text)

    def size_of(self, text: str) -> tuple[int, int]:
        """Return the septets of a spelled text, and its segments."""
        return gsm7.size_of(text)


class Ucs2(Alphabet):
    """UCS-2, in code units of UTF-16. It has every character that can be sent; some take two units."""

    __slots__ = ()
    unit = "code units"

    def __init__(self, segments: int) -> None:
        super().__init__("UCS-2", 70, 67, segments)

    def carries(self, text: str) -> bool:
        """Whether each character can be sent."""
        return not _UNSENDABLE.search(text)

    def spell(self, text: str) -> str:
        """Return the text, with each letter and its marks as one character where there is one."""
        refuse_unsendable(text)
        return gsm7.composed(text)

    def spell_strictly(self, text: str) -> str:
        """Return what ``spell`` returns: each character that can be sent is in the alphabet."""
        return self.spell(text)

    def widths(self, text: str) -> Sequence[int]:
        """Return the code units of each character."""
        return [1 + (char > "\uffff") for char in text]
