"""Plain HTTP on loopback, from a test's event loop."""

from dataclasses import dataclass
from http.client import HTTPConnection

import anyio.to_thread

from surefoot_server.http.address import Address


@dataclass(frozen=True)
class Answered:
    """An HTTP answer."""

    status: int
    body: str


async def ask(
    address: Address, path: str, headers: dict[str, str] | None = None, *, method: str = "GET"
) -> Answered:
    """Send one request on a connection of its own."""

    def send() -> Answered:
        connection = HTTPConnection(address.host, address.port, timeout=30)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return Answered(response.status, response.read().decode())
        finally:
            connection.close()

    return await anyio.to_thread.run_sync(send)
