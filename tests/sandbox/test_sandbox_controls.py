"""The sandbox as a tool: its control surface, its request log, its state file, its socket, its command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.sandbox.controls import CONTROLS
from airflow_provider_winsms.sandbox.faults import FAULTS
from airflow_provider_winsms.sandbox.operations import OPERATIONS
from airflow_provider_winsms.sandbox.plan import MAGIC_NUMBERS
from tests.sandbox.sandbox_api import AT_ONCE, NOW, ODD_METHODS, OTHER, PHONE, Api, ask, wire_minute

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

YES = "27000000020"
COMMAND = [sys.executable, "-m", "airflow_provider_winsms.sandbox"]


def test_the_index_lists_controls_magic_numbers_and_faults(api: Api) -> None:
    index = api.control("GET", "").json()
    assert index["baseUrl"] == api.box.base_url
    assert len(index["operations"]) == len(OPERATIONS) == 11
    assert {(each["method"], each["path"]) for each in index["controls"]} == {
        (control.method, control.path) for control in CONTROLS
    }
    assert set(index["magicNumbers"]) == set(MAGIC_NUMBERS)
    assert set(index["faults"]) == set(FAULTS)


def test_every_control_does_what_its_method_does(api: Api) -> None:
    api.ids(AT_ONCE)
    reply = {"mobileNumber": PHONE, "messageText": "Hello"}
    first = api.control("POST", "/incoming", reply).json()["incomingApiMessageId"]
    assert api.control("POST", "/shortcode", reply).json() == {"incomingApiMessageId": first + 1}
    assert api.control("GET", "/outbox").json() == api.box.outbox()
    assert api.control("GET", "/requests").json() == api.box.requests()
    assert api.control("GET", "/account").json() == api.box.account()
    assert api.control("GET", "/clock").json() == {
        "now": "2026-03-02T10:30:00+02:00",
        "wireTime": wire_minute(),
        "speed": 0,
    }
    assert api.control("POST", "/clock", {"advanceSeconds": 90}).json()["wireTime"] == wire_minute(minutes=1)
    assert api.box.now() == NOW + timedelta(seconds=90)


def test_faults_are_controlled_over_http(api: Api) -> None:
    asked = {"fault": "429-too-many-requests", "operation": "getCreditBalance", "retryAfter": 3}
    assert api.control("POST", "/faults", asked).json() == {"id": 1}
    assert api.control("GET", "/faults").json() == api.box.faults()
    assert api.call("GET", "/credits/balance").headers["Retry-After"] == "3"
    assert api.control("DELETE", "/faults").json() == {}
    assert api.box.faults() == []


def test_the_account_is_controlled_over_http(api: Api) -> None:
    change = {"locked": True, "trialNumber": PHONE, "creditBalance": 12.5, "transactional": True}
    assert api.control("POST", "/account", change).json() == change
    assert api.control("POST", "/account", {"trialNumber": None}).json() == change | {"trialNumber": None}
    assert api.balance() == 12.5


def test_the_order_of_the_scheduled_list_is_controlled_over_http(api: Api) -> None:
    assert api.control("GET", "/scheduled").json() == {"newestFirst": False}
    assert api.control("POST", "/scheduled", {"newestFirst": True}).json() == {"newestFirst": True}
    assert api.control("GET", "/scheduled").json() == {"newestFirst": True}


@pytest.mark.parametrize(("path", "code"), [("/optouts", "OPTEDOUT"), ("/dnc", "WASPADNC")])
def test_lists_of_numbers_are_controlled_over_http(api: Api, path: str, code: str) -> None:
    number = {"mobileNumber": PHONE}
    assert api.control("POST", path, number).status_code == 200
    assert api.send(PHONE)[0]["acceptError"] == code
    assert api.control("DELETE", path, number).status_code == 200
    assert api.send(PHONE)[0]["acceptError"] == ""
    assert api.control("DELETE", path, number).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/incoming", {}, "Missing: ['mobileNumber', 'messageText']"),
        ("POST", "/incoming", {"mobileNumber": 27, "messageText": ""}, "mobileNumber must be: text"),
        ("POST", "/incoming", {"mobileNumber": "x", "messageText": ""}, "3 to 15 digits"),
        ("POST", "/incoming", [], "must be a JSON object"),
        ("POST", "/clock", {"advanceSeconds": "60"}, "advanceSeconds must be: number"),
        ("POST", "/clock", {"advanceSeconds": True}, "advanceSeconds must be: number"),
        ("POST", "/clock", {"advanceSeconds": -1}, "advanced by 0"),
        ("POST", "/faults", {"fault": "gremlins"}, "There is no fault 'gremlins'"),
        ("POST", "/faults", {"fault": "latency", "delay": 1}, "Unknown: ['delay']"),
        ("POST", "/account", {"creditBalance": -1}, "Credits must be"),
        ("POST", "/account", {"locked": 1}, "locked must be: boolean"),
        ("POST", "/account", {"trialNumber": "x"}, "3 to 15 digits"),
        ("POST", "/scheduled", {"newestFirst": 1}, "newestFirst must be: boolean"),
        ("POST", "/reset", {"really": True}, "takes nothing"),
    ],
)
def test_bad_control_input_is_400_and_says_why(
    api: Api, method: str, path: str, body: Any, said: str
) -> None:
    answer = api.control(method, path, body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_a_refused_change_of_the_account_changes_nothing(api: Api) -> None:
    api.control("POST", "/account", {"locked": True, "creditBalance": -1})
    assert api.box.account()["locked"] is False


def test_control_bodies_that_are_no_json_are_400(api: Api) -> None:
    answer = requests.post(f"{api.root}/_sandbox/incoming", data=b"{", timeout=5)
    assert (answer.status_code, answer.json()) == (400, {"error": "Invalid JSON payload received"})


def test_an_unknown_control_is_404_and_a_wrong_method_405(api: Api) -> None:
    assert api.control("GET", "/nothing").status_code == 404
    answer = api.control("PUT", "/clock", {})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")


def test_vendor_requests_are_logged_without_their_bodies(api: Api) -> None:
    api.send(PHONE, OTHER)
    api.status(1, 2, 3)
    api.get("/sms/incoming", limit=7)
    api.call("GET", "/nowhere")
    api.call("PUT", "/sms/incoming")
    api.box.add_fault("lost-after-acceptance")
    with pytest.raises(requests.ConnectionError):
        api.send(PHONE)
    api.control("GET", "/outbox")
    log = api.box.requests()
    assert [(row["operation"], row["method"], row["status"], row["rows"]) for row in log] == [
        ("smsSend", "POST", 200, 2),
        ("smsStatus", "POST", 200, 3),
        ("getIncomingMessages", "GET", 200, 0),
        (None, "GET", 404, 0),
        ("getIncomingMessages", "PUT", 405, 0),
        ("smsSend", "POST", None, 1),
    ]
    assert log[2]["path"] == "/api/rest/v1/sms/incoming"
    assert set(log[0]) == {"operation", "method", "path", "status", "rows"}


def test_a_send_of_many_is_logged_with_its_recipients(api: Api) -> None:
    message = {"message": "Hello", "recipients": [{"mobileNumber": PHONE}] * 2}
    api.post("/sms/outgoing/sendmulti", {"messages": [message, message]})
    assert api.box.requests()[0]["rows"] == 4


def test_a_reset_forgets_everything_but_the_time(api: Api) -> None:
    api.box.advance(60)
    api.send(PHONE, AT_ONCE, YES)
    api.box.incoming(PHONE, "STOP")
    api.box.shortcode(PHONE, "Hello")
    api.box.add_fault("500-before-acceptance")
    api.box.set_account(locked=True, trial_number=PHONE, transactional=True)
    api.box.add_dnc(OTHER)
    assert api.control("POST", "/reset").json() == {}
    assert (api.box.outbox(), api.box.requests(), api.box.faults()) == ([], [], [])
    assert api.box.account() == {
        "creditBalance": 100,
        "locked": False,
        "trialNumber": None,
        "transactional": False,
    }
    assert all(row["accepted"] for row in api.send(PHONE, OTHER))
    assert api.box.now() == NOW + timedelta(seconds=60)
    api.box.advance(60)
    for path in ("/sms/incoming", "/shortcode/incoming"):
        assert api.get(path)["resultsTotalAvailable"] == 0


def test_a_state_file_survives_a_restart_the_clock_included(tmp_path: Path) -> None:
    file = tmp_path / "winsms.db"
    with Sandbox(state=file, speed=0, now=NOW, credits=10) as box:
        api = Api(box)
        delivered, waiting = api.ids(AT_ONCE), api.ids(PHONE, scheduledTime=wire_minute(days=2))
        box.incoming(PHONE, "STOP")
        box.set_account(locked=True)
        box.advance(86_400)
        api.session.close()
    with Sandbox(state=file, speed=0, credits=99) as box:
        api = Api(box)
        assert box.now() == NOW + timedelta(days=1)
        assert api.balance() == 8
        assert api.status(*delivered)[0]["statusDelivered"]
        assert api.cancel(*waiting)[0]["deleted"]
        assert api.get("/sms/incoming")["resultsTotalAvailable"] == 1
        assert api.send(PHONE)[0]["acceptError"] == "ACCOUNTLOCKED"
        box.set_account(locked=False)
        assert api.send(PHONE)[0]["acceptError"] == "OPTEDOUT"
        assert api.ids(AT_ONCE)[0] > waiting[0]
        assert box.incoming(PHONE, "Hello") == 5_000_002
        api.session.close()


def test_the_time_of_a_running_clock_never_goes_back_over_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "winsms.db"
    with Sandbox(state=file, speed=1) as box:
        box.advance(86_400)
        before = box.now()
    with Sandbox(state=file, speed=1) as box:
        assert timedelta(0) <= box.now() - before < timedelta(seconds=60)


def test_a_state_file_in_no_folder_or_in_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be used"):
        Sandbox(state=tmp_path / "no" / "such" / "folder.db")
    shared = tmp_path / "shared.db"
    with Sandbox(state=shared), pytest.raises(ValueError, match="locked"):
        Sandbox(state=shared)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com", ""])  # noqa: S104 - refused
def test_a_host_that_is_not_loopback_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"), Sandbox(host=host):
        pass


def test_a_sandbox_that_does_not_listen_has_no_address() -> None:
    box = Sandbox()
    with pytest.raises(RuntimeError, match="context manager"):
        _ = box.base_url
    box.close()


def test_two_sandboxes_are_two_accounts(api: Api) -> None:
    with Sandbox(api_key="another", credits=5) as other:
        assert other.port != api.box.port
        assert Api(other).balance() == 5
        assert api.balance() == 100


def test_one_connection_serves_many_requests_and_is_closed_at_the_end() -> None:
    with Sandbox() as box, socket.create_connection(("127.0.0.1", box.port)) as connection:
        request = (
            b"GET /api/rest/v1/credits/balance HTTP/1.1\r\nHost: localhost\r\n"
            b"AUTHORIZATION: sandbox-key\r\n\r\n"
        )
        for _ in range(3):
            connection.sendall(request)
            assert b'"creditBalance": 10000' in connection.recv(65_536)
        box.close()
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: x\r\n", b"400"),
        (b"Content-Length: -1\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\n", b"411"),
        (b"Content-Length: 900000000\r\nContent-Type: application/json\r\n", b"413"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_and_the_connection_closed(
    box: Sandbox, head: bytes, status: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", box.port)) as connection:
        always = b"Host: localhost\r\nAUTHORIZATION: sandbox-key\r\n"
        connection.sendall(b"POST /api/rest/v1/sms/outgoing/send HTTP/1.1\r\n" + always + head + b"\r\n")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 " + status)


def test_half_a_body_is_not_a_request(api: Api) -> None:
    with socket.create_connection(("127.0.0.1", api.box.port)) as connection:
        connection.sendall(b"POST /api/rest/v1/sms/outgoing/send HTTP/1.1\r\nContent-Length: 90\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert api.box.requests() == []


@pytest.mark.parametrize("said", [b"BREW / HTCPCP/1.0", b"BREW HTCPCP"])
def test_what_is_not_http_is_not_answered(box: Sandbox, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", box.port)) as connection:
        connection.sendall(said + b"\r\n\r\n")
        assert connection.recv(1) == b""


def test_a_control_takes_its_own_methods_only(box: Sandbox) -> None:
    for method in (*ODD_METHODS, "PUT"):
        status, answer = ask(box, method, "/_sandbox/clock")
        assert (status, json.loads(answer)) == (
            405,
            {"error": f"This control takes GET or POST, not {method}."},
        )
        assert ask(box, method, "/_sandbox/nothing")[0] == 404


def test_requests_in_parallel_are_carried_out_one_by_one(box: Sandbox) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def send(_: int) -> list[int]:
        api = Api(box)
        keys = api.ids(*[AT_ONCE] * 5)
        api.session.close()
        return keys

    with ThreadPoolExecutor(8) as pool:
        keys = [key for sent in pool.map(send, range(16)) for key in sent]
    assert len(set(keys)) == 80
    assert box.account()["creditBalance"] == 20


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = ["--port", "0", "--api-key", "a-key-of-my-own", "--speed", "0"]
    arguments += ["--state", str(tmp_path / "winsms.db")]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as started:
        yield started
        started.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_listens_and_stops_cleanly(
    process: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert process.stdout
    first, second = process.stdout.readline(), process.stdout.readline()
    base_url = first.removeprefix("WinSMS sandbox: ").strip()
    connection = json.loads(second.strip().removeprefix("AIRFLOW_CONN_WINSMS_DEFAULT='").removesuffix("'"))
    assert connection == {"conn_type": "winsms", "host": base_url, "password": "<your --api-key>"}
    headers = {"AUTHORIZATION": "a-key-of-my-own"}
    body = {"message": "A text of mine", "recipients": [{"mobileNumber": PHONE}]}
    answer = requests.post(f"{base_url}/sms/outgoing/send", json=body, headers=headers, timeout=5)
    assert answer.json()["recipients"][0]["accepted"]
    os.kill(process.pid, number)
    said, _ = process.communicate(timeout=5)
    assert process.returncode == 0
    for secret in ("a-key-of-my-own", PHONE, "A text of mine"):
        assert secret not in first + second + said


def test_a_state_file_survives_a_process_that_is_killed(
    process: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert process.stdout
    root = process.stdout.readline().removeprefix("WinSMS sandbox: ").partition("/api/")[0]
    for control, body in (("clock", {"advanceSeconds": 5}), ("optouts", {"mobileNumber": PHONE})):
        requests.post(f"{root}/_sandbox/{control}", json=body, timeout=5).raise_for_status()
    process.kill()
    process.wait(5)
    with Sandbox(state=tmp_path / "winsms.db") as box:
        assert Api(box).send(PHONE)[0]["acceptError"] == "OPTEDOUT"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_help_documents_everything() -> None:
    said = run("--help").stdout
    names = [*MAGIC_NUMBERS, *FAULTS, *(o.name for o in OPERATIONS), *(c.path for c in CONTROLS)]
    assert [name for name in names if name not in said] == []
    options = "--host --port --api-key --speed --state --seed --credits --wire --no-optouts-in-incoming"
    assert [option for option in (*options.split(), "--newest-first") if option not in said] == []
    assert max(map(len, said.splitlines())) <= 120


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--host", "0.0.0.0"], "loopback"), (["--speed", "-1"], "speed"), (["--wire", "v9"], "invalid choice")],  # noqa: S104
)
def test_the_command_refuses_what_makes_no_sense(arguments: list[str], said: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert said in ended.stderr
