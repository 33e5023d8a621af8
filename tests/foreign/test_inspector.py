"""The MCP Inspector's command line, started with the `mcp.json` of this repository."""

import json
from typing import Any

import pytest
from tests.foreign import kit

pytestmark = pytest.mark.slow

TOOL_ERROR = 5
"""Its exit status for a result that is an error."""
REQUESTS = 2000


def inspect(room: kit.Room, *words: str) -> kit.Done:
    """Run it; the server is that of `mcp.json`, in a home of its own."""
    kit.need(kit.INSPECTOR)
    return room.run(
        *(kit.node(), kit.INSPECTOR, "--cli", "--config", "mcp.json", "--server", "surefoot"),
        *("--format", "json", *words),
        variables={"MCP_INSPECTOR_SECRET_STORE": "memory"},
    )


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_finds_no_fault_with_our_schemas(era: str, room: kit.Room) -> None:
    done = inspect(room, "--method", "tools/list", "--strict", "--protocol-era", era)
    assert done.code == 0, done.said
    tools: list[dict[str, Any]] = done.json["result"]["tools"]
    assert {"run_command", "read_file", "write_file"} <= {tool["name"] for tool in tools}
    assert all(tool["description"] and tool["outputSchema"] for tool in tools)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_calls_a_tool(era: str, room: kit.Room) -> None:
    call = ("--method", "tools/call", "--tool-name", "read_file", "--protocol-era", era)
    done = inspect(room, *call, "--tool-args-json", json.dumps({"path": "mcp.json"}), "-q")
    assert done.code == 0, done.said
    text = (kit.REPOSITORY / "mcp.json").read_text()
    assert done.json["result"]["structuredContent"]["text"] == text


def test_the_inspector_shows_an_error_whole(room: kit.Room) -> None:
    call = ("--method", "tools/call", "--tool-name", "read_file")
    done = inspect(room, *call, "--tool-arg", "path=nowhere.txt", "-q")
    assert done.code == TOOL_ERROR, done.said
    result = done.json["result"]
    error = result["_meta"]["dev.surefoot/error"]
    assert (error["code"], error["applied"], result["isError"]) == ("NOT_FOUND", "no", True)
    first = f"NOT_FOUND applied=no call_id={error['call_id']}\n"
    assert result["content"][0]["text"].startswith(first)


def test_every_call_of_the_inspectors_load_run_succeeds(room: kit.Room) -> None:
    done = inspect(
        room,
        *("--method", "tools/call", "--tool-name", "read_file", "--tool-arg", "path=mcp.json"),
        *("--load", "--load-requests", str(REQUESTS), "--load-concurrency", "64", "-q"),
    )
    assert done.code == 0, done.said
    found = done.json["result"]
    counted = (found["requests"], found["ok"], found["errors"], found["toolErrors"])
    assert counted == (REQUESTS, REQUESTS, 0, 0)
