"""A foreign MCP server, on the SDK's lowlevel `Server`: it knows neither keys nor faults.

As a script over stdio; with `--http HOST:PORT` over Streamable HTTP, which it announces on stderr.

Tools: `echo`, `count` (appends a line to a file and says how many there are), `big` (a reply of
`size` bytes), `sleep` (answers once the file `go` is there), `die` (kills itself), `fail`.
"""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

OBJECT: dict[str, Any] = {"type": "object"}
READS = types.ToolAnnotations(read_only_hint=True)
TOOLS = [
    types.Tool(name="echo", input_schema=OBJECT, output_schema=OBJECT, annotations=READS),
    types.Tool(name="count", input_schema=OBJECT, output_schema=OBJECT),
    types.Tool(name="big", input_schema=OBJECT, annotations=READS),
    types.Tool(name="sleep", input_schema=OBJECT, annotations=READS),
    types.Tool(name="die", input_schema=OBJECT),
    types.Tool(name="fail", input_schema=OBJECT),
]


def structured(content: dict[str, Any]) -> types.CallToolResult:
    return types.CallToolResult(content=[], structured_content=content)


def text(content: str, *, is_error: bool = False) -> types.CallToolResult:
    block = types.TextContent(type="text", text=content)
    return types.CallToolResult(content=[block], is_error=is_error)


def append(name: str) -> int:
    """Append a line to a file of the working directory; how many there are now."""
    path = Path(name)
    with path.open("a") as lines:
        lines.write("once\n")
    return len(path.read_text().splitlines())


async def list_tools(
    _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    append("lists")
    return types.ListToolsResult(tools=TOOLS)


async def call_tool(
    _context: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    arguments = params.arguments or {}
    match params.name:
        case "echo":
            return structured({"arguments": arguments})
        case "count":
            return structured({"count": append("counted")})
        case "big":
            return text("x" * arguments["size"])
        case "sleep":
            while not Path("go").exists():  # noqa: ASYNC110 - the event is in another process
                await anyio.sleep(0.01)
            return text("slept")
        case "die":
            os.kill(os.getpid(), 9)
            return text("not reached")
        case "fail":
            return text("it failed", is_error=True)
        case _:
            raise ValueError(f"Unknown tool {params.name}")


def make() -> Server[Any]:
    return Server("foreign", version="1", on_list_tools=list_tools, on_call_tool=call_tool)


async def main() -> None:
    sys.stderr.write("a foreign server starts\n")
    server = make()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def serve_http(address: str) -> None:
    """Until SIGTERM."""
    import uvicorn

    host, _, port = address.partition(":")
    listening = socket.create_server((host, int(port)))
    url = f"http://{host}:{listening.getsockname()[1]}/mcp"
    sys.stderr.write(json.dumps({"event": "listening", "url": url}) + "\n")
    config = uvicorn.Config(make().streamable_http_app(), log_config=None)
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--http"]:
        serve_http(sys.argv[2])
    else:
        anyio.run(main)
