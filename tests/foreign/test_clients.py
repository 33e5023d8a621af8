"""Clients that nobody here wrote list our tools, call them, and read an error whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.foreign import kit
from tests.support.place import Place

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CLIENTS = {
    "python 1.30": (1, False),
    "typescript 1.32": (1, False),
    "typescript 2.4": (2, False),
    "typescript 2.4, 2026-07-28": (2, True),
}
"""Clients by name: the major version of their SDK, and whether they ask for the newest protocol."""
CALLS: list[dict[str, Any]] = [
    {"name": "write_file", "arguments": {"path": "note.txt", "content": "Grüße\n"}},
    {"name": "read_file", "arguments": {"path": "note.txt"}},
    {"name": "read_file", "arguments": {"path": "nowhere.txt"}},
    {"name": "read_file", "arguments": {"path": "note.txt", "pages": 3}},
]


def client(name: str, **more: Any) -> list[str | Path]:
    """The command of a client with a plan; it takes a URL as a last word."""
    plan = {"calls": CALLS, "modules": str(kit.FOREIGN), **more}
    if name.startswith("python"):
        kit.need(kit.PYTHON)
        return [kit.PYTHON, HERE / "client_v1.py", json.dumps(plan)]
    kit.need(kit.MODULES / "@modelcontextprotocol" / "client")
    sdk, modern = CLIENTS[name]
    plan |= {"sdk": sdk, "modern": modern}
    return [kit.node(), HERE / "typescript_client.mjs", json.dumps(plan)]


def check(said: dict[str, Any], place: Place, *, modern: bool) -> None:
    """What a client was told is what the server meant."""
    assert said["server"] == "surefoot"
    assert said["version"] in (("2026-07-28",) if modern else (None, "2025-11-25")), said["version"]
    assert {"run_command", "read_file", "write_file", "execute_sql"} <= set(said["tools"])
    written, read, missing, malformed = said["results"]
    assert (place.workspace / "note.txt").read_text() == "Grüße\n"
    assert written["structuredContent"]["size"] == len("Grüße\n".encode())
    assert read["structuredContent"]["text"] == "Grüße\n"
    for result, code in ((missing, "NOT_FOUND"), (malformed, "INVALID_ARGUMENT")):
        assert result["isError"] is True
        assert "structuredContent" not in result
        error = result["_meta"]["dev.surefoot/error"]
        assert error["code"] == code
        assert error["applied"] == "no"
        assert set(error) >= {"code", "origin", "applied", "message", "hint", "retry_after"}
        first, second, *_ = result["content"][0]["text"].splitlines()
        assert first == f"{code} applied=no call_id={error['call_id'] or '-'}"
        assert second == error["message"].splitlines()[0]
    assert "nowhere.txt" in missing["content"][0]["text"]
    assert "pages" in malformed["content"][0]["text"]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_foreign_client_calls_over_stdio_and_reads_an_error_whole(
    name: str, room: kit.Room, place: Place
) -> None:
    command = place.command()
    server = {
        "command": command[0],
        "args": command[1:],
        "env": room.environment(place.environment()),
    }
    done = room.run(*client(name, server=server))
    assert done.code == 0, done.said
    check(done.json, place, modern=CLIENTS[name][1])


@pytest.mark.parametrize("name", CLIENTS)
def test_a_foreign_client_calls_over_http_and_reads_an_error_whole(
    name: str, room: kit.Room, place: Place
) -> None:
    served = place.command("--http", "127.0.0.1:0")
    done = room.run_against(served, *client(name), "URL", variables=place.environment())
    assert done.code == 0, done.said
    check(done.json, place, modern=CLIENTS[name][1])
