"""Something that happens while a task waits, however slowly the task begins."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_winsms.sandbox import Sandbox


@contextmanager
def after_the_first_poll(sandbox: Sandbox, operation: str, act: Callable[[], object]) -> Iterator[None]:
    """Act once a wait was answered for the first time, which is when it asks again."""

    def watch() -> None:
        while sum(request["operation"] == operation for request in sandbox.requests()) < 2:
            time.sleep(0.005)
        act()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield
    watcher.join()
