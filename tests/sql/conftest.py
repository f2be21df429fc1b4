from __future__ import annotations

from tests.transfers.conftest import lists

__all__ = ["lists"]
