"""Carrying a server over stdin and stdout, until its client or a signal ends it."""

import signal
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server

    from surefoot_server.door import Door
    from surefoot_server.stdio import MessageReader


async def serve(server: "Server[Any]", door: "Door") -> None:
    """Serve one client; the journal learns what becomes of each answer."""
    from surefoot_server.stdio import divert, stdio

    wire = divert()
    door.exchange.tracked = True
    async with stdio(wire, door.exchange) as streams, anyio.create_task_group() as tasks:
        reading, writing = streams
        tasks.start_soon(_end_on_signal, reading)
        await server.run(reading, writing, server.create_initialization_options())
        tasks.cancel_scope.cancel()


async def _end_on_signal(reading: "MessageReader") -> None:
    """SIGTERM and SIGINT end the server in order: what runs ends or is stopped, and is recorded.

    A second signal changes nothing: the end is a matter of seconds (`runs.DRAIN`) anyway.
    """
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            reading.end()
