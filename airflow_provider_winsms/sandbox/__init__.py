"""A WinSMS on your machine: the documented REST API on a real socket, with faults on demand.

::

    with Sandbox(speed=0) as sandbox:
        ...  # send requests to sandbox.base_url with the key sandbox.api_key
        sandbox.advance(120)
        sandbox.outbox()

``python -m airflow_provider_winsms.sandbox --help`` lists numbers, controls and faults.
"""

from __future__ import annotations

from airflow_provider_winsms.sandbox.box import Sandbox

__all__ = ["Sandbox"]
