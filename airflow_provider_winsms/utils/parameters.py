"""Checks of operator parameters, as early as a value is known.

Most values are known when the DAG is read: a wrong one is an import error of the DAG. Values of a template, a
function or another task are known when the task's fields are rendered. They are checked before anything is
done.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from airflow.providers.common.compat.sdk import BaseOperator, MappedOperator

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import is_missing
from airflow_provider_winsms.options import nearest
from airflow_provider_winsms.utils.errors import permanent_errors_fail_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from airflow_provider_winsms.options import Check

    JointCheck: TypeAlias = tuple[tuple[str, ...], Callable[..., object]]
    """The names of parameters, and a function that takes their values and raises ``InvalidMessage``."""

    _Operator = BaseOperator
else:
    # A base between an operator and Airflow's sensor must leave the sensor's constructor in its place.
    _Operator = object

_TEMPLATE_MARKS = ("{{", "{%", "{#")


class CheckedParameters(_Operator):
    """An operator that refuses wrong parameters.

    Its constructor ends with ``check_when_read``, its ``execute`` begins with ``check_when_rendered``. Both
    raise ``InvalidMessage``, which fails a task for good.
    """

    parameter_checks: ClassVar[Mapping[str, Check]] = {}
    """For each parameter, the check that refuses a wrong value."""

    joint_checks: ClassVar[tuple[JointCheck, ...]] = ()
    """The checks of parameters that must go together."""

    row_templates: ClassVar[tuple[str, ...]] = ()
    """Parameters that are templates, but none of Airflow's. They are checked as they stand."""

    sensitive_fields: ClassVar[tuple[str, ...]] = ()
    """Template fields that are checked when they are rendered."""

    def __init__(self, **kwargs: Any) -> None:
        _refuse_unknown(type(self), kwargs)
        self._check_known(kwargs)
        super().__init__(**kwargs)

    if not TYPE_CHECKING:  # a type checker reads Airflow's own signature

        @classmethod
        def partial(cls, **kwargs: Any) -> Any:
            """Check the values, then do as Airflow does. Airflow itself checks only the names."""
            cls._check_known(kwargs)
            return super().partial(**kwargs)

    def check_when_read(self) -> None:
        """Refuse wrong values that are known already.

        :raises InvalidMessage: naming the task and the parameter.
        """
        given = {"task_id": self.task_id, "dag": self.get_dag()}
        given.update((name, getattr(self, name)) for name in self.parameter_checks)
        known = self._check_known(given)
        with _names_task(self.task_id):
            self.check_together(known)

    def check_when_rendered(self) -> None:
        """Refuse wrong values after rendering. Sensitive fields are checked later.

        :raises InvalidMessage: naming the parameter.
        """
        known = [name for name in self.parameter_checks if name not in self.sensitive_fields]
        for name in known:
            self._check(name, getattr(self, name))
        self.check_together(known)

    def check_together(self, known: Collection[str]) -> None:
        """Refuse parameters that do not go together.

        :param known: the names of the parameters whose values are known.
        :raises InvalidMessage: if two parameters contradict each other.
        """
        for names, check in self.joint_checks:
            if set(names) <= set(known):
                check(*(getattr(self, name) for name in names))

    @classmethod
    def _check_known(cls, given: Mapping[str, Any]) -> list[str]:
        """Check the values that are known when the DAG is read, and return their names."""
        delimiters_differ = bool(getattr(given.get("dag"), "jinja_environment_kwargs", None))
        with _names_task(given.get("task_id")):
            return [
                name
                for name in cls.parameter_checks
                if name in given and cls._check_one(name, given[name], delimiters_differ=delimiters_differ)
            ]

    @classmethod
    def _check_one(cls, name: str, value: object, *, delimiters_differ: bool) -> bool:
        """Check a value if it is known, and return whether it is."""
        try:
            _refuse_task(name, value)
            if name in cls.row_templates:
                pass
            elif name not in cls.template_fields:
                _refuse_template(name, value)
            elif not _is_known(value) or (delimiters_differ and isinstance(value, str)):
                return False
            cls._check(name, value)
        except InvalidMessage:
            raise
        except Exception as error:  # noqa: BLE001 - an object of the DAG file may raise any error
            kind = type(error).__name__
        else:
            return True
        # Raised here, it has no context. The context would quote the other error.
        msg = f"`{name}` cannot be checked ({kind}; its text is not shown, as it may hold numbers)."
        raise InvalidMessage(msg)

    @classmethod
    def _check(cls, name: str, value: object) -> None:
        cls.parameter_checks[name](name, value)


@contextmanager
def _names_task(task_id: object) -> Iterator[None]:
    """Name the task in the error. On a worker, as for a mapped task, it fails the task at once."""
    with permanent_errors_fail_at_once():
        try:
            yield
        except InvalidMessage as error:
            msg = f"Task {task_id!r}: {error}"
            raise InvalidMessage(msg) from None


def _refuse_unknown(kind: type, given: Mapping[str, Any]) -> None:
    """Refuse unknown parameter names. Airflow refuses them too, but shows their values, such as numbers.

    :raises TypeError: naming the parameters.
    """
    known = _parameters_of(kind)
    if unknown := [name for name in given if name not in known]:
        msg = (
            f"{kind.__name__} got unexpected keyword arguments: {', '.join(unknown)} (task_id: "
            f"{given.get('task_id')}).{nearest(unknown[0], known)}"
        )
        raise TypeError(msg)


@cache
def _parameters_of(kind: type) -> frozenset[str]:
    """Return the parameter names of all constructors of a class."""
    constructors = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base)]
    # Airflow passes this one to every constructor that it wraps.
    return frozenset({"default_args"}.union(*(signature(each).parameters for each in constructors)))


def _refuse_task(name: str, value: object) -> None:
    """Refuse a task in place of its result. It would fail somewhere inside Airflow."""
    if isinstance(value, (BaseOperator, MappedOperator)):
        way_out = f"Give what it returns, such as {value.task_id}.output."
    elif hasattr(type(value), "expand_kwargs"):
        way_out = "Call it, so that it becomes a task whose result is given: `my_task()`, not `my_task`."
    else:
        return
    msg = f"`{name}` is a task itself. {way_out}"
    raise InvalidMessage(msg)


def _refuse_template(name: str, value: object) -> None:
    if not _is_known(value) and not is_missing(value):
        msg = f"{name} is no template field. Give a value that is known when the DAG is read."
        raise InvalidMessage(msg)


def _is_known(value: object) -> bool:
    """Return whether rendering leaves the value of a template field unchanged."""
    if isinstance(value, str):
        return "{" not in value or not any(mark in value for mark in _TEMPLATE_MARKS)
    if isinstance(value, Mapping):
        return all(map(_is_known, value.values()))
    if isinstance(value, (list, tuple, set)):
        return all(map(_is_known, value))
    # The output of another task has `resolve`. A missing value of a data frame becomes None.
    return value is None or not (callable(value) or hasattr(value, "resolve") or is_missing(value))
