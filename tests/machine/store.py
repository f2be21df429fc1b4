"""Airflow's task state store, of one task: its last try alone writes, and an answer of it may be false."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


@dataclass(slots=True)
class Store:
    """What is kept of a task.

    :param writer: the process of its last try.
    """

    rows: dict[str, Any] = field(default_factory=dict)
    writer: str = ""


class StoreOfTry:
    """The store as one try of the task has it.

    :param name: of its process.
    :param lies: which of its reads, counted from 1, are answered "not found" whatever is there.
    :param step: called before and after each write; what it raises breaks off there.
    """

    def __init__(self, store: Store, name: str, lies: Collection[int], step: Callable[[str], None]) -> None:
        self._store = store
        self._name = name
        self._lies = lies
        self._step = step
        self._reads = count(1)
        store.writer = name

    def get(self, key: str) -> Any:
        """Return what is kept under a key, or ``None``."""
        return None if next(self._reads) in self._lies else deepcopy(self._store.rows.get(key))

    def set(self, key: str, value: Any, *, retention: Any) -> None:  # noqa: ARG002 - nothing expires
        """Keep a value."""
        self._write(lambda: self._store.rows.update({key: deepcopy(value)}))

    def delete(self, key: str) -> None:
        """Keep nothing under a key."""
        self._write(lambda: self._store.rows.pop(key, None))

    def _write(self, write: Callable[[], object]) -> None:
        self._step("before the store")
        if self._store.writer != self._name:
            msg = "a later try runs"
            raise RuntimeError(msg)
        write()
        self._step("after the store")
