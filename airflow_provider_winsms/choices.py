"""What the operators let a DAG choose from."""

from __future__ import annotations

from typing import Any, Literal, get_args

from airflow_provider_winsms.exceptions import InvalidMessage

OnInvalid = Literal["fail", "reject"]
"""What a send does whose list has invalid rows: send nothing, or send to everybody else."""

OnEmpty = Literal["fail", "skip"]
"""What a send does that has nobody to send to."""

OnChanged = Literal["refuse", "send_the_rest"]
"""What a later try does whose list differs from the one of an earlier try that has sent."""

Tolerance = Literal["fail_if_all", "fail", "ignore"]
"""When declined items fail the task: only if all were, if any was, or never."""


Privacy = Literal["none", "keyed_hash"]
"""How the ledger's tables hold a number: as it is, or as its keyed hash."""

StoredText = Literal["digest", "keep"]
"""How they hold a text: its keyed hash, or as it is."""


CheckNumbers = Literal["possible", "valid", "off"]
"""What the number plan of its country must say of a number; ``"off"`` does not ask it."""


def check_choice(name: str, choice: object, choices: Any) -> None:
    """Hold a parameter against what it may be.

    :param choices: a ``Literal``, or an enumeration of texts.
    :raises InvalidMessage: if it is none of them.
    """
    known = get_args(choices) or tuple(choices)
    if choice not in known:
        msg = f"{name} must be one of {', '.join(known)}; got {choice!r}."
        raise InvalidMessage(msg)


def is_intolerable(policy: str, succeeded: int) -> bool:
    """Tell whether items that failed fail the task."""
    return policy == "fail" or (policy == "fail_if_all" and not succeeded)
