"""Web pages of other hosts, and other users of this machine, get nothing from the sandbox."""

from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.sandbox import Sandbox
from tests.sandbox.sandbox_api import AT_ONCE, NOW, PHONE, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OUTBOX = "/_sandbox/outbox"
INCOMING = "/api/rest/v1/sms/incoming"
RESET = "/_sandbox/reset"
SECRET = "The code is 4711"  # noqa: S105 - a text

HERE = [
    *("127.0.0.1", "127.0.0.1:{port}", "127.0.0.1:80", "127.0.0.1:", "127.1.2.3", "localhost"),
    *("LocalHost:1", "localhost.:{port}", "[::1]:{port}", "[::1]", "[0:0:0:0:0:0:0:1]"),
    *("[::ffff:127.0.0.1]:{port}", " localhost "),
]
ELSEWHERE = [
    *("evil.example", "evil.example:{port}", "EVIL.EXAMPLE.:{port}", "localhost.evil.example:{port}"),
    *("127.0.0.1.evil.example", "127.0.0.1.nip.example", "evil.localhost.example"),
    *("localhost@evil.example", "evil.example@localhost", "localhost,evil.example"),
    *("localhost evil.example", "localhost/evil.example", "localhost:{port}:evil.example", "localhost.."),
    *("local host", "notlocalhost", "0.0.0.0:{port}", "[::]:{port}", "[::ffff:192.0.2.1]"),
    *("[2001:db8::1]:{port}", "[::1", "::1", "192.0.2.1:{port}", "169.254.169.254", "2130706433"),
    *("0x7f.0.0.1", "xn--lcalhost-54a", ":{port}", ".", ""),
]
PAGES_HERE = [
    *("http://127.0.0.1:8080", "http://localhost:3000", "https://localhost", "http://[::1]:9"),
    "HTTP://LOCALHOST.",
]
PAGES_ELSEWHERE = [
    *("http://evil.example", "http://evil.example:{port}", "https://localhost.evil.example"),
    *("http://127.0.0.1.evil.example:{port}", "http://localhost@evil.example"),
    *("http://evil.example#@localhost", "null", "", "file://", "file://localhost"),
    *("chrome-extension://abcdefgh", "localhost:{port}", "http://[::1", "http://0.0.0.0:{port}"),
    "http://192.0.2.1",
]


@pytest.fixture(scope="module")
def listening() -> Iterator[Sandbox]:
    with Sandbox(speed=0, now=NOW) as box:
        yield box


@pytest.fixture
def texted(listening: Sandbox) -> Sandbox:
    """A sandbox with a text in its outbox and another in its list of replies."""
    listening.reset()
    body = {"message": SECRET, "recipients": [{"mobileNumber": AT_ONCE}]}
    headers = [("Host", "localhost"), ("Content-Type", "application/json")]
    assert (
        ask(listening, "POST", "/api/rest/v1/sms/outgoing/send", headers, json.dumps(body).encode())[0] == 200
    )
    listening.incoming(PHONE, SECRET)
    return listening


def assert_refused(box: Sandbox, answer: tuple[int, str], status: int, word: str) -> None:
    assert answer[0] == status
    assert word in json.loads(answer[1])["error"]
    assert "evil" not in answer[1]
    assert len(box.outbox()) == 1


@pytest.mark.parametrize("target", [OUTBOX, INCOMING])
@pytest.mark.parametrize("host", HERE)
def test_a_request_to_this_machine_is_answered(texted: Sandbox, host: str, target: str) -> None:
    status, body = ask(texted, "GET", target, [("Host", host)])
    assert status == 200
    assert SECRET in body


@pytest.mark.parametrize("target", [OUTBOX, INCOMING])
@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_request_to_another_host_is_refused(texted: Sandbox, host: str, target: str) -> None:
    assert_refused(texted, ask(texted, "GET", target, [("Host", host)]), 403, "another host")


@pytest.mark.parametrize("method", ["POST", "DELETE", "TRACE", "OPTIONS", "post"])
def test_no_method_reaches_the_sandbox_under_another_host(texted: Sandbox, method: str) -> None:
    assert_refused(texted, ask(texted, method, RESET, [("Host", "evil.example")], b"{}"), 403, "another host")


@pytest.mark.parametrize(
    "hosts", [[], ["localhost", "evil.example"], ["evil.example", "localhost"], ["localhost", "localhost"]]
)
def test_a_request_without_exactly_one_host_is_refused(texted: Sandbox, hosts: list[str]) -> None:
    answer = ask(texted, "POST", RESET, [("Host", host) for host in hosts])
    assert_refused(texted, answer, 400, "exactly one Host")


@pytest.mark.parametrize(
    ("host", "target", "status"),
    [
        ("localhost", "http://127.0.0.1:{port}", 200),
        ("localhost", "http://evil.example", 403),
        ("localhost", "http://evil.example:{port}", 403),
        ("localhost", "https://localhost@evil.example", 403),
        ("evil.example", "http://localhost:{port}", 403),
        ("localhost", "http://[::1", 400),
    ],
)
def test_the_host_of_an_absolute_target_counts_too(
    texted: Sandbox, host: str, target: str, status: int
) -> None:
    absolute = target.format(port=texted.port) + RESET
    assert ask(texted, "POST", absolute, [("Host", host)])[0] == status
    assert len(texted.outbox()) == (0 if status == 200 else 1)


@pytest.mark.parametrize("header", ["Origin", "Referer"])
@pytest.mark.parametrize("page", PAGES_HERE)
def test_a_page_of_this_machine_may_use_the_controls(texted: Sandbox, header: str, page: str) -> None:
    assert ask(texted, "POST", RESET, [("Host", "localhost"), (header, page)])[0] == 200
    assert texted.outbox() == []


@pytest.mark.parametrize("header", ["Origin", "Referer"])
@pytest.mark.parametrize("page", PAGES_ELSEWHERE)
def test_a_page_of_another_host_changes_nothing(texted: Sandbox, header: str, page: str) -> None:
    answer = ask(texted, "POST", RESET, [("Host", "localhost"), (header, page)])
    assert_refused(texted, answer, 403, header)


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json"],
)
def test_a_form_of_a_foreign_page_posts_nothing(texted: Sandbox, content_type: str) -> None:
    body = b'{"mobileNumber": "27825550101", "messageText": "STOP"}'
    headers = [("Host", "localhost"), ("Content-Type", content_type), ("Origin", "http://evil.example")]
    assert_refused(texted, ask(texted, "POST", "/_sandbox/incoming", headers, body), 403, "Origin")
    assert_refused(texted, ask(texted, "OPTIONS", "/_sandbox/incoming", headers), 403, "Origin")


@pytest.mark.parametrize(
    "origins", [["http://localhost", "http://evil.example"], ["http://evil.example"] * 2]
)
def test_one_foreign_origin_among_several_is_enough(texted: Sandbox, origins: list[str]) -> None:
    answer = ask(texted, "POST", RESET, [("Host", "localhost"), *(("Origin", origin) for origin in origins)])
    assert_refused(texted, answer, 403, "Origin")


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


@pytest.mark.parametrize("mode", [None, 0o644, 0o666, 0o640])
def test_only_its_owner_can_read_a_state_file_and_what_lies_beside_it(
    tmp_path: Path, mode: int | None
) -> None:
    file = tmp_path / "winsms.db"
    if mode is not None:
        file.touch(mode)
        file.chmod(mode)
    with Sandbox(state=file, speed=0, now=NOW) as box:
        box.incoming(PHONE, SECRET)
        assert modes(tmp_path) == {"winsms.db": 0o600, "winsms.db-wal": 0o600}
    assert modes(tmp_path) == {"winsms.db": 0o600}


def test_a_state_of_a_killed_sandbox_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    file, copy = tmp_path / "winsms.db", tmp_path / "copy"
    copy.mkdir()
    with Sandbox(state=file, speed=0, now=NOW) as box:
        box.incoming(PHONE, SECRET)
        for each in tmp_path.glob("winsms.db*"):
            (copy / each.name).write_bytes(each.read_bytes())
            (copy / each.name).chmod(0o644)
    with Sandbox(state=copy / "winsms.db", speed=0) as box:
        assert SECRET in ask(box, "GET", INCOMING, [("Host", "localhost")])[1]
        assert modes(copy) == {"winsms.db": 0o600, "winsms.db-wal": 0o600}


def test_a_file_that_is_no_state_is_refused_and_keeps_its_mode_and_content(tmp_path: Path) -> None:
    other, newer = tmp_path / "notes.txt", tmp_path / "newer.db"
    other.write_text("not a database, but a text that is long enough to be read as a header of one")
    with closing(sqlite3.connect(newer)) as database:
        database.execute("PRAGMA user_version = 99")
    for file, says in ((other, "cannot be used"), (newer, "another version")):
        file.chmod(0o644)
        before = file.read_bytes()
        with pytest.raises(ValueError, match=says):
            Sandbox(state=file)
        assert (file.read_bytes(), modes(tmp_path)[file.name]) == (before, 0o644)
