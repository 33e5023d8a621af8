"""What a client can make the server hold: lines, requests, answers; and what it is told instead."""

import json
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from tests.support.commands import gone, pid_of_the_command
from tests.support.place import Place
from tests.support.until import until, until_asked
from tests.support.wire import ENVELOPE, Wire, wire

from surefoot_server.stdio import LONGEST_LINE

pytestmark = pytest.mark.anyio

MEMORY = 96 * 1024 * 1024
"""Bytes that a server may grow by, whatever a client does; 256 answers of 40 KB are 10 MB."""


def request(request_id: Any, method: str = "tools/list", **params: Any) -> bytes:
    """A request as a line."""
    params["_meta"] = ENVELOPE
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return json.dumps(message).encode() + b"\n"


def a_call(request_id: Any, tool: str, **arguments: Any) -> bytes:
    """A call of a tool as a line."""
    return request(request_id, "tools/call", name=tool, arguments=arguments)


def memory(server: Wire) -> int:
    """Bytes that a server process has had at most."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


def receipts(place: Place) -> list[tuple[Any, ...]]:
    """Tool, disposition and delivery of each receipt, of a server that has ended."""
    journal = apsw.Connection(
        str(place.config.state / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY
    )
    try:
        sql = "SELECT tool, disposition, delivery FROM receipt"
        return journal.execute(sql).fetchall()
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("count", "padding"),
    # 1.2 MB of requests: three times what pipes and read buffers hold beside the 256 that are open.
    [pytest.param(1500, 600, marks=pytest.mark.slow), (64, 1024 * 1024)],
)
async def test_a_client_that_reads_nothing_has_to_wait_and_loses_no_answer(
    place: Place, count: int, padding: int
) -> None:
    """Guard: `Flow.room`, by number and by size."""
    async with wire(place) as server, anyio.create_task_group() as tasks:
        await server.ask(0, "server/discover")
        before, sent = memory(server), 0

        async def send() -> None:
            nonlocal sent
            for request_id in range(1, count + 1):
                await server.write(request(request_id, cursor=None, padding="x" * padding))
                sent += 1

        tasks.start_soon(send)
        seen = -1
        with anyio.fail_after(60):
            while seen != sent:  # until a whole second has brought nothing
                seen = sent
                await anyio.sleep(1)
        assert 0 < seen < count
        assert memory(server) - before < MEMORY
        answered = {(await server.receive())["id"] for _ in range(count)}
        assert answered == set(range(1, count + 1))
        assert memory(server) - before < MEMORY


async def test_a_cancel_comes_through_to_a_client_that_reads_nothing(place: Place) -> None:
    """Guard: `MessageReader.receive` goes on while an answer waits to be read."""
    started, survived = place.workspace / "started", place.workspace / "survived"
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        command = f"echo > {started}; sleep 60; echo > {survived}"
        await server.write(a_call("long", "run_command", command=command))
        await until(started.exists)
        shell = await pid_of_the_command(place.config.state)
        for request_id in range(1, 21):
            await server.write(request(request_id))
        cancel = {"requestId": "long"}
        await server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})
        await until(lambda: gone(shell))
        assert {(await server.receive())["id"] for _ in range(20)} == set(range(1, 21))
    assert not survived.exists()


@pytest.mark.parametrize("more", [0, 1])
async def test_a_line_has_four_mebibytes_and_not_one_more(place: Place, more: int) -> None:
    """Guard: the length check of `MessageReader._line`."""
    line = request(7).rstrip()
    line += b" " * (LONGEST_LINE + more - len(line)) + b"\n"
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        await server.write(line)
        answer = await server.receive()
        assert answer["id"] == 7
        assert ("result" in answer) is (more == 0)
        assert "result" in await server.ask(8, "tools/list")


NASTY = {
    "escaped quotes without an end": b'{"a":' + b'"' + rb"\"" * 2_000_000,
    "brackets": b'{"a":' + b"[{" * 2_000_000,
    "quotes": b'{"a":' + b'"' * 4_000_000,
    "colons": b'{"id"' + b" " * 2_000_000 + b"\xff" + b":" * 2_000_000,
}


async def test_a_line_made_to_take_long_to_look_through_holds_nobody_up(place: Place) -> None:
    """Guard: the possessive patterns of `salvage`, its strings without an end, and `MOST_TOKENS`.

    Each of these took minutes to days when they backtracked.
    """
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        for name, line in NASTY.items():
            await server.write(line + b"\n")
            assert (await server.receive())["error"]["code"] == -32700, name


@pytest.mark.parametrize(
    "name",
    ["null", *(pytest.param(each, marks=pytest.mark.slow) for each in ("1.5", "true", "[7]"))],
)
async def test_a_request_whose_id_is_none_is_answered_without_one(place: Place, name: str) -> None:
    """Guard: the last branch of `MessageReader.receive`."""
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        await server.write(request(7).replace(b'"id": 7', f'"id": {name}'.encode()))
        answer = await server.receive()
        assert answer["id"] is None
        assert answer["error"]["code"] == -32600


@pytest.mark.parametrize(
    ("first", "second"),
    [(7, "7"), *(pytest.param(each, each, marks=pytest.mark.slow) for each in (7, "x"))],
    ids=repr,
)
async def test_an_id_that_is_in_use_names_no_second_request(
    place: Place, first: int | str, second: int | str
) -> None:
    """Guard: `Flow.admit`. Nobody could tell the answers of two requests under one id apart."""
    command = "echo >> log; until [ -e go ]; do sleep 0.02; done"
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        await server.write(a_call(first, "run_command", command=command))
        await server.write(a_call(second, "run_command", command=command))
        refused = await server.receive()
        assert refused["id"] == second
        assert refused["error"]["code"] == -32600
        (place.workspace / "go").touch()
        assert "result" in await server.receive()
        # Once it is answered, the id is free again.
        assert "result" in await server.ask(first, "tools/list")
        await server.end()
    assert (place.workspace / "log").read_text() == "\n"
    assert sorted(receipts(place)) == [
        ("", "invalid", "delivered"),
        ("run_command", "ran", "delivered"),
    ]


async def test_the_id_of_a_cancelled_request_is_free_once_it_is_over(place: Place) -> None:
    """Guard: `MessageReader._unanswered`; without it each cancel would use up room for good."""
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        started = place.workspace / "started"
        await server.write(a_call(7, "run_command", command=f"echo > {started}; sleep 60"))
        await until(started.exists)
        cancel = {"requestId": 7}
        await server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel})

        async def free() -> bool:
            return "result" in await server.ask(7, "tools/list")

        await until_asked(free)


REFUSED_CALLS = [
    a_call(7, "read_file", path="x").replace(b'"x"', rb'"\ud800"'),
    a_call(8, "read_file", path="x").replace(b'"x"', b'"\xff"'),
    a_call(9, "read_file", path="x" * LONGEST_LINE),
    a_call(None, "read_file", path="x"),
    request(10, "tools/call", arguments={}),
    request(11, "tools/call", name="read_file", arguments=[]),
]


async def test_each_refused_line_that_asks_for_a_tool_has_a_receipt(place: Place) -> None:
    """Guard: `MessageReader._refuse`, `Exchange.refused` and `Door.account_for_malformed`."""
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        for line in REFUSED_CALLS:
            await server.write(line)
            assert "error" in await server.receive()
        await server.write(b'{"jsonrpc":"2.0","id":12,"method":"\xff"}\n')
        await server.receive()
        await server.end()
    found = receipts(place)
    assert len(found) == len(REFUSED_CALLS)
    assert {(disposition, delivery) for _, disposition, delivery in found} == {
        ("invalid", "delivered")
    }


async def test_no_message_hops_to_a_thread(place: Place) -> None:
    """Guard: none to take out; the SDK's own transport fails it with three hops a message."""
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        tasks = Path(f"/proc/{server.process.pid}/task")

        def switches() -> dict[str, int]:
            """How often each thread but the first has given up its core."""
            found: dict[str, int] = {}
            for task in tasks.iterdir():
                if int(task.name) != server.process.pid:
                    text = (task / "status").read_text()
                    found[task.name] = int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
            return found

        before = switches()
        for request_id in range(1, 201):
            await server.ask(request_id, "tools/list")
        after = switches()
        assert after.keys() == before.keys()
        assert sum(after.values()) - sum(before.values()) < 50
