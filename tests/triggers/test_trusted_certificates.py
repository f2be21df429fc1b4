"""A deferred wait trusts whom the send before it trusted."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from airflow_provider_winsms.triggers.shared_poll import open_transport
from tests.gateways.certificates import self_signed
from tests.gateways.stub import Stub, answer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DELIVERED = answer(
    200, {"messageStatuses": [{"apiMessageId": 2316, "statusDelivered": True, "statusTime": 202601011200}]}
)


async def test_a_poll_needs_no_more_than_requests_ca_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = self_signed(tmp_path, "127.0.0.1")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(identity.certificate))
    with Stub(DELIVERED, tls=identity.server) as stub:
        connection = {"conn_type": "winsms", "host": stub.base_url, "password": "key-for-tests"}
        monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))
        async with await open_transport("winsms_default", asyncio.sleep, ()) as transport:
            (report,) = await transport.execute(transport.endpoint.gateway.delivery_reports([2316]))
    assert report.message_id == 2316
    assert len(stub.requests) == 1
