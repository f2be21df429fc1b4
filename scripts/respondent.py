"""Answers what a DAG asks a person, through Airflow's own REST API, as a browser would."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

    from fastapi.testclient import TestClient

_PAUSE = 0.2  # seconds
_DETAILS = "/api/v2/dags/{dag_id}/dagRuns/~/hitlDetails?response_received=false"
_ANSWER = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails"


class Respondent:
    """Gives one answer to every question of a DAG. Use it as a context manager around the DAG's run.

    It is an administrator, so Airflow's simple auth manager must take everybody for one.

    :param answer: one of the options of the questions.
    :param asked: gets the ``subject`` and the ``body`` of each question.
    """

    def __init__(self, dag_id: str, answer: str, asked: list[dict[str, str]]) -> None:
        self._dag_id = dag_id
        self._answer = answer
        self._asked = asked
        self._has_ended = Event()
        self._thread = Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        # Here, as two threads that import Airflow's modules may wait for each other.
        self._client = _client()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_ended.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._has_ended.wait(_PAUSE):
            found = self._client.get(_DETAILS.format(dag_id=self._dag_id)).json()
            for detail in found["hitl_details"]:
                if detail["task_instance"]["state"] == "awaiting_input":
                    self._respond(detail)

    def _respond(self, detail: dict[str, Any]) -> None:
        self._asked.append({"subject": detail["subject"], "body": detail["body"]})
        path = _ANSWER.format(**detail["task_instance"])
        self._client.patch(path, json={"chosen_options": [self._answer]}).raise_for_status()


def _client() -> TestClient:
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    client = TestClient(create_app())
    token = client.get("/auth/token").json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    return client
