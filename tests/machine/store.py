"""Airflow's task state store of one task. Only the last try writes, and a read may be answered falsely."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


@dataclass(slots=True)
class Store:
    """The stored values of a task.

    :param writer: the process of its last try.
    """

    rows: dict[str, Any] = field(default_factory=dict)
    writer: str = ""


class StoreOfTry:
    """The store as one try of the task sees it.

    :param name: of its process.
    :param false_reads: which of its reads, counted from 1, are answered "not found" whatever is there.
    :param step: called before and after each write; what it raises breaks off there.
    """

    def __init__(
        self, store: Store, name: str, false_reads: Collection[int], step: Callable[[str], None]
    ) -> None:
        self._store = store
        self._name = name
        self._false_reads = false_reads
        self._step = step
        self._reads = count(1)
        store.writer = name

    def get(self, key: str) -> Any:
        """Return the value of a key, or ``None``."""
        return None if next(self._reads) in self._false_reads else deepcopy(self._store.rows.get(key))

    def set(self, key: str, value: Any, *, retention: Any) -> None:  # noqa: ARG002 - nothing expires
        """Store a value."""
        self._write(lambda: self._store.rows.update({key: deepcopy(value)}))

    def delete(self, key: str) -> None:
        """Remove the value of a key."""
        self._write(lambda: self._store.rows.pop(key, None))

    def _write(self, write: Callable[[], object]) -> None:
        self._step("before the store")
        if self._store.writer != self._name:
            msg = "a later try runs"
            raise RuntimeError(msg)
        write()
        self._step("after the store")
