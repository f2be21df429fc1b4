"""Hooks of WinSMS with other limits than its own, so that few recipients make many requests."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.hooks.winsms import WinSMSHook


def narrow_hook(**limits: int) -> type[WinSMSHook]:
    """Return a hook whose gateway has these limits. An operator finds its hook through ``hook_of``."""
    narrowed = replace(WinSMSGateway.limits, **limits)

    class NarrowGateway(WinSMSGateway):
        limits = narrowed

    class NarrowHook(WinSMSHook):
        def make_gateway(self, *, time_zone: str, country_code: str) -> NarrowGateway:
            return NarrowGateway(time_zone=time_zone, country_code=country_code)

    return NarrowHook
