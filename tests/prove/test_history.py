from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scripts.check_history import Findings, Job, LedgerRow, compare

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
NUMBER = "27820000001"


@pytest.mark.crash
@pytest.mark.parametrize(
    ("guarantee", "seed", "recipients", "order"),
    [("exactly_once", 7, 10_000, ["--newest-first"]), ("mix", 11, 3000, [])],
)
def test_no_promise_is_broken(guarantee: str, seed: int, recipients: int, order: list[str]) -> None:
    asked = ["--guarantee", guarantee, "--seed", str(seed), "--recipients", str(recipients), *order]
    done = run("-m", "scripts.check_history", *asked, "--per-request", "50")
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    assert "texts doubled        0" in done.stdout
    assert "texts lost in silence 0" in done.stdout
    assert "conserved            yes" in done.stdout


GIVEN_UP = 2
"""What the checker returns if a send does not end."""

BREAK = {
    "clocks are not compared": ("exactly_once", "policy.check_agreement = lambda *_: None"),
    "a ledger that lacks claims is believed": (
        "at_most_once",
        "witness.WitnessedLedger._refuse = lambda *_: None",
    ),
    "whoever is in a changed list is sent to": (
        "exactly_once",
        "replan._CurrentList.rest = lambda found: iter(found._messages)",
    ),
    "a changed text is sent to whoever had the earlier one": (
        "at_most_once",
        "replan._Claims.was_texted = lambda *_: False",
    ),
}
"""What a product does that breaks a promise, which, and how to make it do so."""


@pytest.mark.crash
@pytest.mark.parametrize(("guarantee", "how"), BREAK.values(), ids=BREAK)
def test_a_product_that_breaks_a_promise_is_found_out(guarantee: str, how: str, tmp_path: Path) -> None:
    program = (
        "import sys; from airflow_provider_winsms.sending import policy, replan; "
        "from airflow_provider_winsms.ledger import witness; "
        "from scripts import check_history; "
        f"{how}; sys.exit(check_history.main())"
    )
    asked = [
        "--guarantee",
        guarantee,
        "--recipients",
        "240",
        "--wrong",
        "0.8",
        "--cleared",
        "1",
        "--changed",
        "0.8",
    ]
    # A broken product may also refuse a send for ever. Then the checker gives up, and the next seed is tried.
    for seed in ("0", "1", "2"):
        small = ("--per-task", "10", "--per-request", "5", "--seed", seed)
        done = run("-c", program, *asked, *small, home=tmp_path / seed)
        if done.returncode != GIVEN_UP:
            break
    assert done.returncode == 1, done.stdout + done.stderr[-5000:]
    assert "promises             BROKEN" in done.stdout
    assert "texts doubled        0" not in done.stdout


def run(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the checker, in an Airflow home of its own if one is given."""
    environment = {**os.environ, "AIRFLOW_HOME": str(home)} if home else None
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def history(row: LedgerRow | None, *texts: dict[str, Any], ending: str = "done", spent: int = 1) -> Findings:
    """Compare the history of a task with one recipient."""
    job = Job(0, row.guarantee if row else "exactly_once", [NUMBER], ending=ending)
    return compare([job], [row] if row else [], texts, Decimal(spent))


def known(
    state: str, message_id: int | None = 1, guarantee: str = "exactly_once", cost: int = 1
) -> LedgerRow:
    text = "Text of task 0"
    return LedgerRow("send_0000", guarantee, NUMBER, text, state, message_id, Decimal(cost))


def text(message_id: int = 1, **values: Any) -> dict[str, Any]:
    of_the_task = {"message": "Text of task 0", "mobileNumber": NUMBER, "cancelled": False, "creditCost": 1}
    return {"apiMessageId": message_id, **of_the_task, **values}


def test_a_history_in_which_all_is_well_is_not_broken() -> None:
    assert not history(known("accepted"), text()).is_broken
    assert not history(known("unknown", None), text(), ending="unknown").is_broken
    assert not history(known("declined", None), spent=0).is_broken
    assert not history(known("accepted", 2, "at_least_once"), text(1), text(2), spent=2).is_broken


def changed_history(
    *rows: LedgerRow, texts: Sequence[dict[str, Any]] = (), is_gone: bool = False
) -> Findings:
    """Compare the history of a task with one recipient, who has another text in the first list.

    :param is_gone: whether the last list has none.
    """
    job = Job(0, "exactly_once", [] if is_gone else [NUMBER], ending="done")
    job.earlier, job.rewritten = {(job.text, NUMBER)}, {NUMBER}
    return compare([job], rows, texts, Decimal(len(texts)))


def test_a_list_that_changed_needs_no_text_to_who_is_gone_or_has_the_earlier_one() -> None:
    assert not changed_history(is_gone=True).is_broken
    assert not changed_history(known("accepted"), texts=[text()], is_gone=True).is_broken
    kept = changed_history(known("accepted"), texts=[text()])
    assert (kept.is_broken, kept.gone, kept.changed) == (False, 1, 1)


@pytest.mark.parametrize(
    ("broken", "findings"),
    [
        ("doubled", history(known("accepted"), text(1), text(2), spent=2)),
        ("lost", history(known("accepted"), spent=0)),
        ("lost", history(known("accepted"), text(cancelled=True), spent=0)),
        ("lost", history(None, spent=0)),
        ("unaccounted", history(known("declined", None), text())),
        ("unaccounted", history(None, text(), ending="unknown")),
        ("unaccounted", history(known("accepted"), text(), text(2, message="Something else"), spent=2)),
        ("untold", history(known("unknown", None), text())),
        ("lost", changed_history()),
        ("unaccounted", changed_history(texts=[text()], is_gone=True)),
        (
            "doubled",
            changed_history(
                known("accepted"),
                known("accepted", 2)._replace(text="Another Text of task 0"),
                texts=[text(), text(2, message="Another Text of task 0")],
            ),
        ),
    ],
)
def test_each_broken_promise_is_found(broken: str, findings: Findings) -> None:
    assert findings.is_broken
    assert getattr(findings, broken) == 1


def test_credits_that_nothing_was_got_for_are_found() -> None:
    assert not history(known("accepted"), text(), spent=2).is_conserved
    assert not history(known("accepted", cost=2), text()).is_conserved


def test_a_task_that_never_ended_is_found() -> None:
    assert history(known("accepted"), text(), ending="").is_broken
