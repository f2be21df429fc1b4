"""Answers of the app: pages that run and load nothing but what stands in them."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

from fastapi.responses import HTMLResponse

from airflow_provider_winsms.reports.page import render_notice, script, stylesheet

if TYPE_CHECKING:
    from collections.abc import Sequence


def notice(status: int, title: str, *sentences: str, lines: Sequence[str] = ()) -> HTMLResponse:
    """Return a page that says why there is no other.

    :param lines: of code.
    """
    return answer(status, render_notice(title, sentences, lines))


def answer(status: int, page: str) -> HTMLResponse:
    """Return a page, with what a browser may do with it."""
    headers = {
        "Content-Security-Policy": _policy(),
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(page, status, headers)


@cache
def _policy() -> str:
    return (
        f"default-src 'none'; style-src {_hash_of(stylesheet())}; script-src {_hash_of(script())}; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )


def _hash_of(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
