"""The page that tells contributors where things are tells the truth, and the public imports stay."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGE = ROOT / "airflow_provider_winsms"

PUBLIC = {
    "exceptions": {"SmsError", "OutcomeUnknown"},
    "hooks.sms": {"SmsHook"},
    "hooks.winsms": {"WinSMSHook"},
    "messages": {"Message", "Receipt", "Recipient"},
    "operators.sms": {
        "SmsBalanceCheckOperator",
        "SmsCancelScheduledOperator",
        "SmsSendBatchOperator",
        "SmsSendOperator",
    },
    "operators.views": {"SmsViewsOperator"},
    "queues.sms": {"SmsMessageQueueProvider"},
    "sandbox": {"Sandbox"},
    "sensors.sms": {"SmsBalanceSensor", "SmsDeliverySensor"},
    "transfers.sms_to_sql": {"SmsToSqlOperator"},
    "transfers.sql_to_sms": {"SqlToSmsOperator"},
    "triggers.incoming": {"SmsIncomingTrigger"},
    "triggers.sms": {"SmsBalanceTrigger", "SmsDeliveryTrigger", "SmsIncomingTrigger"},
}


def answers() -> list[tuple[str, str]]:
    """Return each file that the page names, and the name to look for in it."""
    rows = (row for row in PAGE.splitlines() if row.startswith("|") and "](../" in row)
    return [
        (path, re.findall(r"`([^`]+)` \|$", row)[0])
        for row in rows
        for path in re.findall(r"\]\(\.\./([^)]+)\)", row)
    ]


@pytest.mark.parametrize(("path", "name"), answers())
def test_what_the_page_points_to_is_there(path: str, name: str) -> None:
    source = (ROOT / path).read_text()
    assert re.search(rf"^\s*(?:(?:async )?def|class) {name}\b|^{name}\b", source, re.MULTILINE)


@pytest.mark.parametrize("module", PUBLIC)
def test_public_modules_keep_their_names(module: str) -> None:
    found = import_module(f"airflow_provider_winsms.{module}")
    assert PUBLIC[module] <= set(dir(found))


def test_few_modules_lie_in_the_root() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]) <= 10


def test_every_folder_stands_in_a_layer() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    missing = {folder for folder in folders if f"`{folder}`" not in PAGE and folder != "sandbox"}
    assert not missing


def test_no_class_is_longer_than_200_lines_and_no_function_longer_than_40() -> None:
    """Constructors of senders and of the notifier list all parameters; the provider's data are a form."""
    long = [
        node.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= (200 if isinstance(node, ast.ClassDef) else 40)
    ]
    assert sorted(long) == [*["__init__"] * 5, "get_provider_info"]


def test_properties_are_in_files_that_end_in_properties() -> None:
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if not path.stem.endswith("_properties")]
    mixed = {str(path.relative_to(ROOT / "tests")) for path in files if has_properties(path.read_text())}
    assert not mixed


def has_properties(source: str) -> bool:
    """Whether a module imports what makes a property or a state machine."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return any(
        node.module == "hypothesis.stateful"
        or (node.module == "hypothesis" and "given" in {name.name for name in node.names})
        for node in imports
    )
