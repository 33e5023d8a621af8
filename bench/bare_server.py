"""The server to compare with: the SDK's `MCPServer` on the SDK's own transports, with naive tools.

What a competent author writes in ten minutes: nothing is recorded, flushed, bounded or confined.
Usage: `bare_server.py [--http]`; over HTTP it says on stderr where it listens.
"""

import asyncio
import json
import socket
import sys
from pathlib import Path

from mcp.server import MCPServer

# Without the line that uvicorn logs for each request: only what a call needs is to be compared.
server = MCPServer("bare", log_level="WARNING")


@server.tool()
async def noop() -> str:
    """Do nothing."""
    return ""


@server.tool()
async def read(path: str) -> str:
    """Read a text file."""
    return Path(path).read_text()


@server.tool()
async def write(path: str, content: str) -> str:
    """Write a text file."""
    Path(path).write_text(content)
    return "written"


@server.tool()
async def run(argv: list[str]) -> str:
    """Run a command and return what it printed."""
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    return f"{child.returncode}\n{out.decode()}{err.decode()}"


def serve_http() -> None:
    """As `server.run("streamable-http")` does, but on a free port that it tells."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            port = self.servers[0].sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}/mcp"
            sys.stderr.write(json.dumps({"event": "listening", "url": url}) + "\n")

    app = server.streamable_http_app()
    asyncio.run(Server(uvicorn.Config(app, port=0, log_level="warning")).serve())


if __name__ == "__main__":
    if "--http" in sys.argv:
        serve_http()
    else:
        server.run("stdio")
