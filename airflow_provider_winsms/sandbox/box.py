"""The sandbox: a WinSMS account that Python or its control surface drives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox import controls
from airflow_provider_winsms.sandbox.vendor import Vendor

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox.admission import RawRequest
    from airflow_provider_winsms.sandbox.faults import Reply


class Sandbox(Vendor):
    """WinSMS, as ``Vendor`` is, with the same parameters, and the control surface on the same socket."""

    def answer(self, request: RawRequest) -> Reply:
        """Answer one request."""
        if controls.is_control(request.path):
            return controls.answer(self, request)
        return super().answer(request)
