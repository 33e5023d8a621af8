"""Servers over HTTP on loopback, in this process and as processes, spoken to in raw requests."""

import json
import socket
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc
import h11
from anyio.streams.buffered import BufferedByteReceiveStream
from tests.support.place import Place
from tests.support.wire import ANSWER_BOUND, ENVELOPE

from surefoot_server.app import App
from surefoot_server.http.address import PATH, Address
from surefoot_server.http.serving import Authority, HttpApp, serve

MODERN = {"MCP-Protocol-Version": "2026-07-28"}
ACCEPT = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


@dataclass(frozen=True)
class Reply:
    """A whole HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        """Its JSON-RPC message: the whole body, or the last event of a stream."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            events = [line for line in self.body.splitlines() if line.startswith(b"data:")]
            found: dict[str, Any] = json.loads(events[-1].removeprefix(b"data:"))
            return found
        return json.loads(self.body)

    @property
    def result(self) -> dict[str, Any]:
        """Of a request that was answered by one."""
        assert "result" in self.message, self
        return self.message["result"]


@dataclass
class Line:
    """One TCP connection to a server."""

    address: Address
    stream: anyio.abc.SocketStream
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """Sent with each request."""

    async def send(
        self, message: object, *, method: str = "POST", path: str = PATH, **headers: str
    ) -> None:
        """Send a request and wait for nothing. A header named `x_y` is sent as `x-y`."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        given = {
            "Host": self.address.authority,
            "Content-Length": str(len(body)),
            **ACCEPT,
            **self.headers,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in given.items()),
        ]
        await self.stream.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def receive(self, method: bytes = b"POST") -> Reply:
        """The response to what was sent."""
        peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        peer.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        peer.send(h11.EndOfMessage())
        head: h11.Response | None = None
        body = b""
        with anyio.fail_after(ANSWER_BOUND):
            while True:
                event = peer.next_event()
                if event is h11.NEED_DATA:
                    try:
                        peer.receive_data(await self.stream.receive())
                    except anyio.EndOfStream:
                        peer.receive_data(b"")
                elif isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
        assert head is not None
        names = {name.decode(): value.decode() for name, value in head.headers}
        return Reply(head.status_code, names, body)

    async def ask(self, message: object, **headers: str) -> Reply:
        """Send a request and wait for its response."""
        await self.send(message, **headers)
        return await self.receive()

    async def call(self, tool: str, key: str | None = None, **arguments: Any) -> Reply:
        """Call a tool on the 2026-07-28 wire."""
        return await self.ask(a_call(tool, key, **arguments), **named(tool))


def named(tool: str) -> dict[str, str]:
    """The headers of a call on the 2026-07-28 wire."""
    return {**MODERN, "Mcp-Method": "tools/call", "Mcp-Name": tool}


def a_call(tool: str, key: str | None = None, **arguments: Any) -> dict[str, Any]:
    """A `tools/call` on the 2026-07-28 wire."""
    about: dict[str, Any] = {**ENVELOPE}
    if key is not None:
        about["dev.surefoot/idempotencyKey"] = key
    params = {"name": tool, "arguments": arguments, "_meta": about}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


@dataclass
class Web:
    """A server over HTTP."""

    address: Address
    app: App | None = None
    """Of a server in this process."""
    process: anyio.abc.Process | None = None
    """Of one that is a process."""

    @asynccontextmanager
    async def line(
        self, headers: dict[str, str] | None = None, *, window: int | None = None
    ) -> AsyncGenerator[Line]:
        """A connection; `window`: bytes that the kernel takes for us before we read."""
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if window is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        raw.connect((self.address.host, self.address.port))
        raw.setblocking(False)
        stream = await anyio.abc.SocketStream.from_socket(raw)
        async with stream:
            yield Line(self.address, stream, dict(headers or {}))

    async def legacy(self, line: Line) -> None:
        """Shake hands as the 2025 versions do; the session's headers stay with the line."""
        hello = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"},
        }
        reply = await line.ask({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello})
        line.headers["Mcp-Session-Id"] = reply.headers["mcp-session-id"]
        line.headers["MCP-Protocol-Version"] = "2025-11-25"
        done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await line.ask(done)).status == 202


@asynccontextmanager
async def a_web(place: Place, authority: Authority | None = None) -> AsyncGenerator[Web]:
    """A server in this process."""
    app = App(place.config)
    address, listening = Address("127.0.0.1", 0).bind()
    web = HttpApp(app.server, app.door, address.security(), authority)
    started = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, web, app.door, [listening], started.set)
        await started.wait()
        yield Web(address, app=app)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def web_process(
    place: Place, *options: str, port: int = 0, environment: Mapping[str, str] | None = None
) -> AsyncGenerator[Web]:
    """A server process; killed at the end if it still runs."""
    command: Sequence[str] = place.command("--http", f"127.0.0.1:{port}", *options)
    process = await anyio.open_process(
        command,
        env={**place.environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        said = BufferedByteReceiveStream(process.stderr)
        with anyio.fail_after(ANSWER_BOUND):
            line = json.loads(await said.receive_until(b"\n", 1 << 16))
        assert line["event"] == "listening", line
        port = int(line["url"].rpartition(":")[2].partition("/")[0])
        yield Web(Address("127.0.0.1", port), process=process)
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
