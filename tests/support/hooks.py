"""Hooks of WinSMS that repeat requests at once, some with other limits or fewer capabilities."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.hooks.winsms import WinSMSHook
from tests.support.variants import variant


class PromptHook(WinSMSHook):
    """A hook whose transport backs off in no time: the gateway of a test is up again at the next request."""

    def get_conn(self) -> Transport:
        if self._transport is None:
            self._transport = Transport(self.endpoint, sleep=lambda _: None)
        return self._transport


def prompt_hook(conn_id: str) -> SmsHook:
    """Return the hook behind a connection: as operators find it, but for its back-off."""
    found = SmsHook.of(conn_id)
    return PromptHook(conn_id) if type(found) is WinSMSHook else found


def hook_of_gateway(kind: type[WinSMSGateway]) -> type[WinSMSHook]:
    """Return a hook of this gateway. An operator finds its hook through ``hook_of``."""

    class Hook(PromptHook):
        def make_gateway(self, *, time_zone: str, country_code: str) -> WinSMSGateway:
            return kind(time_zone=time_zone, country_code=country_code)

    return Hook


def hook_without(**capabilities: object) -> type[WinSMSHook]:
    """Return a hook whose gateway has these capabilities in place of its own."""
    replaced = replace(WinSMSGateway.capabilities, **capabilities)  # type: ignore[arg-type] # as they are given
    return hook_of_gateway(variant(WinSMSGateway, capabilities=replaced))


def narrow_hook(**limits: int) -> type[WinSMSHook]:
    """Return a hook whose gateway has these limits."""
    narrowed = replace(WinSMSGateway.limits, **limits)  # type: ignore[arg-type] # the counts among them
    return hook_of_gateway(variant(WinSMSGateway, limits=narrowed))
