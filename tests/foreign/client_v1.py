"""A client of the SDK's version 1; runs in the foreign environment, and imports nothing of ours.

    python client_v1.py PLAN [URL]

See `typescript_client.mjs`, which takes the same plan and prints the same.
"""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportArgumentType=false
# The types here are those of another version than the one that is checked against.

import json
import sys
from contextlib import AsyncExitStack
from datetime import timedelta

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

BOUND = timedelta(seconds=30)


async def main(plan):
    """Carry a plan out and print what came back."""
    async with AsyncExitStack() as stack:
        if "url" in plan:
            streams = await stack.enter_async_context(streamable_http_client(plan["url"]))
        else:
            server = StdioServerParameters(**plan["server"])
            streams = await stack.enter_async_context(stdio_client(server))
        session = await stack.enter_async_context(
            ClientSession(streams[0], streams[1], read_timeout_seconds=BOUND)
        )
        begun = await session.initialize()
        listed = await session.list_tools()
        results = []
        for call in plan["calls"]:
            result = await session.call_tool(call["name"], call["arguments"])
            results.append(result.model_dump(mode="json", by_alias=True, exclude_none=True))
        said = {
            "server": begun.serverInfo.name,
            "version": begun.protocolVersion,
            "tools": [tool.name for tool in listed.tools],
            "results": results,
        }
    print(json.dumps(said))


given = json.loads(sys.argv[1])
if len(sys.argv) > 2:
    given["url"] = sys.argv[2]
anyio.run(main, given)
