"""The attacks on the wire (`attacks-wire.jsonl`), over stdio and over HTTP, both eras.

Each is answered with an error, or ignored where there is nothing to answer; in either case the
server goes on, in bounded memory, and nothing outside of the workspace is touched.
"""

import base64
import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.place import Place
from tests.support.until import until
from tests.support.web import MODERN, Line, Reply, Web, a_call, a_web, named, web_process
from tests.support.wire import ENVELOPE, Wire, wire

pytestmark = pytest.mark.anyio

CASES = {
    case["id"]: case
    for case in map(
        json.loads, Path(__file__).with_name("attacks-wire.jsonl").read_text().splitlines()
    )
}
PROTOCOL = [name for name in CASES if name.startswith("protocol-")]
LARGE = ("protocol-037", "protocol-038", "protocol-039", "protocol-042", "protocol-045")
OURS = {"file.read": "read_file", "shell.run": "run_command"}
"""The attacks name the tools of another server."""


def generated(kind: str) -> bytes:
    """The line that a case only describes."""
    name, _, size = kind.partition(":")
    count = int(size or 0)
    call = json.dumps(a_call("read_file", path="@")).encode()
    match name:
        case "deep_arrays":
            return call.replace(b'"@"', b"[" * count + b"]" * count) + b"\n"
        case "string":
            return call.replace(b"@", b"x" * count) + b"\n"
        case "no_newline":
            return b"x" * count
        case "keys":
            names = b",".join(b'"k%d":1' % each for each in range(count))
            return call.replace(b'"path": "@"', names) + b"\n"
        case "int_digits":
            return call.replace(b'"@"', b"9" * count) + b"\n"
        case other:
            raise AssertionError(other)


def lines(case: dict[str, Any], outside: Path) -> bytes:
    """What is sent."""
    arguments = case["arguments"]
    if "gen" in arguments:
        return generated(arguments["gen"])
    if "raw_b64" in arguments:
        return base64.b64decode(arguments["raw_b64"])
    text: str = arguments["raw"].replace("{OUT}", str(outside))
    for theirs, ours in OURS.items():
        text = text.replace(theirs, ours)
    return text.encode("utf-8", "surrogatepass")


def with_envelope(name: str, line: bytes) -> bytes:
    """The same request as a client of 2026-07-28 would send it, where it is one."""
    if name == "protocol-032":
        return line  # whose point is that it has none
    about = json.dumps(ENVELOPE).encode()
    for begin in (b'"params":{"name"', b'"params":{}'):
        if begin in line and b"_meta" not in line:
            more = b"," if begin.endswith(b'"name"') else b""
            return line.replace(b'"params":{', b'"params":{"_meta":' + about + more, 1)
    return line


async def is_well(server: Wire) -> None:
    """It answers; whatever answers are still on their way come first."""
    await server.send(
        {"jsonrpc": "2.0", "id": "well", "method": "tools/list", "params": {"_meta": ENVELOPE}}
    )
    while (await server.receive()).get("id") != "well":
        pass


@pytest.mark.parametrize("envelope", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_every_attack_over_stdio_is_answered_and_survived(
    place: Place, tmp_path: Path, envelope: bool
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        for name in PROTOCOL:
            if name in LARGE:
                continue
            case = CASES[name]
            sent = lines(case, outside)
            await server.write(with_envelope(name, sent) if envelope else sent)
            if name == "protocol-031":  # two requests of one id: one of them is refused
                both = [await server.receive() for _ in range(2)]
                assert sum("error" in answer for answer in both) == (1 if envelope else 2)
            elif case["expect"] == "error":
                answer = await server.receive()
                assert "error" in answer or answer["result"]["isError"] is True, (name, answer)
            await is_well(server)
        rest, _, status = await server.end()
        assert (rest, status) == (b"", 0)
    assert not list(outside.iterdir())
    runs = place.workspace / "dup"
    assert not runs.exists() or runs.read_text() == "1\n"


def peak(pid: int) -> int:
    """Bytes that a process has had at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(found.split()[1]) * 1024


@pytest.mark.slow
@pytest.mark.parametrize("name", ["protocol-037", "protocol-038", "protocol-039"])
async def test_what_is_too_large_is_refused_in_bounded_memory(
    place: Place, tmp_path: Path, name: str
) -> None:
    async with wire(place) as server:
        await server.ask(0, "server/discover")
        before = peak(server.process.pid)
        await server.write(lines(CASES[name], tmp_path))
        answer = await server.receive()
        assert "error" in answer
        if name == "protocol-039":
            await server.write(b"\n")
        await is_well(server)
        assert peak(server.process.pid) - before < 64 << 20


@pytest.mark.slow
async def test_a_flood_of_pings_is_answered_whole(place: Place) -> None:
    """Case protocol-042, in the version that knows a ping; its reader keeps up."""
    async with wire(place) as server:
        hello = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"},
        }
        await server.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello})
        await server.receive()
        before = peak(server.process.pid)
        answered: set[int] = set()
        async with anyio.create_task_group() as tasks:

            async def flood() -> None:
                for number in range(1, 5001):
                    await server.send({"jsonrpc": "2.0", "id": number, "method": "ping"})

            tasks.start_soon(flood)
            answered |= {(await server.receive())["id"] for _ in range(5000)}
        assert answered == set(range(1, 5001))
        assert peak(server.process.pid) - before < 64 << 20


def refused(reply: Reply) -> bool:
    """Whether a request over HTTP was answered with an error."""
    if reply.status >= 400 or not reply.body:
        return reply.status >= 400
    return "error" in reply.message or reply.result.get("isError") is True


@pytest.mark.slow
@pytest.mark.parametrize("era", ["2026-07-28", "2025-11-25"])
async def test_every_attack_over_http_is_answered_and_survived(
    place: Place, tmp_path: Path, era: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    async with a_web(place) as web:
        async with web.line() as line:
            await web.legacy(line)
            session = dict(line.headers)
        for name in PROTOCOL:
            if name in LARGE or name in ("protocol-002", "protocol-031"):
                continue  # of a stream of lines; a POST is one message
            case, sent = CASES[name], lines(CASES[name], outside)
            async with web.line(session if era == "2025-11-25" else MODERN) as line:
                reply = await over(line, era, with_envelope(name, sent))
                if case["expect"] == "error":
                    assert refused(reply), (name, reply)
                else:
                    assert reply.status < 500, (name, reply)
        async with web.line() as line:
            assert (await line.call("list_directory", path=".")).status == 200
    assert not list(outside.iterdir())


async def over(line: Line, era: str, sent: bytes) -> Reply:
    """Send a line as a body, with the headers that a gateway would see."""
    if era == "2025-11-25":
        return await line.ask(sent)
    headers: dict[str, str] = {}
    try:
        message = json.loads(sent)
        headers["Mcp-Method"] = str(message["method"])
        headers["Mcp-Name"] = str(message["params"]["name"])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return await line.ask(sent, **headers)


async def test_the_attacks_on_http_are_refused(place: Place) -> None:
    call = a_call("run_command", command="touch ran")
    async with a_web(place) as web:

        async def status(**headers: str) -> int:
            async with web.line() as line:
                return (await line.ask(call, **{**named("run_command"), **headers})).status

        assert await status(Origin="http://evil.example") == 403  # http-002
        assert await status(Origin="null") == 403  # http-003
        assert await status(**{"Mcp-Name": "read_file"}) == 400  # http-008
        assert await status(**{"Content-Length": "-1"}) == 400  # http-010
        async with web.line(named("run_command")) as line:  # http-005
            await line.send(call, method="GET")
            assert (await line.receive()).status == 405
        async with web.line() as line:  # http-009
            large = a_call("run_command", command="touch ran;" + "x" * 5_000_000)
            assert (await line.ask(large, **named("run_command"))).status == 413
    assert not (place.workspace / "ran").exists()


@pytest.mark.slow
async def test_two_servers_of_one_journal_run_a_key_once(place: Place) -> None:
    """Case http-016."""
    command = "echo >> log; touch begun; until [ -e go ]; do sleep 0.02; done"
    call = a_call("run_command", "k", command=command)
    async with web_process(place) as one, web_process(place) as two:
        webs: list[Web] = [one, two]
        replies: list[Reply] = []
        async with anyio.create_task_group() as tasks:

            async def ask(web: Web) -> None:
                async with web.line() as line:
                    replies.append(await line.ask(call, **named("run_command")))

            for web in webs * 4:
                tasks.start_soon(ask, web)
            await until((place.workspace / "begun").exists)
            (place.workspace / "go").touch()
    assert (place.workspace / "log").read_text() == "\n"
    told = [reply.result["_meta"]["dev.surefoot/call"] for reply in replies]
    assert len({each["call_id"] for each in told}) == 1
    assert sorted(each["disposition"] for each in told).count("ran") == 1
