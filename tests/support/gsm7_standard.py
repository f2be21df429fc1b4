"""The GSM 7-bit alphabet by the standard, and a count of segments that tries every way to cut a text."""

from __future__ import annotations

import math
from functools import cache

# 3GPP TS 23.038, tables 6.2.1 and 6.2.1.1, written down from the standard.
BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENDED = "\f^{}\\[~]|€"
ALPHABET = frozenset(BASIC + EXTENDED)


def widths(text: str) -> tuple[int, ...]:
    """Return the septets of each character."""
    return tuple(2 if char in EXTENDED else 1 for char in text)


def fewest_parts(text: str) -> int:
    """Try every way to cut a text into parts of 153 septets, and return how few parts there can be."""
    sizes = widths(text)
    if sum(sizes) <= 160:
        return 1

    @cache
    def parts(start: int) -> float:
        best, used = math.inf, 0
        ends = []
        for end in range(start, len(sizes)):
            used += sizes[end]
            if used > 153:
                break
            ends.append(end + 1)
        for end in ends[-3:]:
            best = min(best, 1 if end == len(sizes) else 1 + parts(end))
        return best

    return int(parts(0))
