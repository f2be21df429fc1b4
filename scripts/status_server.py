"""A gateway that only says how far texts have come, but fast, for a million of them. It checks nothing.

Run as ``python -m scripts.status_server LATENCY``, in seconds. It prints its URL. ``POST /deliver`` has all
texts arrive; ``POST /count`` answers how many requests came since it was last asked.
"""

from __future__ import annotations

import asyncio
import json
import sys

_TIME = '"statusTime":202601011200'
_ON_ITS_WAY = f'"statusDelivered":false,"statusErrorCode":"SENT",{_TIME},"creditCost":1.0'
_ARRIVED = f'"statusDelivered":true,{_TIME},"creditCost":1.0'


class StatusServer:
    """Answers over connections that stay open.

    :param latency: seconds that each answer takes.
    """

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._state = _ON_ITS_WAY
        self._requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it ends."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("ascii").lower().split("\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
                body = await reader.readexactly(length)
                answer = await self._answer(lines[0].split()[1], body)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(answer), answer)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, path: str, body: bytes) -> bytes:
        if path == "/deliver":
            self._state = _ARRIVED
            return b"{}"
        if path == "/count":
            count, self._requests = self._requests, 0
            return b"%d" % count
        self._requests += 1
        await asyncio.sleep(self._latency)
        rows = ",".join(
            f'{{"apiMessageId":{message_id},"mobileNumber":"27820000000",{self._state}}}'
            for message_id in json.loads(body)
        )
        return f'{{"version":"1.0","statusCode":200,"messageStatuses":[{rows}]}}'.encode()


async def main() -> None:
    """Serve until the process is ended."""
    here = StatusServer(float(sys.argv[1]))
    server = await asyncio.start_server(here.serve, "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
