"""Excerpts of the made-up gateway's files, for the page on new gateways. So what the page shows is tested."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PIGEON = "tests/support/pigeon_provider/sms_pigeon_for_tests"

_EXCERPTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "capabilities": (f"{_PIGEON}/gateway.py", "PigeonGateway", ("capabilities", "limits", "currency")),
    "numbers": (f"{_PIGEON}/gateway.py", "PigeonGateway", ("number_plan",)),
    "sign-in": (f"{_PIGEON}/gateway.py", "PigeonGateway", ("authentication",)),
    "problems": (f"{_PIGEON}/gateway.py", "", ("PROBLEMS",)),
    "problem": (f"{_PIGEON}/gateway.py", "PigeonGateway", ("problem",)),
    "send": (f"{_PIGEON}/gateway.py", "PigeonGateway", ("send", "send_batch")),
    "cancel": (f"{_PIGEON}/gateway.py", "PigeonGateway", ("cancel",)),
    "incoming": (f"{_PIGEON}/gateway.py", "PigeonGateway", ("incoming",)),
    "receipts": (f"{_PIGEON}/parsing.py", "", ("receipts",)),
    "states": (f"{_PIGEON}/parsing.py", "", ("STATES", "REASONS")),
    "hook": (f"{_PIGEON}/hook.py", "", ("PigeonHook",)),
    "provider": (f"{_PIGEON}/__init__.py", "", ("get_provider_info",)),
    "under-test": ("tests/gateways/under_test.py", "", ("GatewayUnderTest",)),
    "accept": ("tests/gateways/pigeon_under_test.py", "", ("accept", "UNDER_TEST")),
}
"""For each block: the file, the class, and the names that are defined there."""


def blocks() -> dict[str, str]:
    """Return the blocks, by their names."""
    return {
        f"gateway-{name}": f"[`{Path(path).name}`](../{path})\n\n```python\n{code(name)}\n```"
        for name, (path, *_) in _EXCERPTS.items()
    }


def all_code() -> list[str]:
    """Return the code of each excerpt."""
    return list(map(code, _EXCERPTS))


def code(name: str) -> str:
    """Return definitions as they stand in a file.

    :raises KeyError: if one of them is not there.
    """
    path, within, wanted = _EXCERPTS[name]
    source = (_ROOT / path).read_text()
    body = ast.parse(source).body
    if within:
        body = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == within).body
    found = {name: node for node in body for name in _names(node)}
    nodes = [found[name] for name in wanted]
    # The formatter has two empty lines after a function.
    return "".join(_source(source, n) + "\n" * (1 + 2 * _is_function(n)) for n in nodes).strip()


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _source(source: str, node: ast.stmt) -> str:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    lines = source.splitlines()[first - 1 : node.end_lineno]
    if isinstance(node, ast.ClassDef) and node.name == "GatewayUnderTest":
        end = next(each.lineno for each in node.body if isinstance(each, ast.FunctionDef))
        lines = source.splitlines()[first - 1 : end - 2]
    return textwrap.dedent("\n".join(lines))


def _is_function(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef)
