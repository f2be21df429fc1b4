"""Airflow's API server alone, with users who log in, and one DAG with one run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import requests

from tests.prove.real_airflow import (
    PATIENCE,
    environment_of,
    free_ports,
    kill_session,
    migrated_file,
    run_airflow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

USERS = {"ann": "op", "vic": "viewer"}
"""Users, by their roles. Only an ``op`` may read connections. The password of each is their name twice."""

DAG_ID, RUN_ID = "offers", "manual__2026-12-01T10:00:00+00:00"
_DAG = f"""
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("{DAG_ID}", schedule=None):
    EmptyOperator(task_id="send_offer")
"""


@dataclass
class ApiServer:
    """An API server with a home of its own, to be used once as a context manager.

    :param home: an empty folder.
    :param variables: what it finds in its environment besides.
    :param path: the path of its base URL, as behind a reverse proxy.
    """

    home: Path
    variables: Mapping[str, str]
    path: str = ""

    def __enter__(self) -> Self:
        """Start it, and return once it answers."""
        (port, *others) = free_ports(3)
        self.url = f"http://127.0.0.1:{port}{self.path}"
        passwords = self.home / "passwords.json"
        passwords.write_text(json.dumps({name: name * 2 for name in USERS}))
        environment = environment_of(self.home, port, *others) | {
            "AIRFLOW__API__BASE_URL": f"{self.url}/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(":".join(each) for each in USERS.items()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            **self.variables,
        }
        shutil.copy(migrated_file(), self.home / "airflow.db")
        dags = self.home / "dags"
        dags.mkdir()
        (dags / "offers.py").write_text(_DAG)
        run_airflow(environment, "dags", "reserialize")
        self._log = self.home / "api-server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "api-server"],
                env=environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait()
            self._start_run()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        kill_session(self._process.pid)
        self._process.wait()

    @property
    def log(self) -> str:
        """All that it has written."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def get(self, address: str, user: str | None = None, **parameters: str) -> requests.Response:
        """Ask as a user, or as a stranger."""
        headers = {"Authorization": f"Bearer {self.token(user)}"} if user else {}
        return requests.get(f"{self.url}/{address}", parameters, headers=headers, timeout=60)

    def token(self, user: str) -> str:
        """Log a user in."""
        body = {"username": user, "password": user * 2}
        answer = requests.post(f"{self.url}/auth/token", json=body, timeout=60)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.get("api/v2/monitor/health").ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.2)
        msg = f"The API server does not answer.\n{self.log}"
        raise RuntimeError(msg)

    def _start_run(self) -> None:
        answer = requests.post(
            f"{self.url}/api/v2/dags/{DAG_ID}/dagRuns",
            json={"logical_date": None, "dag_run_id": RUN_ID},
            headers={"Authorization": f"Bearer {self.token('ann')}"},
            timeout=60,
        )
        answer.raise_for_status()
