"""The app of the page. It reads only: the reports of ledgers, for users who may read their connections."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, HTTPException, Request
from fastapi import Query as Parameters
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse  # noqa: TC002 - FastAPI reads annotations
from pydantic import BaseModel, Field

from airflow_provider_winsms.exceptions import SmsError
from airflow_provider_winsms.plugins.access import GetUserDep, may_read_connection, may_read_dag
from airflow_provider_winsms.plugins.answers import answer, notice
from airflow_provider_winsms.plugins.sections import Sections
from airflow_provider_winsms.plugins.settings import SECTION, read_settings
from airflow_provider_winsms.reports.page import Query, render_page
from airflow_provider_winsms.reports.window import MOST_DAYS, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.plugins.access import BaseUser

_DAYS = 30
_LONGEST_NAME = 250

_HOW_TO_GET_A_LEDGER = (
    'SmsSendOperator(..., ledger_conn_id="warehouse")  # PostgreSQL, MySQL, MariaDB or SQLite',
    f"[{SECTION}]  # in airflow.cfg of the API server",
    "ledger_conn_ids = warehouse",
)


class Address(BaseModel):
    """The parameters of an address. A form sends empty ones, too."""

    days: Annotated[int | None, Field(ge=1, le=MOST_DAYS)] = None
    time_zone: Annotated[str, Field(max_length=_LONGEST_NAME)] = "UTC"
    dag_id: Annotated[str, Field(max_length=_LONGEST_NAME)] = ""
    run_id: Annotated[str, Field(max_length=_LONGEST_NAME)] = ""
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1

    def query(self) -> Query:
        """Return what is asked for. A run may be old, so its batches are looked for in all days."""
        days = self.days or (MOST_DAYS if self.run_id else _DAYS)
        return Query(days, self.time_zone, self.dag_id or None, self.run_id or None, self.page)


def create_app(now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> FastAPI:
    """Return the app. Its only route asks who the user is, and is described to nobody."""
    app = FastAPI(title="SMS", docs_url=None, redoc_url=None, openapi_url=None)
    sections = Sections()

    # FastAPI runs a function that is no coroutine in a thread of its own.
    @app.get("/")
    def show(user: GetUserDep, address: Annotated[Address, Parameters()]) -> HTMLResponse:
        return _page(user, address.query(), now(), sections)

    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    return app


def _page(user: BaseUser, query: Query, now: datetime, sections: Sections) -> HTMLResponse:
    try:
        settings, window = read_settings(), Window(query.days, query.time_zone, now)
    except SmsError as error:
        return notice(422, "The page cannot be shown.", str(error))
    if not settings.ledger_conn_ids:
        words = "Give your sends a database as their ledger, and name its connection:"
        return notice(200, "There is no ledger to show yet.", words, lines=_HOW_TO_GET_A_LEDGER)

    def may_read(conn_id: str) -> bool:
        return may_read_connection(user, conn_id)

    conn_ids = list(filter(may_read, settings.ledger_conn_ids))
    if not conn_ids:
        words = f"You may read none of the connections in [{SECTION}] ledger_conn_ids. Ask for the right."
        return notice(403, "You may not see this page.", words)
    if query.dag_id is not None and not may_read_dag(user, query.dag_id):
        return notice(403, "You may not see this page.", "You may not read this DAG. Ask for the right.")
    shown = sections.read(conn_ids, settings, window, query, may_read)
    return answer(200, render_page(shown, window, query))


def _refused(_request: Request, error: Exception) -> HTMLResponse:
    """Answer that nobody is logged in."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return notice(status, "You are not logged in.", "Log in to Airflow, and open this page again.")


def _not_understood(_request: Request, error: Exception) -> HTMLResponse:
    """Answer which parameters are wrong, without their values."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    words = (f"{each['loc'][-1]}: {each['msg']}." for each in found)
    return notice(422, "The page cannot be shown.", *words)
