"""The control surface under ``/_sandbox``: JSON, no key, one table of controls.

Each control calls a method of ``ControlledGateway``. Bad input is answered 400 with an error that names the
mistake.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_winsms.sandbox.faults import FAULTS, Reply
from airflow_provider_winsms.sandbox.operations import OPERATIONS
from airflow_provider_winsms.sandbox.plan import MAGIC_NUMBERS
from airflow_provider_winsms.sandbox.wire import RequestRefused, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_winsms.sandbox.admission import RawRequest
    from airflow_provider_winsms.sandbox.controlled import ControlledGateway

ROOT = "/_sandbox"

Handler: TypeAlias = "Callable[[ControlledGateway, Mapping[str, Any]], Any]"
"""Carries a control out, with the values of the body."""

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "text or null": (str, type(None)),
}


@dataclass(frozen=True, slots=True)
class Control:
    """One control.

    :param required: names and types of the values that the body must have.
    :param optional: names and types of the values that it may have.
    """

    method: str
    path: str
    meaning: str
    handle: Handler
    required: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes(self) -> str:
        """The values of its body; optional ones stand in brackets."""
        required = [f"{name}: {type_name}" for name, type_name in self.required.items()]
        return ", ".join(
            [*required, *(f"[{name}: {type_name}]" for name, type_name in self.optional.items())]
        )


_NUMBER = {"mobileNumber": "text"}
_REPLY = {"mobileNumber": "text", "messageText": "text"}
_ACCOUNT = {
    "locked": "boolean",
    "trialNumber": "text or null",
    "creditBalance": "number",
    "transactional": "boolean",
}
_ORDER = {"newestFirst": "boolean"}
_FAULT = {
    "operation": "text",
    "times": "integer",
    "probability": "number",
    "seed": "integer",
    "seconds": "number",
    "retryAfter": "integer",
    "skip": "integer",
    "rows": "integer",
}


def _set_account(box: ControlledGateway, values: Mapping[str, Any]) -> Any:
    names = {"trialNumber": "trial_number", "creditBalance": "credit_balance"}
    return box.set_account(**{names.get(name, name): value for name, value in values.items()})


def _set_scheduled_list(box: ControlledGateway, values: Mapping[str, Any]) -> Any:
    return box.set_scheduled_list(newest_first=values["newestFirst"])


def _add_fault(box: ControlledGateway, values: Mapping[str, Any]) -> Any:
    names = {"retryAfter": "retry_after"}
    return {"id": box.add_fault(**{names.get(name, name): value for name, value in values.items()})}


def _script(box: ControlledGateway, values: Mapping[str, Any]) -> Any:
    box.script_rows(values["operation"], values["rows"])
    return {}


def _advance(box: ControlledGateway, values: Mapping[str, Any]) -> Any:
    box.advance(values["advanceSeconds"])
    return box.clock()


def _reply(box: ControlledGateway, values: Mapping[str, Any]) -> Any:
    return {"incomingApiMessageId": box.incoming(values["mobileNumber"], values["messageText"])}


def _short_code(box: ControlledGateway, values: Mapping[str, Any]) -> Any:
    return {"incomingApiMessageId": box.shortcode(values["mobileNumber"], values["messageText"])}


def _on_number(
    handle: Callable[[ControlledGateway, str], object],
) -> Handler:
    def on_number(box: ControlledGateway, values: Mapping[str, Any]) -> Any:
        handle(box, values["mobileNumber"])
        return {}

    return on_number


def _without_values(
    handle: Callable[[ControlledGateway], object],
) -> Handler:
    def without_values(box: ControlledGateway, _: Mapping[str, Any]) -> Any:
        answer = handle(box)
        return {} if answer is None else answer

    return without_values


CONTROLS = (
    Control("GET", ROOT, "show this index", lambda box, _: index(box)),
    Control("GET", f"{ROOT}/outbox", "list every accepted text", _without_values(lambda box: box.outbox())),
    Control("POST", f"{ROOT}/incoming", "a phone replies", _reply, required=_REPLY),
    Control("POST", f"{ROOT}/shortcode", "a phone texts the short code", _short_code, required=_REPLY),
    Control("GET", f"{ROOT}/clock", "show the sandbox's time", _without_values(lambda box: box.clock())),
    Control("POST", f"{ROOT}/clock", "advance the time", _advance, required={"advanceSeconds": "number"}),
    Control(
        "GET",
        f"{ROOT}/faults",
        "list the faults, with how often each struck",
        _without_values(lambda box: box.faults()),
    ),
    Control("POST", f"{ROOT}/faults", "add a fault", _add_fault, {"fault": "text"}, _FAULT),
    Control("DELETE", f"{ROOT}/faults", "remove all faults", _without_values(lambda box: box.clear_faults())),
    Control("GET", f"{ROOT}/account", "show the account", _without_values(lambda box: box.account())),
    Control("POST", f"{ROOT}/account", "change the account", _set_account, optional=_ACCOUNT),
    Control(
        "GET",
        f"{ROOT}/scheduled",
        "show the order of the list of scheduled texts",
        _without_values(lambda box: box.scheduled_list()),
    ),
    Control("POST", f"{ROOT}/scheduled", "change that order", _set_scheduled_list, required=_ORDER),
    Control(
        "POST",
        f"{ROOT}/scripts",
        "list these rows in place of the account's",
        _script,
        {"operation": "text", "rows": "array"},
    ),
    Control(
        "DELETE",
        f"{ROOT}/scripts",
        "remove all scripts",
        _without_values(lambda box: box.clear_scripts()),
    ),
    Control(
        "POST",
        f"{ROOT}/optouts",
        "opt a number out by hand",
        _on_number(lambda box, number: box.opt_out(number)),
        _NUMBER,
    ),
    Control(
        "DELETE",
        f"{ROOT}/optouts",
        "remove an opt-out",
        _on_number(lambda box, number: box.remove_opt_out(number)),
        _NUMBER,
    ),
    Control(
        "POST",
        f"{ROOT}/dnc",
        "put a number on the do-not-contact list",
        _on_number(lambda box, number: box.add_dnc(number)),
        _NUMBER,
    ),
    Control(
        "DELETE",
        f"{ROOT}/dnc",
        "take a number off the do-not-contact list",
        _on_number(lambda box, number: box.remove_dnc(number)),
        _NUMBER,
    ),
    Control(
        "GET",
        f"{ROOT}/requests",
        "list requests to WinSMS paths: operation, method, path, status, rows",
        _without_values(lambda box: box.requests()),
    ),
    Control(
        "POST", f"{ROOT}/reset", "clear everything except the time", _without_values(lambda box: box.reset())
    ),
)

_BY_ROUTE = {(control.method, control.path): control for control in CONTROLS}


def is_control(path: str) -> bool:
    """Whether a path belongs to the control surface."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def answer(box: ControlledGateway, request: RawRequest) -> Reply:
    """Answer a request to a control."""
    path = request.path.rstrip("/")
    control = _BY_ROUTE.get((request.method, path))
    if control is None:
        return _no_such_control(request.method, path)
    try:
        return Reply(200, control.handle(box, _checked_values(control, request.body)))
    except (ValueError, RequestRefused) as error:
        return Reply(400, {"error": str(error)})


def index(box: ControlledGateway) -> dict[str, Any]:
    """Return the base URL, and all operations, controls, numbers and faults."""
    return {
        "baseUrl": box.base_url,
        "operations": [f"{each.name}: {each.method} {each.path}" for each in OPERATIONS],
        "controls": [_described(control) for control in CONTROLS],
        "magicNumbers": {magic.number: magic.meaning for magic in MAGIC_NUMBERS.values()},
        "faults": {fault.name: fault.meaning for fault in FAULTS.values()},
    }


def _described(control: Control) -> dict[str, str]:
    return {
        "method": control.method,
        "path": control.path,
        "takes": control.takes,
        "meaning": control.meaning,
    }


def _no_such_control(method: str, path: str) -> Reply:
    allowed = [control.method for control in CONTROLS if control.path == path]
    if not allowed:
        return Reply(404, {"error": f"No control has this path. GET {ROOT} lists them."})
    error = f"This control takes {' or '.join(allowed)}, not {method}."
    return Reply(405, {"error": error}, {"Allow": ", ".join(allowed)})


def _checked_values(control: Control, body: bytes) -> dict[str, Any]:
    values = parse_json(body) if body else {}
    if not isinstance(values, dict):
        msg = "The body must be a JSON object."
        raise ValueError(msg)  # noqa: TRY004 - bad input, not a bug
    _check_names(control, values)
    for name, type_name in {**control.required, **control.optional}.items():
        if name in values:
            _check_type(name, type_name, values[name])
    return values


def _check_names(control: Control, values: Mapping[str, Any]) -> None:
    missing = [name for name in control.required if name not in values]
    unknown = [name for name in values if name not in {**control.required, **control.optional}]
    if missing or unknown:
        msg = f"This control takes {control.takes or 'nothing'}. Missing: {missing}. Unknown: {unknown}."
        raise ValueError(msg)


def _check_type(name: str, type_name: str, value: object) -> None:
    good = isinstance(value, _JSON_TYPES[type_name]) and (
        type_name == "boolean" or not isinstance(value, bool)
    )
    if not good:
        msg = f"{name} must be: {type_name}."
        raise ValueError(msg)
