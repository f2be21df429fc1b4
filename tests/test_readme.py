"""What the README and the first pages show is run here."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from airflow.cli.cli_parser import get_parser

from airflow_provider_winsms.gateways.winsms.connection import FIELDS
from airflow_provider_winsms.hooks.winsms import WinSMSHook
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.sending.outcome import SendOutcome

if TYPE_CHECKING:
    from tests.support.task_runner import TaskRunner

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
FIRST_PAGES = ("quick-start", "connection", "operators", "sandbox")
SHOWN = "\n".join([README, *((ROOT / "docs" / f"{name}.md").read_text() for name in FIRST_PAGES)])
SHELL_LINES = [
    line for block in re.findall(r"```bash\n(.*?)```", SHOWN, re.DOTALL) for line in block.splitlines()
]

SANDBOX = "python -m airflow_provider_winsms.sandbox "


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", SHOWN, re.DOTALL)


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def test_the_two_commands_come_first_and_exist() -> None:
    assert [line.split("#")[0].strip() for line in SHELL_LINES[:2]] == ["make demo", "make test"]
    named = set(re.findall(r"`make (\w+)", SHOWN))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= targets


def test_ten_lines_send_and_wait(runner: TaskRunner, sandbox: Sandbox) -> None:
    code, *_ = blocks("python")
    assert len([line for line in code.splitlines() if line]) == 10
    named = code.replace("):\n", ") as dag:\n", 1)
    namespace: dict[str, Any] = {}
    exec(compile(named, "README.md", "exec"), namespace)  # noqa: S102 - the README's own code
    send: SmsSendOperator = namespace["dag"].get_task("send")
    send.text, send.poll_interval = "The load is done.", 1
    assert runner.run(send).error is None
    assert runner.result["delivery"]["delivered"] == 1
    assert [text["mobileNumber"] for text in sandbox.outbox()] == ["27000000010"]


def test_the_first_dag_sends_and_waits(
    runner: TaskRunner, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    _, code, _ = blocks("python")
    sandbox.set_account(credit_balance=10_000)
    namespace: dict[str, Any] = {}
    exec(compile(code, "quick-start.md", "exec"), namespace)  # noqa: S102 - the page's own code
    send: SmsSendOperator = namespace["send"]
    wait = send.dag.get_task("wait")
    assert wait.upstream_task_ids == {"send"}
    send.text = "The load is done."
    assert runner.run(send).error is None
    assert [text["mobileNumber"] for text in sandbox.outbox()] == ["27000000010", "27000000101"]
    assert blocks("text")[0].strip() in capsys.readouterr().out


def test_the_send_that_is_shown_sends(runner: TaskRunner, sandbox: Sandbox, tmp_path: Path) -> None:
    *_, code = blocks("python")
    runner.add_database("warehouse", tmp_path / "warehouse.db")
    send = eval(code, {"SmsSendOperator": SmsSendOperator, "customers": ["27825550101"]})  # noqa: S307 - as above
    assert runner.run(send).error is None
    assert [text["mobileNumber"] for text in sandbox.outbox()] == ["27825550101"]


@pytest.mark.parametrize("line", [line for line in SHELL_LINES if "AIRFLOW_CONN" in line])
def test_each_connection_shown_can_be_read(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, value = shlex.split(line)[1].partition("=")
    connection = json.loads(value)
    connection["password"] = connection["password"].replace(" ", "-")
    monkeypatch.setenv(name, json.dumps(connection))
    assert WinSMSHook().endpoint.base_url.endswith("/api/rest/v1")


def test_the_result_shown_has_the_keys_of_a_result() -> None:
    (shown,) = blocks("json")
    result = json.loads(shown)
    assert list(result) == ["batch", *SendOutcome().summary()]
    assert set(result["rejected"]) <= {str(reason) for reason in RejectReason}


def test_the_table_of_extras_is_the_connection_form() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", SHOWN, re.MULTILINE))
    expected = {name: str(field["schema"]["default"] or "none") for name, field in FIELDS.items()}
    assert {name: value.strip("`") for name, value in rows.items()} == expected


@pytest.mark.parametrize("line", [line for line in SHELL_LINES if line.startswith("curl")])
def test_each_command_to_the_sandbox_works(line: str) -> None:
    with Sandbox() as sandbox:
        url = next(word for word in words(line) if word.startswith("http"))
        data = next((word for word in words(line) if word.startswith("{")), None)
        method = "POST" if data or "POST" in words(line) else "GET"
        answer = requests.request(method, url.replace(":8025", f":{sandbox.port}"), data=data, timeout=10)
        assert answer.ok, answer.text


def test_the_sandbox_starts_as_shown() -> None:
    line, _ = (line for line in SHELL_LINES if line.startswith(SANDBOX))
    _, *arguments = (word.replace("8025", "0") for word in words(line))
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("WinSMS sandbox: http://127.0.0.1:")
        process.terminate()
    assert process.returncode == 0


def test_the_check_of_a_text_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = (line for line in SHELL_LINES if line.startswith("airflow "))
    arguments = get_parser().parse_args(words(line)[1:])
    arguments.func(arguments)
    printed = [row.rstrip() for row in capsys.readouterr().out.rstrip().splitlines()]
    assert blocks("text")[-1] == "".join(f"{row}\n" for row in printed)


@pytest.mark.parametrize("line", SHELL_LINES)
def test_every_command_is_one_that_a_test_runs(line: str) -> None:
    # test_provider.py installs the wheel; the tests above run the others.
    known = ("make ", "pip install .", "export AIRFLOW_CONN", "curl ", "airflow sms check ", SANDBOX)
    assert line.startswith(known)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!https?:)([^)]+)\)", README))))
def test_each_file_that_is_linked_to_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", re.findall(r"^\| `((?:\w+\.)+\w+)`", SHOWN, re.MULTILINE))
def test_each_class_named_exists(name: str) -> None:
    import importlib

    module, _, attribute = name.rpartition(".")
    assert getattr(importlib.import_module(f"airflow_provider_winsms.{module}"), attribute)
