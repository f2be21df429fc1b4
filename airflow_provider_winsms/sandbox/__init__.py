"""A WinSMS that runs on a laptop: the documented REST API behind a real socket, with faults on demand.

::

    with Sandbox(speed=0) as box:
        ...  # talk to box.base_url with the key box.api_key
        box.advance(120)
        box.outbox()

``python -m airflow_provider_winsms.sandbox --help`` tells the rest.
"""

from __future__ import annotations

from airflow_provider_winsms.sandbox.box import Sandbox

__all__ = ["Sandbox"]
