"""The hook of Pigeon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.hooks.sms import SmsHook
from sms_pigeon_for_tests.connection import BASE_URL, FIELDS

if TYPE_CHECKING:
    from sms_pigeon_for_tests.gateway import PigeonGateway


class PigeonHook(SmsHook):
    """Pigeon behind a connection of type ``pigeon``: its login and password sign in.

    :param pigeon_conn_id: the id of the connection.
    """

    conn_name_attr = "pigeon_conn_id"
    default_conn_name = "pigeon_default"
    conn_type = "pigeon"
    hook_name = "Pigeon"

    default_base_url = BASE_URL
    connection_fields = FIELDS
    has_login = True

    def __init__(self, pigeon_conn_id: str = default_conn_name) -> None:
        super().__init__(pigeon_conn_id)

    def make_gateway(self, *, country_code: str) -> PigeonGateway:
        """Return Pigeon."""
        from sms_pigeon_for_tests.gateway import PigeonGateway

        return PigeonGateway(country_code=country_code)
