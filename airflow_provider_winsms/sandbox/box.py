"""The sandbox: a WinSMS account that Python or its control surface drives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox import controls
from airflow_provider_winsms.sandbox.controlled import ControlledGateway

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox.admission import RawRequest
    from airflow_provider_winsms.sandbox.faults import Reply


class Sandbox(ControlledGateway):
    """A ``ControlledGateway`` with the same parameters, and with its controls on the same socket."""

    def answer(self, request: RawRequest) -> Reply:
        """Answer one request, to a WinSMS path or to a control."""
        if controls.is_control(request.path):
            return controls.answer(self, request)
        return super().answer(request)
