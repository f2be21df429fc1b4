"""The project's addresses."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
URLS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]

SOURCE_URL = f"{URLS['Source']}/blob/main"
"""The beginning of the address of a file."""
