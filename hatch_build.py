"""Gives a package index the README with absolute links: it shows the README far from its files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")
_VERSION = re.compile(r'__version__ = "(.+)"')


class ReadmeHook(MetadataHookInterface):
    """Fills in the field ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the README of this folder."""
        root = Path(self.root)
        (version,) = _VERSION.findall((root / "airflow_provider_winsms/__init__.py").read_text())
        page = (root / "README.md").read_text()
        text = _with_absolute_links(page, metadata["urls"]["Source"], f"v{version}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def _with_absolute_links(page: str, repository: str, revision: str) -> str:
    def replace(found: re.Match[str]) -> str:
        mark, words, path = found.groups()
        kind = "raw" if mark else "blob"
        return f"{mark}[{words}]({repository}/{kind}/{revision}/{path})"

    return _LINK.sub(replace, page)
