"""A server with all that the conformance suite asks for, behind surefoot's own HTTP.

    python -m tests.foreign.fixture_server

Tells its address by a line of JSON on stderr, as `surefoot serve --http` does.
"""

import json
import sys
import tempfile
from typing import Any

import anyio
from mcp.server.mcpserver import MCPServer
from tests.foreign import fixture_content as content
from tests.foreign import fixture_dialogue as dialogue

from surefoot_server.extension import Surefoot, lowlevel
from surefoot_server.http.address import Address
from surefoot_server.http.serving import HttpApp, serve


def fixture_server(surefoot: Surefoot) -> MCPServer[Any]:
    """The server, with our extension mounted: each call has its identity and its receipt."""
    server: MCPServer[Any] = MCPServer(
        "fixtures",
        version="1",
        log_level="ERROR",
        lifespan=surefoot.lifespan,
        extensions=[surefoot],
    )
    content.add_contents(server)
    content.add_schema_tool(server)
    content.add_resources(server)
    content.add_prompts(server)
    content.add_changes(server)
    content.add_requests(server)
    dialogue.add_back_channel(server)
    dialogue.add_rounds(server)
    return server


async def main() -> None:
    """Serve it on a free port of the loopback until SIGTERM."""
    address, listening = Address("127.0.0.1", 0).bind()

    def tell() -> None:
        print(json.dumps({"event": "listening", "url": address.url}), file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as state:
        surefoot = Surefoot(state)
        web = HttpApp(lowlevel(fixture_server(surefoot)), surefoot.door, address.security())
        await serve(web, surefoot.door, [listening], tell)


if __name__ == "__main__":
    anyio.run(main)
