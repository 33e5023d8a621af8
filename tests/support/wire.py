"""A server process spoken to in raw lines, as no well-behaved client would."""

import json
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from tests.support.place import Place

ANSWER_BOUND = 20.0
"""Seconds that a server process may take to answer; start included."""
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
}


@dataclass
class Wire:
    """Lines to and from a server process."""

    process: anyio.abc.Process
    incoming: BufferedByteReceiveStream

    async def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(data)

    async def send(self, message: dict[str, Any]) -> None:
        await self.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any]:
        """The next message; every line of stdout must be one."""
        with anyio.fail_after(ANSWER_BOUND):
            line = await self.incoming.receive_until(b"\n", 64 * 1024 * 1024)
        message: dict[str, Any] = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        return message

    async def ask(self, request_id: int | str, method: str, **params: Any) -> dict[str, Any]:
        """Send a request of the 2026-07-28 era and wait for the next message."""
        about = {**ENVELOPE, **params.pop("_meta", {})}
        await self.send(
            {
                "jsonrpc": "2.0",
                "id": request_id,
                "method": method,
                "params": {**params, "_meta": about},
            }
        )
        return await self.receive()

    async def call(self, request_id: int | str, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and wait for the next message."""
        return await self.ask(request_id, "tools/call", name=tool, arguments=arguments)

    async def end(self) -> tuple[bytes, bytes, int]:
        """Close stdin; what is left of stdout, all of stderr, and the exit status."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        await self.process.stdin.aclose()
        rest, logged = b"", b""
        with anyio.fail_after(ANSWER_BOUND):
            async for chunk in self.incoming:
                rest += chunk
            async for chunk in self.process.stderr:
                logged += chunk
            status = await self.process.wait()
        return rest, logged, status


@asynccontextmanager
async def wire(place: Place, *options: str, cwd: str | None = None) -> AsyncGenerator[Wire]:
    """A server process on a place; killed at the end if it still runs."""
    process = await anyio.open_process(
        place.command(*options),
        env=place.environment(),
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield Wire(process, BufferedByteReceiveStream(process.stdout))
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
