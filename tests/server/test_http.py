"""Streamable HTTP: the gate, bounds, and what becomes of a call whose connection goes away."""

import json
import signal
from typing import Any

import anyio
import apsw
import pytest
from mcp import Client
from tests.support.commands import gone, pid_of_the_command
from tests.support.place import Place, body, disposition, keyed
from tests.support.until import until
from tests.support.web import MODERN, Line, Web, a_call, a_web, named, web_process
from tests.support.wire import ENVELOPE

from surefoot_server.http import exchanges
from surefoot_server.http.exchanges import LONGEST_BODY

pytestmark = pytest.mark.anyio

MUCH = "yes | head -c 2000000 | tee /dev/stderr"
"""With an answer of 4 MB: more than a kernel holds for a client that reads nothing."""
BOTH = pytest.mark.parametrize("era", ["2026-07-28", "2025-11-25"])


def query(place: Place, sql: str) -> list[tuple[Any, ...]]:
    """Of a journal that is written meanwhile."""
    journal = apsw.Connection(
        str(place.config.state / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY
    )
    try:
        return sorted(journal.execute(sql).fetchall(), key=str)
    finally:
        journal.close()


def receipts(place: Place) -> list[tuple[Any, ...]]:
    """Tool, disposition and delivery of each receipt."""
    return query(place, "SELECT tool, disposition, delivery FROM receipt")


def succeeded(place: Place) -> bool:
    """Whether a call has."""
    return query(place, "SELECT state FROM call") == [("succeeded",)]


async def settled(place: Place, *expected: tuple[Any, ...]) -> None:
    """Wait until the receipts are these; what became of an answer is recorded after it."""
    try:
        await until(lambda: receipts(place) == sorted(expected, key=str), bound=10)
    except TimeoutError:
        assert receipts(place) == sorted(expected, key=str)
        raise


async def start(web: Web, line: Line, era: str, key: str | None, command: str) -> None:
    """Send a command and wait for nothing."""
    call = a_call("run_command", key, command=command)
    if era == "2025-11-25":
        await web.legacy(line)
        await line.send(call)
    else:
        await line.send(call, **named("run_command"))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_eras_are_served_by_one_endpoint(place: Place, mode: str) -> None:
    async with a_web(place) as web, Client(web.address.url, mode=mode) as client:
        assert client.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")
        assert "run_command" in {tool.name for tool in (await client.list_tools()).tools}
        for expected in ("ran", "replayed"):
            result = await client.call_tool(
                "run_command", {"command": "echo >> log; exit 3"}, meta=keyed("k")
            )
            assert body(result)["exit_code"] == 3
            assert disposition(result) == expected
        await settled(
            place, ("run_command", "ran", "delivered"), ("run_command", "replayed", "delivered")
        )
    assert (place.workspace / "log").read_text() == "\n"


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Origin", "http://evil.example", 403),
        ("Origin", "null", 403),
        ("Origin", "http://127.0.0.1:1", 403),
        ("Host", "evil.example", 421),
        ("Host", "", 421),
    ],
)
async def test_a_foreign_origin_or_host_is_refused(
    place: Place, header: str, value: str, status: int
) -> None:
    """Guard: `Gate`; for every method and path."""
    async with a_web(place) as web:
        for method in ("POST", "GET", "DELETE"):
            async with web.line({header: value}) as line:
                await line.send(a_call("read_file", path="x"), method=method)
                assert (await line.receive()).status == status


async def test_our_own_origin_is_taken(place: Place) -> None:
    async with a_web(place) as web, web.line() as line:
        for name in ("127.0.0.1", "localhost"):
            line.headers["Origin"] = f"http://{name}:{web.address.port}"
            assert (await line.call("list_directory", path=".")).status == 200


@pytest.mark.parametrize("length", ["Content-Length: 1073741824", "Transfer-Encoding: chunked"])
async def test_a_body_that_is_too_long_is_refused_before_it_is_all_there(
    place: Place, length: str
) -> None:
    """Guard: `_Body._take`."""
    async with a_web(place) as web, web.line() as line:
        head = f"POST /mcp HTTP/1.1\r\nHost: {web.address.authority}\r\n{length}\r\n"
        head += "MCP-Protocol-Version: 2026-07-28\r\nAccept: */*\r\n\r\n"
        chunk = b" " * (LONGEST_BODY + 1)
        framed = b"%x\r\n" % len(chunk) + chunk if "chunked" in length else chunk
        await line.stream.send(head.encode() + framed)
        assert (await line.receive()).status == 413


async def test_a_body_of_four_mebibytes_is_taken(place: Place) -> None:
    async with a_web(place) as web, web.line() as line:
        call = json.dumps(a_call("list_directory", path=".")).encode().ljust(LONGEST_BODY)
        assert (await line.ask(call, **named("list_directory"))).status == 200


async def test_requests_beyond_the_room_there_is_may_be_sent_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `Exchanges.admit`; and what is answered makes room."""
    monkeypatch.setattr(exchanges, "MOST_BYTES", 3000)
    call = a_call("run_command", command="touch begun; until [ -e go ]; do sleep 0.02; done")
    async with a_web(place) as web, web.line() as first, web.line() as second:
        call["params"]["arguments"]["stdin"] = "x" * 4000
        await first.send(call, **named("run_command"))
        await until((place.workspace / "begun").exists)
        refused = await second.call("list_directory", path=".")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        (place.workspace / "go").touch()
        assert (await first.receive()).status == 200
        assert (await second.call("list_directory", path=".")).status == 200


@BOTH
async def test_a_call_without_a_key_ends_with_its_connection(place: Place, era: str) -> None:
    """Guard: `Wire.connection_lost` and `Exchange.waiting`; the SDK sees it in one mode only."""
    async with a_web(place) as web:
        async with web.line() as line:
            await start(web, line, era, None, "sleep 60")
            shell = await pid_of_the_command(place.config.state)
        await until(lambda: gone(shell))
        await settled(place, ("run_command", "ran", "lost"))


@BOTH
async def test_a_call_with_a_key_outlives_its_connection_and_is_joined(
    place: Place, era: str
) -> None:
    """Guard: `Wire.connection_lost` tells `Exchange.lost` before the request is cancelled."""
    begun, go = place.workspace / "begun", place.workspace / "go"
    command = "echo >> log; touch begun; until [ -e go ]; do sleep 0.02; done"
    async with a_web(place) as web:
        async with web.line() as line:
            await start(web, line, era, "k", command)
            await until(begun.exists)
        await settled(place, ("run_command", "ran", "lost"))
        async with web.line() as line, anyio.create_task_group() as tasks:
            await line.send(a_call("run_command", "k", command=command), **named("run_command"))
            await until(lambda: ("run_command", "joined", None) in receipts(place))
            go.touch()
            reply = await line.receive()
            assert reply.result["_meta"]["dev.surefoot/call"]["disposition"] == "joined"
            tasks.cancel_scope.cancel()
    assert (place.workspace / "log").read_text() == "\n"


async def test_an_answer_that_nobody_reads_is_not_delivered(place: Place) -> None:
    """Guard: `Wire.on_response_complete` asks how much is still to be written.

    And an equal call without a key is answered by what was not delivered.
    """
    call = a_call("run_command", command=f"echo >> log; {MUCH}", max_output=1 << 20)
    async with a_web(place) as web:
        async with web.line(window=4096) as line:
            await line.send(call, **named("run_command"))
            await until(lambda: succeeded(place))
        await settled(place, ("run_command", "ran", "lost"))
        async with web.line() as line:
            reply = await line.ask(call, **named("run_command"))
            assert reply.result["_meta"]["dev.surefoot/replayed"] is True
    assert (place.workspace / "log").read_text() == "\n"


async def test_an_answer_counts_as_delivered_only_once_it_is_fully_written(place: Place) -> None:
    """Guard: `Wire.resume_writing`."""
    call = a_call("run_command", command=MUCH, max_output=1 << 20)
    async with a_web(place) as web, web.line(window=4096) as line:
        await line.send(call, **named("run_command"))
        await until(lambda: succeeded(place))
        assert receipts(place) == [("run_command", "ran", None)]
        assert (await line.receive()).status == 200
        await settled(place, ("run_command", "ran", "delivered"))


async def test_an_answer_that_is_cancelled_before_it_is_read_is_not_delivered(place: Place) -> None:
    """Guard: `Exchanges._following`, in the versions that have a message for a cancel."""
    async with a_web(place) as web, web.line(window=4096) as line, web.line() as other:
        await web.legacy(line)
        other.headers.update(line.headers)
        await line.send(a_call("run_command", command=MUCH, max_output=1 << 20))
        await until(lambda: succeeded(place))
        params = {"requestId": 1}
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        assert (await other.ask(cancel)).status == 202
        assert (await line.receive()).status == 200
        await settled(place, ("run_command", "ran", "lost"))


async def test_an_id_that_is_in_use_in_a_session_names_no_second_request(place: Place) -> None:
    """Guard: `Exchanges._following`; another session has ids of its own."""
    call = a_call("run_command", command="touch begun; until [ -e go ]; do sleep 0.02; done")
    look = a_call("list_directory", path=".")
    async with a_web(place) as web, web.line() as line, web.line() as same, web.line() as other:
        await web.legacy(line)
        same.headers.update(line.headers)
        await web.legacy(other)
        await line.send(call)
        await until((place.workspace / "begun").exists)
        assert (await same.ask(look)).message["error"]["message"] == "the id is still in use"
        assert "structuredContent" in (await other.ask(look)).result
        (place.workspace / "go").touch()
        assert "structuredContent" in (await line.receive()).result
        assert "structuredContent" in (await same.ask(look)).result


REFUSED: dict[str, tuple[Any, dict[str, str], int]] = {
    "no name": (
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"_meta": ENVELOPE}},
        {**MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "x"},
        400,
    ),
    "header for another tool": (a_call("run_command", command="true"), named("read_file"), 400),
    "cut short": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call"', MODERN, 400),
    "no JSON is asked for": (
        a_call("run_command", command="true"),
        {**named("run_command"), "Accept": "text/plain"},
        406,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_call_that_the_sdk_refuses_has_its_receipt(place: Place, case: str) -> None:
    """Guard: `_Told.send`."""
    message, headers, status = REFUSED[case]
    async with a_web(place) as web:
        async with web.line() as line:
            reply = await line.ask(message, **headers)
            assert reply.status == status
        found = receipts(place)
        assert [each[1] for each in found] == ["invalid"]
        await settled(place, (found[0][0], "invalid", "delivered"))


async def test_an_orderly_end_writes_the_answers_of_keyed_calls(place: Place) -> None:
    """Guard: `serving.serve`. A call without a key is stopped, and says so."""
    keyed_begun, other_begun = place.workspace / "a", place.workspace / "b"
    async with web_process(place) as web, web.line() as line, web.line() as other:
        assert web.process is not None
        await line.send(
            a_call("run_command", "k", command="touch a; sleep 2; echo done"),
            **named("run_command"),
        )
        await other.send(a_call("run_command", command="touch b; sleep 60"), **named("run_command"))
        await until(lambda: keyed_begun.exists() and other_begun.exists())
        web.process.send_signal(signal.SIGTERM)
        assert (await line.receive()).result["structuredContent"]["stdout"] == "done\n"
        stopped = (await other.receive()).result
        assert stopped["_meta"]["dev.surefoot/error"]["code"] == "UNAVAILABLE"
        assert await web.process.wait() == 0
    assert receipts(place) == [
        ("run_command", "ran", "delivered"),
        ("run_command", "ran", "delivered"),
    ]


@pytest.mark.slow
async def test_a_killed_server_is_followed_by_one_that_answers_the_key(place: Place) -> None:
    command = "echo >> log; touch begun; until [ -e go ]; do sleep 0.02; done; echo end"
    async with web_process(place) as web, web.line() as line:
        assert web.process is not None
        await line.send(a_call("run_command", "k", command=command), **named("run_command"))
        await until((place.workspace / "begun").exists)
        web.process.kill()
        await web.process.wait()
    async with web_process(place, port=web.address.port) as web, web.line() as line:
        await line.send(a_call("run_command", "k", command=command), **named("run_command"))
        (place.workspace / "go").touch()
        assert (await line.receive()).result["structuredContent"]["stdout"] == "end\n"
    assert (place.workspace / "log").read_text() == "\n"
