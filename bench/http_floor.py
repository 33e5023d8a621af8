"""The least that an HTTP server in Python costs: asyncio, json, and what it needs of HTTP.

It answers whatever it is asked with an empty result, and says on stderr where it listens.
"""

import asyncio
import json
import sys


class Floor(asyncio.Protocol):
    """One connection; a request comes whole in one read or in several."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._coming = b""

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._coming += data
        head, found, body = self._coming.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._coming = b""
        request_id = json.loads(body)["id"]
        text = json.dumps({"jsonrpc": "2.0", "id": request_id, "result": {"tools": 0}}).encode()
        lines = [
            "HTTP/1.1 200 OK",
            "Content-Type: application/json",
            f"Content-Length: {len(text)}",
        ]
        self._transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + text)


async def serve() -> None:
    """Serve until the end."""
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    sys.stderr.write(json.dumps({"event": "listening", "url": f"http://{host}:{port}/mcp"}) + "\n")
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
