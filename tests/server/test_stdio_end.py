"""How a server process ends, and what became of what it was doing: nothing is left open.

Each row of `ENDS` is done to a server that carries out one call; then its journal is read.
"""

import signal
from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio
import apsw
import pytest
from tests.support.books import out_of_balance
from tests.support.commands import gone, pid_of_the_command
from tests.support.place import Place, keyed
from tests.support.until import until
from tests.support.wire import ENVELOPE, Wire, wire

pytestmark = pytest.mark.anyio

BOUND = 5.0 + 5.0
"""Seconds: what `runs.DRAIN` promises, and as much for a machine that does much else."""


async def call(
    server: Wire, request_id: int, tool: str, key: str | None = None, **arguments: Any
) -> None:
    """Send a call and wait for nothing."""
    about = {**ENVELOPE, **(keyed(key) if key is not None else {})}
    await server.send(
        {
            "jsonrpc": "2.0",
            "id": request_id,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments, "_meta": about},
        }
    )


async def end_of_input(server: Wire, place: Place) -> None:
    """The client closes its end."""
    del place
    assert server.process.stdin is not None
    await server.process.stdin.aclose()


async def terminated(server: Wire, place: Place) -> None:
    """As hosts do, and `kill`."""
    del place
    server.process.send_signal(signal.SIGTERM)


async def interrupted(server: Wire, place: Place) -> None:
    """As the keyboard does; once more by who has no patience."""
    del place
    server.process.send_signal(signal.SIGINT)
    server.process.send_signal(signal.SIGINT)


async def nobody_reads(server: Wire, place: Place) -> None:
    """The reader of its output goes away, while the writer of its input stays."""
    del place
    # `aclose` of anyio's stream leaves the pipe open.
    cast(Any, server.process.stdout)._stream._transport.close()


async def stuck_and_terminated(server: Wire, place: Place) -> None:
    """A client that has stopped reading: the pipe is full, an answer half-written."""
    for request_id in range(100, 120):
        listing = {"jsonrpc": "2.0", "id": request_id, "method": "tools/list"}
        await server.send({**listing, "params": {"_meta": ENVELOPE}})
    # Requests are begun in their order: when this has begun, all those have been answered.
    await call(server, 120, "run_command", command="echo > stuck; sleep 60")
    await until(lambda: place.workspace.joinpath("stuck").exists())
    server.process.send_signal(signal.SIGTERM)


ENDS: dict[str, Callable[[Wire, Place], Awaitable[None]]] = {
    "end of input": end_of_input,
    "SIGTERM": terminated,
    "SIGINT twice": interrupted,
    "nobody reads": nobody_reads,
    "stuck and SIGTERM": stuck_and_terminated,
}


def ends(*fast: str) -> list[Any]:
    """All of them; those not named are for the long run."""
    return [each if each in fast else pytest.param(each, marks=pytest.mark.slow) for each in ENDS]


def journal(place: Place, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the journal of a server that has ended."""
    path = str(place.config.state / "journal.db")
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


async def ended(server: Wire, place: Place) -> None:
    """The server ends by itself, in order, in time, and leaves nothing open in its journal."""
    assert server.process.stderr is not None
    with anyio.fail_after(BOUND):
        assert await server.process.wait() == 0
    logged = b"".join([chunk async for chunk in server.process.stderr])
    assert b"Traceback" not in logged, logged.decode()
    assert journal(place, "SELECT tool FROM call WHERE state = 'running'") == []
    assert journal(place, "SELECT owner FROM attempt WHERE state = 'running'") == []
    assert journal(place, "SELECT instance FROM instance WHERE ended_at IS NULL") == []
    assert out_of_balance(place.config.state / "journal.db") == []


@pytest.mark.parametrize("end", ends("stuck and SIGTERM", "nobody reads"))
async def test_a_command_without_a_key_is_killed_at_once_and_recorded(
    place: Place, end: str
) -> None:
    """Guard: `Runs.drain`, `Flow.end` and `over_stdio._end_on_signal`."""
    started = place.workspace / "started"
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        await call(server, 1, "run_command", command=f"echo > {started}; sleep 60; echo > late")
        await until(started.exists)
        shell = await pid_of_the_command(place.config.state, "late")
        await ENDS[end](server, place)
        await ended(server, place)
    assert gone(shell)
    assert not (place.workspace / "late").exists()
    (row,) = journal(
        place,
        "SELECT c.state, r.delivery FROM call c JOIN receipt r USING (call_id)"
        " WHERE c.arguments LIKE '%late%'",
    )
    assert row == ("failed", "lost")


@pytest.mark.parametrize("end", ends("end of input"))
async def test_a_keyed_command_that_is_nearly_done_comes_to_its_end(place: Place, end: str) -> None:
    """Guard: `Runs._leave`, which keeps a keyed run whose connection is gone."""
    started, done = place.workspace / "started", place.workspace / "done"
    command = f"echo > {started}; sleep 1; echo > {done}"
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        await call(server, 1, "run_command", "k", command=command)
        await until(started.exists)
        await ENDS[end](server, place)
        await ended(server, place)
    assert done.exists()
    sql = "SELECT state, delivery FROM call JOIN receipt r USING (call_id) WHERE r.key = 'k'"
    assert journal(place, sql) == [("succeeded", "lost")]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["end of input", "SIGTERM"])
async def test_a_keyed_command_that_goes_on_is_killed_in_time_and_recorded(
    place: Place, end: str
) -> None:
    """Guard: the second half of `Runs.drain`."""
    started = place.workspace / "started"
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        command = f"echo > {started}; sleep 60; echo > late"
        await call(server, 1, "run_command", "k", command=command)
        await until(started.exists)
        shell = await pid_of_the_command(place.config.state)
        await ENDS[end](server, place)
        await ended(server, place)
    assert gone(shell)
    assert not (place.workspace / "late").exists()
    sql = "SELECT state, delivery FROM call JOIN receipt r USING (call_id) WHERE r.key = 'k'"
    assert journal(place, sql) == [("failed", "lost")]


@pytest.mark.parametrize("end", ends("SIGTERM"))
async def test_files_that_were_being_written_are_written_whole_and_recorded(
    place: Place, end: str
) -> None:
    """Guard: `Runs.drain`."""
    content = "x" * 100_000
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        for n in range(20):
            await call(server, n + 1, "write_file", f"k{n}", path=f"file{n}", content=content)
        await until(lambda: any(place.workspace.glob("file*")))
        await ENDS[end](server, place)
        await ended(server, place)
    states = dict(journal(place, "SELECT key, state FROM call WHERE tool = 'write_file'"))
    for n in range(20):
        path = place.workspace / f"file{n}"
        assert path.exists() is (states.get(f"k{n}") == "succeeded"), n
        assert not path.exists() or path.read_text() == content
    assert not list(place.workspace.glob(".*"))
