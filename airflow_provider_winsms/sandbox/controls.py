"""The control surface under ``/_sandbox``: JSON, no key, one table of controls.

Each control is a method of ``Vendor``; bad input is answered 400 with what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.sandbox.faults import FAULTS, Reply
from airflow_provider_winsms.sandbox.operations import OPERATIONS
from airflow_provider_winsms.sandbox.plan import MAGIC_NUMBERS
from airflow_provider_winsms.sandbox.wire import RequestRefused, document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_winsms.sandbox.admission import RawRequest
    from airflow_provider_winsms.sandbox.vendor import Vendor

ROOT = "/_sandbox"

_KINDS: dict[str, tuple[type, ...]] = {
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

    :param act: does it, with the values of the body.
    :param required: names of values that must be in the body, and their kinds.
    :param optional: names of values that may be.
    """

    method: str
    path: str
    meaning: str
    act: Callable[[Vendor, Mapping[str, Any]], Any]
    required: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes(self) -> str:
        """The values of its body, in brackets where they may be left out."""
        asked = [f"{name}: {kind}" for name, kind in self.required.items()]
        return ", ".join([*asked, *(f"[{name}: {kind}]" for name, kind in self.optional.items())])


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


def _set_account(box: Vendor, values: Mapping[str, Any]) -> Any:
    names = {"trialNumber": "trial_number", "creditBalance": "credit_balance"}
    return box.set_account(**{names.get(name, name): value for name, value in values.items()})


def _set_scheduled_list(box: Vendor, values: Mapping[str, Any]) -> Any:
    return box.set_scheduled_list(newest_first=values["newestFirst"])


def _add_fault(box: Vendor, values: Mapping[str, Any]) -> Any:
    names = {"retryAfter": "retry_after"}
    return {"id": box.add_fault(**{names.get(name, name): value for name, value in values.items()})}


def _script(box: Vendor, values: Mapping[str, Any]) -> Any:
    box.script_rows(values["operation"], values["rows"])
    return {}


def _advance(box: Vendor, values: Mapping[str, Any]) -> Any:
    box.advance(values["advanceSeconds"])
    return box.clock()


def _reply(box: Vendor, values: Mapping[str, Any]) -> Any:
    return {"incomingApiMessageId": box.incoming(values["mobileNumber"], values["messageText"])}


def _short_code(box: Vendor, values: Mapping[str, Any]) -> Any:
    return {"incomingApiMessageId": box.shortcode(values["mobileNumber"], values["messageText"])}


def _on_number(act: Callable[[Vendor, str], object]) -> Callable[[Vendor, Mapping[str, Any]], Any]:
    def on_number(box: Vendor, values: Mapping[str, Any]) -> Any:
        act(box, values["mobileNumber"])
        return {}

    return on_number


def _without_values(act: Callable[[Vendor], object]) -> Callable[[Vendor, Mapping[str, Any]], Any]:
    def without_values(box: Vendor, _: Mapping[str, Any]) -> Any:
        answer = act(box)
        return {} if answer is None else answer

    return without_values


CONTROLS = (
    Control("GET", ROOT, "this index", lambda box, _: index(box)),
    Control("GET", f"{ROOT}/outbox", "every accepted text", _without_values(lambda box: box.outbox())),
    Control("POST", f"{ROOT}/incoming", "a phone replies", _reply, required=_REPLY),
    Control("POST", f"{ROOT}/shortcode", "a phone texts the short code", _short_code, required=_REPLY),
    Control("GET", f"{ROOT}/clock", "the sandbox's time", _without_values(lambda box: box.clock())),
    Control("POST", f"{ROOT}/clock", "advance the time", _advance, required={"advanceSeconds": "number"}),
    Control("GET", f"{ROOT}/faults", "faults asked for", _without_values(lambda box: box.faults())),
    Control("POST", f"{ROOT}/faults", "ask for a fault", _add_fault, {"fault": "text"}, _FAULT),
    Control("DELETE", f"{ROOT}/faults", "forget all faults", _without_values(lambda box: box.clear_faults())),
    Control("GET", f"{ROOT}/account", "the account", _without_values(lambda box: box.account())),
    Control("POST", f"{ROOT}/account", "change the account", _set_account, optional=_ACCOUNT),
    Control(
        "GET",
        f"{ROOT}/scheduled",
        "the order of the list of scheduled texts",
        _without_values(lambda box: box.scheduled_list()),
    ),
    Control("POST", f"{ROOT}/scheduled", "change that order", _set_scheduled_list, required=_ORDER),
    Control(
        "POST",
        f"{ROOT}/scripts",
        "have an operation that lists rows list these",
        _script,
        {"operation": "text", "rows": "array"},
    ),
    Control(
        "DELETE",
        f"{ROOT}/scripts",
        "let the account answer everything again",
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
        "requests to vendor paths: operation, method, path, status, rows",
        _without_values(lambda box: box.requests()),
    ),
    Control(
        "POST", f"{ROOT}/reset", "forget everything but the time", _without_values(lambda box: box.reset())
    ),
)

_BY_PLACE = {(control.method, control.path): control for control in CONTROLS}


def is_control(path: str) -> bool:
    """Whether a path is the control surface's."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def answer(box: Vendor, request: RawRequest) -> Reply:
    """Do what a control asks for."""
    path = request.path.rstrip("/")
    control = _BY_PLACE.get((request.method, path))
    if control is None:
        return _missing(request.method, path)
    try:
        return Reply(200, control.act(box, _values(control, request.body)))
    except (ValueError, RequestRefused) as error:
        return Reply(400, {"error": str(error)})


def index(box: Vendor) -> dict[str, Any]:
    """Return what there is to know of this sandbox."""
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


def _missing(method: str, path: str) -> Reply:
    allowed = [control.method for control in CONTROLS if control.path == path]
    if not allowed:
        return Reply(404, {"error": f"There is no control here. GET {ROOT} lists them."})
    error = f"This control takes {' or '.join(allowed)}, not {method}."
    return Reply(405, {"error": error}, {"Allow": ", ".join(allowed)})


def _values(control: Control, body: bytes) -> dict[str, Any]:
    values = document(body) if body else {}
    if not isinstance(values, dict):
        msg = "The body must be a JSON object."
        raise ValueError(msg)  # noqa: TRY004 - bad input, not a bug
    _check_names(control, values)
    for name, kind in {**control.required, **control.optional}.items():
        if name in values:
            _check_kind(name, kind, values[name])
    return values


def _check_names(control: Control, values: Mapping[str, Any]) -> None:
    missing = [name for name in control.required if name not in values]
    unknown = [name for name in values if name not in {**control.required, **control.optional}]
    if missing or unknown:
        msg = f"This control takes {control.takes or 'nothing'}. Missing: {missing}. Unknown: {unknown}."
        raise ValueError(msg)


def _check_kind(name: str, kind: str, value: object) -> None:
    good = isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not good:
        msg = f"{name} must be: {kind}."
        raise ValueError(msg)
