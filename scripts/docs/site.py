"""Builds the site from the pages of ``docs/``, the README, the changelog, and the docstrings.

A warning, such as one about a link or an anchor that leads nowhere, is an error.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from scripts.docs.pages import FOLDER
from scripts.project import SOURCE_URL
from scripts.public_modules import public_modules

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = FOLDER.parent
TARGET = ROOT / "build" / "site"
SOURCE = ROOT / "build" / "site-source"
_CONFIGURATION = Path(__file__).parent / "sphinx"

_TOP_PAGES = {
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""The pages at the top of the repository that the site has, by its names for them."""

_TREE = {
    "Start": ("quick-start", "connection", "operators", "sandbox", "coming-from"),
    "Cookbook": ("cookbook/README",),
    "Guides": (
        "campaigns",
        "waiting",
        "rules",
        "plan-and-approve",
        "alerts",
        "approvals",
        "events",
        "mapped-tasks",
        "task-page",
        "sms-page",
        "ledger",
        "warehouse",
        "questions",
        "grafana",
        "privacy",
    ),
    "What holds": ("promises", "benchmarks", "versions"),
    "Reference": ("api/index",),
    "Contributing": (
        "architecture",
        "adding-a-gateway",
        "releasing",
        "contributing",
        "security",
        "changelog",
    ),
}

_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")
_RST_TITLE = "{}\n{}\n\n"


def prepare() -> None:
    """Write the pages that Sphinx reads."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(FOLDER, SOURCE)
    shutil.copy(_CONFIGURATION / "conf.py", SOURCE)
    (SOURCE / "_static").mkdir()
    for name, new_name in _TOP_PAGES.items():
        shutil.copy(ROOT / name, SOURCE / new_name)
    places = {SOURCE / new_name: ROOT / name for name, new_name in _TOP_PAGES.items()}
    for page in SOURCE.rglob("*.md"):
        original = places.get(page, FOLDER / page.relative_to(SOURCE))
        page.write_text(_with_links(page.read_text(), original.parent, page.parent))
    (SOURCE / "index.md").write_text(_index())
    recipes = sorted(path.stem for path in (SOURCE / "cookbook").glob("*.md") if path.stem != "README")
    with (SOURCE / "cookbook" / "README.md").open("a") as index:
        index.write(_toctree("", recipes, is_hidden=True))
    _write_api()


def build(target: Path, builder: str = "html") -> int:
    """Build the site, and return 0 if nothing is wrong with it."""
    prepare()
    with patch_docutils(), docutils_namespace():
        app = Sphinx(
            SOURCE,
            SOURCE,
            target,
            target.parent / "site-trees",
            builder,
            status=None,
            warningiserror=True,
            freshenv=True,
        )
        app.build()
    return int(app.statuscode)


def _with_links(page: str, folder: Path, new_folder: Path) -> str:
    """Return a page whose links lead to pages of the site, or to the repository."""

    def replace(found: re.Match[str]) -> str:
        file = (folder / found[1]).resolve()
        anchor = found[2] or ""
        if file.is_relative_to(FOLDER):
            moved = SOURCE / file.relative_to(FOLDER)
        elif (name := str(file.relative_to(ROOT))) in _TOP_PAGES:
            moved = SOURCE / _TOP_PAGES[name]
        elif name == "README.md":
            moved = SOURCE / "index.md"
        else:
            return f"]({SOURCE_URL}/{name}{anchor})"
        return f"]({_relative(moved, new_folder)}{anchor})"

    return _LINK.sub(replace, page)


def _relative(path: Path, folder: Path) -> str:
    ups = len(folder.relative_to(SOURCE).parts)
    return "/".join([*[".."] * ups, *path.relative_to(SOURCE).parts])


def _index() -> str:
    readme = (ROOT / "README.md").read_text()
    readme = readme[: readme.index("## Where to read on")]
    trees = (_toctree(caption, entries) for caption, entries in _TREE.items())
    return _with_links(readme, ROOT, SOURCE) + "".join(trees)


def _toctree(caption: str, entries: tuple[str, ...] | list[str], *, is_hidden: bool = False) -> str:
    options = f":caption: {caption}\n" if caption else ""
    hidden = ":hidden:\n" if is_hidden else ""
    names = "\n".join(entries)
    return f"\n```{{toctree}}\n{options}{hidden}:maxdepth: 1\n\n{names}\n```\n"


def _write_api() -> None:
    folder = SOURCE / "api"
    folder.mkdir()
    names = list(dict.fromkeys(public_modules()))
    for name in names:
        (folder / f"{name}.rst").write_text("".join(_api_page(name)))
    listed = "\n".join(f"   {name}" for name in names)
    title = _RST_TITLE.format("Python API", "=" * 10)
    (folder / "index.rst").write_text(f"{title}.. toctree::\n   :maxdepth: 1\n\n{listed}\n")


def _api_page(name: str) -> Iterator[str]:
    title = name.removeprefix("airflow_provider_winsms.")
    yield _RST_TITLE.format(title, "=" * len(title))
    yield f".. automodule:: {name}\n"


def main() -> int:
    """Build the site."""
    parser = argparse.ArgumentParser(prog="make docs", description=__doc__.splitlines()[0])
    parser.add_argument("--check-links", action="store_true", help="ask each address on the web, too")
    arguments = parser.parse_args()
    status = build(TARGET)
    print(f"{TARGET.relative_to(ROOT)}/index.html")  # noqa: T201 - a command
    if status == 0 and arguments.check_links:
        status = build(TARGET.parent / "links", "linkcheck")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
