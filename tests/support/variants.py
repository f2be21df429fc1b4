"""Subclasses with other class attributes: the seams of what Airflow constructs."""

from __future__ import annotations

from types import new_class
from typing import Any, TypeVar

T = TypeVar("T")


def variant(kind: type[T], **attributes: Any) -> type[T]:
    """Return a subclass with other values of these attributes: a clock, a hook, sizes."""
    assert all(hasattr(kind, name) for name in attributes), f"{kind.__name__} lacks one of {list(attributes)}"
    return new_class(kind.__name__, (kind,), exec_body=lambda body: body.update(attributes))
