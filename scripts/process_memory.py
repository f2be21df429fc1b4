"""The memory of this process. Only Linux tells it."""

from __future__ import annotations

import re
from pathlib import Path

_STATUS = Path("/proc/self/status")
_PEAK_TO_FORGET = Path("/proc/self/clear_refs")


def is_known() -> bool:
    """Whether this system tells the peak memory of a process."""
    return _STATUS.exists()


def reset_peak() -> float:
    """Forget the peak so far, and return the resident megabytes now."""
    if _PEAK_TO_FORGET.exists():
        _PEAK_TO_FORGET.write_text("5")
    return _megabytes("VmRSS")


def peak() -> float:
    """Return the most resident megabytes since the last reset; 0 if the system does not tell."""
    return _megabytes("VmHWM")


def _megabytes(name: str) -> float:
    if not is_known():
        return 0.0
    (kilobytes,) = re.findall(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return int(kilobytes) / 1000
