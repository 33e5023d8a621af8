"""The server to compare with: the SDK's `MCPServer` on the SDK's own stdio, with naive tools.

What a competent author writes in ten minutes: nothing is recorded, flushed, bounded or confined.
"""

import asyncio
from pathlib import Path

from mcp.server import MCPServer

server = MCPServer("bare")


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


if __name__ == "__main__":
    server.run("stdio")
