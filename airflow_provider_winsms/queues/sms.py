"""The message queue behind ``MessageQueueTrigger(scheme="winsms")``. It needs the extra ``messaging``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.messaging.providers.base_provider import BaseMessageQueueProvider

if TYPE_CHECKING:
    from airflow_provider_winsms.triggers.incoming import SmsIncomingTrigger


class SmsMessageQueueProvider(BaseMessageQueueProvider):
    """The messages from phones, as a queue.

    ``MessageQueueTrigger(scheme="winsms", sms_conn_id=..., keywords=[...])`` is the ``SmsIncomingTrigger``
    with the same arguments.
    """

    scheme = "winsms"

    def trigger_class(self) -> type[SmsIncomingTrigger]:
        """Return the trigger that takes the other arguments."""
        from airflow_provider_winsms.triggers.incoming import SmsIncomingTrigger

        return SmsIncomingTrigger
