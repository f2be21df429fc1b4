"""The sandbox itself: a WinSMS account that is driven from Python, or over its socket from JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox import controls
from airflow_provider_winsms.sandbox.vendor import Vendor

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox.admission import RawRequest
    from airflow_provider_winsms.sandbox.faults import Reply


class Sandbox(Vendor):
    """A ``Vendor``, and takes its parameters, whose socket has the control surface as well."""

    def answer(self, request: RawRequest) -> Reply:
        """Answer one request."""
        if controls.is_control(request.path):
            return controls.answer(self, request)
        return super().answer(request)
