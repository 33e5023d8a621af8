"""What counts as delivered: an answer that was fully written before any cancel of its request."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import apsw
import pytest
from mcp import Client
from tests.support.place import Place, disposition
from tests.support.until import until
from tests.support.wire import ENVELOPE, Wire, wire

from surefoot_server.app import App

pytestmark = pytest.mark.anyio

LARGE = "line\n" * 50_000
"""A file whose content is far longer as an answer than all that lies between server and test."""


async def send(server: Wire, request_id: int, tool: str, **arguments: Any) -> None:
    """Send a call and wait for nothing."""
    params = {"name": tool, "arguments": arguments, "_meta": ENVELOPE}
    call = {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}
    await server.send(call)


async def cancel(server: Wire, request_id: int) -> None:
    """Give a request up."""
    params = {"requestId": request_id}
    await server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})


def look(place: Place, sql: str, tool: str) -> list[Any]:
    """A column of the rows of a tool, as committed by now."""
    path = str(place.config.state / "journal.db")
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [value for (value,) in connection.execute(sql, (tool,))]
    finally:
        connection.close()


def receipts(place: Place, tool: str) -> list[str | None]:
    """What became of the answers of a tool."""
    return look(place, "SELECT delivery FROM receipt WHERE tool = ?", tool)


def states(place: Place, tool: str) -> list[str]:
    """How the calls of a tool stand."""
    return look(place, "SELECT state FROM call WHERE tool = ?", tool)


async def a_large_answer_that_waits(server: Wire, place: Place) -> None:
    """One (to 1) that fills all that lies between server and test, read but for its first byte."""
    (place.workspace / "large").write_text(LARGE)
    await server.ask(0, "server/discover")
    await send(server, 1, "read_file", path="large", line_count=100_000)
    assert await server.incoming.receive_exactly(1) == b"{"


async def the_rest_of_it(server: Wire) -> None:
    """Read that answer to its end."""
    with anyio.fail_after(20):
        assert b'"id":1,' in await server.incoming.receive_until(b"\n", 64 * 1024 * 1024)


async def test_an_answer_is_delivered_by_its_own_last_byte_and_not_by_that_of_the_next(
    place: Place,
) -> None:
    """Guard: `MessageWriter._write`, which gives the pipe one line at a time."""
    async with wire(place) as server:
        await a_large_answer_that_waits(server, place)
        await send(server, 2, "nope")
        await until(lambda: receipts(place, "nope") == [None])
        await send(server, 3, "read_file", path="large", line_count=100_000)
        # Once its end is recorded, nothing comes before its answer joins the others.
        await until(lambda: states(place, "read_file") == ["succeeded"] * 2)
        await the_rest_of_it(server)
        assert (await server.receive())["id"] == 2
        # The third is stuck. That the second was written is known all the same.
        await until(lambda: receipts(place, "nope") == ["delivered"])
        server.process.kill()


Door = Callable[[Wire], Awaitable[None]]


async def by_cancel(server: Wire) -> None:
    """The client gives the request up, and reads on all the same."""
    await cancel(server, 2)
    await the_rest_of_it(server)
    params = {"_meta": ENVELOPE}
    await server.send({"jsonrpc": "2.0", "id": 9, "method": "tools/list", "params": params})
    while (await server.receive())["id"] != 9:
        pass  # that of the command, unless the cancel came before it was on its way


async def by_closing(server: Wire) -> None:
    """The client closes its end before it has read the answer."""
    assert server.process.stdin is not None
    await server.process.stdin.aclose()


@pytest.mark.parametrize("door", [by_cancel, by_closing])
async def test_an_answer_that_was_not_written_in_time_is_lost(place: Place, door: Door) -> None:
    """Guard: `Exchange.cancelled` and `Exchange.lost`, told by `MessageReader` before the SDK."""
    async with wire(place) as server:
        await a_large_answer_that_waits(server, place)
        await send(server, 2, "run_command", command="true")
        await until(lambda: states(place, "run_command") == ["succeeded"])
        await door(server)
        await server.end()
    assert receipts(place, "run_command") == ["lost"]


async def test_a_cancel_that_stops_a_safe_call_is_its_answer(place: Place) -> None:
    """Guard: `Execution._unanswered`."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        await send(server, 1, "query_database", sql=endless)
        # It is answered after the call has begun: requests are begun in their order.
        await server.ask(2, "tools/list")
        await cancel(server, 1)
        await until(lambda: receipts(place, "query_database") == ["stopped"])
        _, _, status = await server.end()
    assert status == 0


async def test_a_call_that_ends_although_it_was_cancelled_has_lost_its_answer(
    place: Place,
) -> None:
    """Guard: `Exchange._given_up`: the transport knows of a cancel before the SDK does."""
    app = App(place.config)
    app.door.exchange.tracked = True
    go = place.workspace / "go"
    command = {"command": "echo >> log; until [ -e go ]; do sleep 0.02; done"}
    async with Client(app.server) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "run_command", command)
            await until((place.workspace / "log").exists)
            for request_id in range(100):
                app.door.exchange.cancelled(request_id)
            go.touch()
        assert disposition(await client.call_tool("run_command", command)) == "replayed"
    assert (place.workspace / "log").read_text() == "\n"
