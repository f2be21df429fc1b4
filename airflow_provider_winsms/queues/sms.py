"""What ``MessageQueueTrigger(scheme="winsms")`` finds. It needs the extra ``messaging``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.messaging.providers.base_provider import BaseMessageQueueProvider

if TYPE_CHECKING:
    from airflow_provider_winsms.triggers.incoming import SmsIncomingTrigger


class SmsMessageQueueProvider(BaseMessageQueueProvider):
    """The messages that phones send, as a queue.

    ``MessageQueueTrigger(scheme="winsms", sms_conn_id=..., keywords=[...])`` is the ``SmsIncomingTrigger``
    of the same arguments.
    """

    scheme = "winsms"

    def trigger_class(self) -> type[SmsIncomingTrigger]:
        """Return the trigger that takes the other arguments."""
        from airflow_provider_winsms.triggers.incoming import SmsIncomingTrigger

        return SmsIncomingTrigger
