"""The hook of WinSMS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gateways.winsms.connection import BASE_URL, FIELDS
from airflow_provider_winsms.hooks.sms import SmsHook

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
    from airflow_provider_winsms.messages import SubAccount


class WinSMSHook(SmsHook):
    """WinSMS (South Africa, REST v1) behind a connection of type ``winsms``.

    The password is the API key, the host the base URL; the extras are the fields of the connection form.

    :param winsms_conn_id: the id of the connection.
    """

    conn_name_attr = "winsms_conn_id"
    default_conn_name = "winsms_default"
    conn_type = "winsms"
    hook_name = "WinSMS"

    default_base_url = BASE_URL
    connection_fields = FIELDS

    def __init__(self, winsms_conn_id: str = default_conn_name) -> None:
        super().__init__(winsms_conn_id)

    def make_gateway(self, *, time_zone: str, country_code: str) -> WinSMSGateway:
        """Return WinSMS."""
        from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway

        return WinSMSGateway(time_zone=time_zone, country_code=country_code)

    def transfer_credits(self, sender: int, receiver: int, quantity: int) -> bool:
        """Move whole credits from one account number to another; ``False`` if the gateway declined.

        :raises OutcomeUnknown: the answer was lost; the credits may have moved.
        """
        if any(type(number) is not int or number < 1 for number in (sender, receiver, quantity)):
            msg = "Account numbers and the quantity of credits must be whole numbers above 0."
            raise InvalidMessage(msg)
        return self.execute(self.gateway.transfer_credits(sender, receiver, quantity))

    def get_sub_accounts(self) -> tuple[SubAccount, ...]:
        """List the accounts that this one owns."""
        return self.execute(self.gateway.sub_accounts())
