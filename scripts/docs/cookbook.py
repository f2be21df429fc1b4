"""The example DAGs that the cookbook shows. So a page shows what a test runs."""

from __future__ import annotations

import ast
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "example_dags"

SHOWN = (
    "example_sms_analysts",
    "example_sms_history",
    "example_sms_lender",
    "example_sms_on_call",
    "example_sms_one_time_code",
    "example_sms_reply_confirms",
    "example_sms_staging",
    "example_sms_who_got_what",
)


def blocks() -> dict[str, str]:
    """Return the blocks, by their names: a link to the file, and its code."""
    return {
        name: f"[`{name}.py`](../../example_dags/{name}.py)\n\n```python\n{code(name)}\n```" for name in SHOWN
    }


def all_code() -> list[str]:
    """Return the code of each example."""
    return list(map(code, SHOWN))


def code(name: str) -> str:
    """Return a DAG file without its docstring, which its page replaces, and without the future import."""
    source = (FOLDER / f"{name}.py").read_text()
    first = next(node for node in ast.parse(source).body if _is_shown(node))
    return "\n".join(source.splitlines()[first.lineno - 1 :]).strip()


def _is_shown(node: ast.stmt) -> bool:
    is_docstring = isinstance(node, ast.Expr)
    return not is_docstring and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
