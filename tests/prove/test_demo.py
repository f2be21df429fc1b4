from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("warehouse", ["sqlite", "postgres"])
def test_the_demo_says_what_happened(warehouse: str) -> None:
    command = [sys.executable, "-m", "scripts.demo", "--warehouse", warehouse]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    for part in (
        "wait_for_delivery  deferred",
        "27******101 \u2502 Hi Ann, see you tomorrow",
        "Declined by the gateway \u2502 1 x bad_number (27******005)",
        "Reminders delivered     \u2502 4 of 4, for 4.0 credits",
        "Scheduled and cancelled \u2502 2, 2.0 credits back",
        "Can I come at 10",
        "* MANUALLY ADDED BY USER *",
        "The first load brought 5 rows, the second 0",
    ):
        assert part in said, said
