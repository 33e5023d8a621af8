"""The driver's connection over Streamable HTTP, against a real server on loopback."""

import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.abc import TaskStatus
from mcp_types import HEADER_MISMATCH
from starlette.types import Receive, Send
from tests.client.web_server import Door, a_door, breaks_off, says, serving, turns_away

from surefoot_client.connection import Answer, Connection, Lost, OnSend, Unreachable, connect
from surefoot_client.record import LostReason
from surefoot_client.refusal import MEANINGS
from surefoot_client.streamable_http import Endpoint
from surefoot_tools.errors import Applied, Code

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server, which is in this process, counts."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@asynccontextmanager
async def connected(door: Door, **options: Any) -> AsyncGenerator[Connection, None]:
    async with serving(door) as url, connect(Endpoint(url), **options) as connection:
        yield connection


def answered(ended: Answer | Lost) -> Answer:
    assert isinstance(ended, Answer), ended
    return ended


def lost(ended: Answer | Lost) -> LostReason:
    assert isinstance(ended, Lost), ended
    return ended.reason


@pytest.mark.parametrize(("legacy", "version"), [(False, "2026-07-28"), (True, "2025-11-25")])
async def test_calls_of_both_eras_are_answered_and_nothing_is_sent_that_was_not_asked_for(
    legacy: bool, version: str
) -> None:
    """Guard: `_Posting`, which opens no stream for what a server might say by itself."""
    door = a_door()
    door.legacy = legacy
    seen: dict[int, Answer | Lost] = {}

    async def one(number: int) -> None:
        seen[number] = await connection.call("echo", {"n": number}, f"r:t:1:{number}", 1)

    async with connected(door) as connection:
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(one, number)
        failed = answered(await connection.call("fail", {}, "r:t:1:5", 1))
        assert connection.protocol == version
        assert connection.alive
    assert failed.text == "it failed"
    assert failed.protocol_error is None
    assert [answered(seen[n]).structured for n in range(5)] == [
        {"arguments": {"n": n}} for n in range(5)
    ]
    handshake = ["server/discover"]
    if legacy:
        handshake += ["initialize", "notifications/initialized"]
    calls = ["tools/list", *["echo"] * 5, "fail"]
    assert door.seen == handshake + calls + (["-"] if legacy else [])  # the session's DELETE


@pytest.mark.parametrize("status", sorted(MEANINGS))
async def test_what_http_turns_away_is_an_answer_with_its_cause_and_is_not_sent_again(
    status: int,
) -> None:
    door = a_door()
    headers = {"retry-after": "7", "location": "/other?secret=1"}
    door.acts["count"] = turns_away(status, headers)
    async with connected(door) as connection:
        refused = answered(await connection.call("count", {}, "r:t:1:0", 1))
        assert connection.alive
        answered(await connection.call("echo", {}, "r:t:1:1", 1))
    assert refused.http_status == status
    assert refused.is_error
    assert refused.protocol_error is not None
    assert refused.error is not None
    meaning = MEANINGS[status]
    assert refused.error["code"] == meaning.code
    assert refused.error["applied"] == meaning.applied
    assert refused.error["retry_after"] == (7.0 if status in (429, 503) else None)
    assert refused.text.startswith(f"HTTP {status} ")
    assert "secret" not in refused.text
    assert door.seen.count("count") == 1
    assert ("is not followed" in refused.text) == (300 <= status < 400)


async def test_a_redirect_within_the_server_is_not_followed_either() -> None:
    """Guard: `follow_redirects=False` of `streamable_http.http`."""
    door = a_door()
    async with serving(door) as url:
        door.acts["count"] = turns_away(307, {"location": url})
        async with connect(Endpoint(url)) as connection:
            refused = answered(await connection.call("count", {}, "r:t:1:0", 1))
    assert refused.http_status == 307
    assert f"redirected to {url}" in refused.text
    assert door.seen.count("count") == 1


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (-32601, 404, Code.UNIMPLEMENTED),
        (-32602, 400, Code.INVALID_ARGUMENT),
        # after which the SDK's `Client.call_tool` lists the tools and sends once more
        (HEADER_MISMATCH, 400, Code.UNKNOWN),
    ],
)
async def test_an_error_of_mcp_under_a_status_of_http_is_one_of_mcp_and_nothing_is_sent_again(
    code: int, status: int, expected: Code
) -> None:
    """Guard: `Connection._exchange` goes by the session, not by `Client.call_tool`."""
    door = a_door()
    body = f'{{"jsonrpc":"2.0","id":ID,"error":{{"code":{code},"message":"no such thing"}}}}'
    door.acts["count"] = says(body, status=status)
    async with connected(door) as connection:
        refused = answered(await connection.call("count", {}, "r:t:1:0", 1))
    assert refused.protocol_error == code
    assert refused.http_status is None
    assert refused.error is not None
    assert refused.error["code"] == expected
    assert refused.text == "no such thing"
    assert door.seen == ["server/discover", "tools/list", "count"]


@pytest.mark.parametrize(
    "act",
    [
        says("no json"),
        says('{"jsonrpc":"2.0","id":"another","result":{}}'),
        says("<html>", "text/html"),
        says("", status=202),
        says("bad gateway", "text/plain", 502),
        says("data: no json\n\n", "text/event-stream"),
        turns_away(200, {"content-type": "application/json", "content-encoding": "gzip"}),
    ],
    ids=["garbage", "another", "html", "202", "502", "garbage-event", "compressed"],
)
async def test_what_is_no_answer_is_lost_as_unreadable(act: Any) -> None:
    door = a_door()
    door.acts["count"] = act
    async with connected(door) as connection:
        assert lost(await connection.call("count", {}, "r:t:1:0", 1)) is LostReason.UNREADABLE
        assert connection.alive
        answered(await connection.call("echo", {}, "r:t:1:1", 1))
    assert door.seen.count("count") == 1


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_a_message_at_the_bound_is_read_and_a_longer_one_is_not(kind: str) -> None:
    """Guard: `_Posting._body`, and `max_event_size` in `_Posting._streamed`."""
    head, tail = (
        '{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","content":[],"x":"',
        '"}}',
    )
    before, after = ("data: ", "\n\n") if kind == "text/event-stream" else ("", "")
    # the field's name counts, the end of the event does not; the id is one digit
    around = len(before + head + tail) - len("ID") + 1
    door = a_door()
    async with serving(door) as url, connect(Endpoint(url, longest=5000)) as connection:
        for more, name in enumerate(("echo", "count")):
            door.acts[name] = says(
                before + head + "x" * (5000 + more - around) + tail + after, kind
            )
            ended = await connection.call(name, {}, f"r:t:1:{more}", 1)
            assert (ended.reason if isinstance(ended, Lost) else None) is (
                LostReason.UNREADABLE if more else None
            )


async def test_a_stream_that_breaks_off_is_lost_as_closed_and_neither_resumed_nor_sent_again() -> (
    None
):
    door = a_door()
    door.acts["count"] = breaks_off
    async with connected(door) as connection:
        assert lost(await connection.call("count", {}, "r:t:1:0", 1)) is LostReason.CLOSED
        assert not connection.alive
        await connection.respawn()
        answered(await connection.call("echo", {}, "r:t:1:1", 1))
    assert door.seen[2:] == ["count", "echo"]


async def test_a_cut_connection_is_lost_as_closed_though_the_request_arrived(
    workspace: Path,
) -> None:
    arrived = anyio.Event()

    async def tell(_message: dict[str, Any], receive: Receive, _send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        arrived.set()

    door = a_door()
    door.acts["count"] = tell
    async with connected(door) as connection:
        ended = await connection.call("count", {}, "r:t:1:0", 1, OnSend(cut=True))
        assert lost(ended) is LostReason.CLOSED
        with anyio.fail_after(10):
            await arrived.wait()
        answered(await connection.call("echo", {}, "r:t:1:1", 1))


async def test_a_slow_answer_is_lost_as_a_timeout_its_stream_closed_and_the_connection_stands() -> (
    None
):
    """Guard: `_Posting._gives_up`."""
    gone = anyio.Event()

    async def waits(_message: dict[str, Any], receive: Receive, _send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    door = a_door()
    door.acts["count"] = waits
    async with connected(door, call_timeout=0.2) as connection:
        assert lost(await connection.call("count", {}, "r:t:1:0", 1)) is LostReason.TIMEOUT
        with anyio.fail_after(10):
            await gone.wait()
        assert connection.alive
    assert door.seen[2:] == ["count"]


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_client_goes_on_with_a_server_that_went_away_and_came_back(legacy: bool) -> None:
    first, second = a_door(), a_door()
    first.legacy = second.legacy = legacy
    async with anyio.create_task_group() as tasks:
        one = await tasks.start(Stand(first).run)
        async with connect(Endpoint(one.url)) as connection:
            answered(await connection.call("echo", {}, "r:t:1:0", 1))
            await one.end()
            ended = lost(await connection.call("echo", {}, "r:t:1:1", 1))
            assert ended in (LostReason.CLOSED, LostReason.UNREACHABLE)
            assert not connection.alive
            with pytest.raises(Unreachable, match="nothing listens at"):
                await connection.respawn()
            again = lost(await connection.call("echo", {}, "r:t:1:1", 2))
            assert again is LostReason.UNREACHABLE
            two = await tasks.start(Stand(second, port=one.port).run)
            await connection.respawn()
            answered(await connection.call("echo", {}, "r:t:1:1", 3))
        await two.end()
    if not legacy:
        # the same client: nothing was asked before the call
        assert second.seen == ["echo"]


@dataclass
class Stand:
    """A server that can be taken away while a connection to it is open."""

    door: Door
    port: int = 0
    url: str = ""
    down: anyio.Event = field(default_factory=anyio.Event)
    gone: anyio.Event = field(default_factory=anyio.Event)

    async def run(self, *, task_status: TaskStatus["Stand"]) -> None:
        async with serving(self.door, self.port) as self.url:
            self.port = urlsplit(self.url).port or 0
            task_status.started(self)
            await self.down.wait()
        self.gone.set()

    async def end(self) -> None:
        self.down.set()
        await self.gone.wait()


async def test_a_session_that_the_server_forgot_is_lost_as_unreachable_and_made_anew() -> None:
    """A 404 says that nothing was carried out (MCP 2025-11-25, 'Session Management')."""
    door = a_door()
    door.legacy = True
    door.acts["count"] = turns_away(404)
    async with connected(door) as connection:
        assert lost(await connection.call("count", {}, "r:t:1:0", 1)) is LostReason.UNREACHABLE
        assert not connection.alive
        del door.acts["count"]
        await connection.respawn()
        answered(await connection.call("count", {}, "r:t:1:0", 2))
    assert door.seen.count("initialize") == 2


async def test_a_token_goes_to_the_server_and_into_no_message_and_a_wrong_one_is_told() -> None:
    door = a_door()
    door.token = "sesame-1"
    async with serving(door) as url:
        async with connect(Endpoint(url, "sesame-1")) as connection:
            door.token = "sesame-2"
            refused = answered(await connection.call("count", {}, "r:t:1:0", 1))
        for token, said in (("sesame-1", "it was taken from X"), (None, "none was set in X")):
            endpoint = Endpoint(url, token, "X")
            with pytest.raises(Unreachable, match=f"HTTP 401 Unauthorized; .*{said}") as caught:
                async with connect(endpoint):
                    pass
            assert "sesame" not in f"{caught.value} {endpoint!r}"
    assert refused.error is not None
    assert (refused.error["code"], refused.error["applied"]) == (Code.UNAUTHENTICATED, Applied.NO)
    assert "sesame" not in json.dumps([refused.text, refused.error])
    assert set(door.authorized) == {"Bearer sesame-1", None}


async def test_where_nothing_listens_the_server_is_unreachable_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match=f"nothing listens at http://127.0.0.1:{port}/mcp"):
        async with connect(Endpoint(f"http://127.0.0.1:{port}/mcp")):
            pass
