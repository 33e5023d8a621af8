"""The wire over a real process: whatever has a readable id is answered; nothing else is said."""

import json
import signal
import sys
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.level import found
from tests.support.place import Place, keyed
from tests.support.wire import ENVELOPE, wire

from surefoot_server.salvage import top_level_id
from surefoot_server.stdio import LONGEST_LINE

pytestmark = pytest.mark.anyio

CALL = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","arguments":'

REFUSED: dict[str, tuple[bytes, int | str | None]] = {
    "not JSON": (b"hello", None),
    "truncated": (b'{"jsonrpc":"2.0","id":7,"method":"ping"', 7),
    "invalid UTF-8": (b'{"jsonrpc":"2.0","id":7,"method":"\xff\xfe"}', 7),
    "lone surrogate": (CALL + rb'{"path":"\ud800"}}}', 7),
    "deep nesting": (CALL + b"[" * 100_000 + b"]" * 100_000 + b"}}", 7),
    "batch": (b'[{"jsonrpc":"2.0","id":7,"method":"ping"}]', None),
    "scalar": (b"42", None),
    "neither method nor result": (b'{"jsonrpc":"2.0","id":7}', 7),
    "positional parameters": (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":["x"]}', 7),
    "a number too long": (CALL + b"9" * 100_000 + b"}}", 7),
    "an id inside the arguments": (CALL + rb'{"id":9,"path":"\ud800"}}}', 7),
    "over-long line": (CALL + b'"' + b"a" * (LONGEST_LINE + 10) + b'"}}', 7),
    "a text as id": (b'{"method":"\xff","id":"seven"}', "seven"),
}


async def test_each_line_that_is_no_message_is_answered_and_the_next_request_too(
    place: Place,
) -> None:
    """Guard: `MessageReader._refuse_line` and `_too_long`."""
    async with wire(place) as server:
        assert "result" in await server.ask(1, "server/discover")
        for name, (line, request_id) in REFUSED.items():
            await server.write(line + b"\n")
            answer = await server.receive()
            assert answer["id"] == request_id, name
            assert answer["error"]["code"] in (-32700, -32600, -32602), name
        assert "result" in await server.ask(2, "tools/list")


async def test_an_endless_line_does_not_fill_the_memory(place: Place) -> None:
    async with wire(place) as server:
        await server.ask(1, "server/discover")
        for _ in range(64):
            await server.write(b"a" * 1024 * 1024)
        await server.write(b"\n")
        assert (await server.receive())["error"]["code"] == -32600
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) < 150 * 1024


async def test_blank_lines_and_unsolicited_messages_are_ignored(place: Place) -> None:
    async with wire(place) as server:
        await server.ask(1, "server/discover")
        await server.write(b"\n  \n")
        await server.send({"jsonrpc": "2.0", "id": 99, "result": {}})
        cancel = {"requestId": 12345}
        await server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})
        assert (await server.ask(2, "tools/list"))["id"] == 2


async def test_the_handshake_era_is_served_as_well(place: Place) -> None:
    async with wire(place) as server:
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "old", "version": "1"},
        }
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        await server.send(hello)
        result = (await server.receive())["result"]
        assert result["protocolVersion"] == "2025-11-25"
        assert f"(sandbox: {found().reached})" in result["instructions"]
        await server.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        await server.send({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
        names = [tool["name"] for tool in (await server.receive())["result"]["tools"]]
        assert names == sorted(names)


async def test_only_mcp_on_stdout_and_nothing_on_stderr_by_default(place: Place) -> None:
    async with wire(place) as server:
        await server.ask(1, "server/discover")
        noise = "echo out; echo err >&2; echo wire > /dev/stdout"
        assert "result" in await server.call(2, "run_command", command=noise)
        assert (await server.call(3, "nope"))["result"]["isError"]
        assert (await server.call(4, "read_file", path="absent"))["result"]["isError"]
        rest, logged, status = await server.end()
    assert (rest, logged, status) == (b"", b"", 0)


async def test_sigterm_ends_the_server_in_order_and_records_what_it_stopped(place: Place) -> None:
    """Guard: `_end_on_signal`, and the shielded settling in `Execution._carry_out`."""
    started = place.workspace / "started"
    async with wire(place) as server:
        await server.ask(1, "server/discover")
        command = f"echo > {started}; sleep 60; echo > survived"
        call = {"name": "run_command", "arguments": {"command": command}}
        request = {"jsonrpc": "2.0", "id": 2, "method": "tools/call"}
        await server.send({**request, "params": {**call, "_meta": {**ENVELOPE, **keyed("k")}}})
        with anyio.fail_after(20):
            while not started.exists():
                await anyio.lowlevel.checkpoint()
        server.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(10):
            status = await server.process.wait()
    assert status == 0
    async with place.client() as client:
        again = await client.call_tool("run_command", {"command": command}, meta=keyed("k", 2))
    assert "CANCELLED applied=yes" in str(again.content)
    assert not (place.workspace / "survived").exists()


async def test_a_folder_with_modules_of_our_names_does_not_replace_our_code(
    place: Place, tmp_path: Path
) -> None:
    """An IDE starts the server inside the user's workspace."""
    folder = tmp_path / "theirs"
    for name in ("server", "tools", "client", "surefoot_tools"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise SystemExit('their code ran')")
    for name in ("mcp.py", "logging.py", "anyio.py", "click.py"):
        (folder / name).write_text("raise SystemExit('their code ran')")
    async with wire(place, cwd=str(folder)) as server:
        assert "result" in await server.ask(1, "server/discover")
    script = Path(sys.executable).with_name("surefoot")
    process = await anyio.run_process([str(script), "--version"], cwd=folder)
    assert process.returncode == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("id"), inner),
    max_leaves=10,
)


@given(st.integers(-(10**17), 10**17) | st.text(), json_values, st.booleans())
def test_the_top_level_id_is_found_and_no_other(
    request_id: int | str, value: object, first: bool
) -> None:
    """Guard: the depth count of `top_level_id`."""
    members = [("id", request_id), ("params", {"id": 0, "value": value})]
    line = json.dumps(dict(members if first else members[::-1])).encode()
    assert top_level_id(line) == (request_id, True)
    assert top_level_id(json.dumps({"params": {"id": 1}}).encode()) == (None, True)
    assert top_level_id(b"[" + line + b"]") == (None, True)
