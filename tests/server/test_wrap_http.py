"""The proxy before a server over HTTP: nothing is sent twice, and nothing of the client's leaks."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.abc
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from pydantic import Field
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send
from tests.support.behind import Behind

from surefoot_server.http.address import Address
from surefoot_server.http.carrier import Carrier
from surefoot_server.wrap import remote
from surefoot_server.wrap.remote import Remote
from surefoot_tools import meta

pytestmark = pytest.mark.anyio
Region = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]


@dataclass
class Post:
    """A server over HTTP, of the SDK as it is, and what its tools did."""

    address: Address = field(default_factory=lambda: Address("127.0.0.1", 0))
    sent: list[str] = field(default_factory=list[str])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    posts: list[str] = field(default_factory=list[str])
    left: list[str] = field(default_factory=list[str])
    """Sessions that were ended."""
    begun: anyio.Event = field(default_factory=anyio.Event)
    refuses: tuple[int, dict[str, str]] | None = None
    """A status, and headers, with which every request is refused before it comes to MCP."""
    text: AsyncGenerator[str] | None = None
    """The text of the refusal."""

    async def send(self, to: Region, ctx: Context) -> str:
        """Sends, and tells its progress."""
        await ctx.report_progress(1, 1)
        self.sent.append(to)
        return f"sent to {to}"

    async def wait(self) -> str:
        """Waits for ever."""
        self.sent.append("wait")
        self.begun.set()
        await anyio.sleep_forever()
        return ""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.address.host}:{self.address.port}/mcp"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note what comes, and answer it."""
        names = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.headers.append(names)
        if scope["method"] == "POST":
            self.posts.append(scope["path"])
        if scope["method"] == "DELETE":
            self.left.append(names["mcp-session-id"])
        if self.refuses is not None:
            status, headers = self.refuses
            given = {name: value.encode().decode("latin-1") for name, value in headers.items()}
            answer = StreamingResponse(self.text, status, given) if self.text else None
            await (answer or PlainTextResponse("no", status, given))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Begin, at the same place each time."""
        self._scope, self._over = anyio.CancelScope(), anyio.Event()
        await tasks.start(self._run)

    async def stop(self) -> None:
        """Be gone, at once."""
        self._scope.cancel()
        await self._over.wait()

    async def _run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        server: MCPServer[Any] = MCPServer("post", log_level="ERROR")
        server.add_tool(self.send)
        server.add_tool(self.wait)
        self._app = server.streamable_http_app()
        self.address, listening = self.address.bind()
        carrier = Carrier(self, 100, task_status.started)
        with self._scope:
            async with server.session_manager.run():
                await carrier.carry([listening])
        self._over.set()


@asynccontextmanager
async def running() -> AsyncGenerator[tuple[Post, anyio.abc.TaskGroup]]:
    """A server that runs, and where it may run again."""
    async with anyio.create_task_group() as tasks:
        post = Post()
        await post.start(tasks)
        yield post, tasks
        tasks.cancel_scope.cancel()


@pytest.fixture(params=[False, True], ids=["legacy", "modern"])
def modern(request: pytest.FixtureRequest) -> bool:
    """Whether the client is of the later era; the server speaks both."""
    return bool(request.param)


async def test_a_server_over_http_is_called_once_for_a_key_and_with_our_headers_alone(
    tmp_path: Path, modern: bool
) -> None:
    """Guard: `Catalogue.mirrored`: without it the server refuses the call of the later era.

    And `Remote._leave`: without it a session stays behind.
    """
    async with running() as (post, _):
        target = Remote(post.url, {"Authorization": "Bearer ours"})
        async with Behind(tmp_path).wrapped(modern=modern, target=target) as wire:
            sent = {"to": "north", "authorization": "Bearer theirs"}
            about: dict[str, Any] = {"progressToken": "p", "authorization": "Bearer theirs"}
            first, again = [await wire.call("send", "k", sent, **about) for _ in "12"]
            assert first["content"] == again["content"]
            assert first["content"][0]["text"] == "sent to north"
            assert again["_meta"][meta.REPLAYED] is True
            assert (await wire.news("notifications/progress"))[0]["progressToken"] == "p"
            assert len((await wire.request("tools/list"))["tools"]) == 2
    assert post.sent == ["north"]
    assert {each["authorization"] for each in post.headers} == {"Bearer ours"}
    sessions = {each["mcp-session-id"] for each in post.headers if "mcp-session-id" in each}
    assert post.left == list(sessions)
    assert len(sessions) == (0 if modern else 1)


@pytest.mark.slow
async def test_a_server_over_http_that_is_away_was_not_asked_and_one_that_is_back_is(
    tmp_path: Path, modern: bool
) -> None:
    """Guard: `_Contain.handle_async_request`, and of an earlier version its 'session is over'."""
    async with running() as (post, tasks):
        target = Remote(post.url, {})
        async with Behind(tmp_path).wrapped(modern=modern, target=target) as wire:
            await wire.call("send", "k0", {"to": "a"})
            await post.stop()
            error = (await wire.call("send", "k", {"to": "b"}))["_meta"][meta.ERROR]
            assert (error["code"], error["applied"]) == ("UNAVAILABLE", "no")
            replayed = await wire.call("send", "k0", {"to": "a"})
            assert replayed["_meta"][meta.REPLAYED] is True
            await post.start(tasks)
            result = await wire.call("send", "k", {"to": "b"})
            assert result["_meta"][meta.CALL]["disposition"] == "ran"
    assert post.sent == ["a", "b"]


@pytest.mark.slow
async def test_a_server_over_http_that_goes_in_the_middle_of_a_call_leaves_it_in_doubt(
    tmp_path: Path, modern: bool
) -> None:
    async with running() as (post, _):
        target = Remote(post.url, {})
        async with Behind(tmp_path).wrapped(modern=modern, target=target) as wire:
            results: list[dict[str, Any]] = []

            async def call() -> None:
                results.append(await wire.call("wait", "k"))

            async with anyio.create_task_group() as calls:
                calls.start_soon(call)
                await post.begun.wait()
                await post.stop()
            error = results[0]["_meta"][meta.ERROR]
            assert (error["code"], error["applied"]) == ("UNAVAILABLE", "unknown")
            again = await wire.call("wait", "k")
            assert again["_meta"][meta.CALL]["disposition"] == "in_doubt"
    assert post.sent == ["wait"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "headers", "applied", "wait"),
    [
        (401, {}, "no", None),
        (429, {"retry-after": "70"}, "no", 70.0),
        (502, {"retry-after": "²"}, "unknown", None),
        (307, {"location": "/elsewhere?token=secret"}, "no", None),
        (308, {"location": "http://127.0.0.2/mcp"}, "no", None),
        (308, {}, "no", None),
        (301, {"location": "/elsewhere"}, "unknown", None),
        (303, {"location": "/elsewhere"}, "unknown", None),
    ],
)
async def test_a_refusal_by_http_says_what_is_known_and_is_not_followed(
    tmp_path: Path, status: int, headers: dict[str, str], applied: str, wait: float | None
) -> None:
    """Guard: `_Contain._refused` and `_Contain._elsewhere`."""
    async with (
        running() as (post, _),
        Behind(tmp_path).wrapped(target=Remote(post.url, {})) as wire,
    ):
        await wire.request("tools/list")
        post.refuses, before = (status, headers), len(post.posts)
        error = (await wire.call("send", "k", {"to": "a"}))["_meta"][meta.ERROR]
        assert (error["applied"], error["retry_after"]) == (applied, wait)
        assert f"HTTP {status}" in error["message"]
        assert "secret" not in error["message"]
        if "location" in headers:
            assert "/elsewhere" in error["message"] or "127.0.0.2" in error["message"]
        assert set(post.posts) == {"/mcp"}
        if applied == "unknown":
            assert len(post.posts) == before + 1
        post.refuses = None
    assert post.sent == []


@pytest.mark.slow
@pytest.mark.parametrize("silent", [False, True], ids=["talks", "is silent"])
async def test_a_refusal_whose_text_does_not_end_is_read_so_far_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """Guard: `remote._body`."""
    monkeypatch.setattr(remote, "REFUSAL", 0.2 if silent else math.inf)
    async with (
        running() as (post, _),
        Behind(tmp_path).wrapped(target=Remote(post.url, {})) as wire,
    ):
        await wire.request("tools/list")
        post.refuses, post.text = (503, {}), text_without_end(silent=silent)
        error = (await wire.call("send", "k", {"to": "a"}))["_meta"][meta.ERROR]
        assert (error["applied"], "HTTP 503" in error["message"]) == ("unknown", True)
        post.refuses = None


async def text_without_end(*, silent: bool) -> AsyncGenerator[str]:
    """The text of a refusal."""
    yield "{"
    while True:
        await anyio.sleep(math.inf if silent else 0)
        yield "no" * 10_000


@pytest.mark.slow
async def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modern: bool
) -> None:
    """Guard: `remote._Contained` and `max_sse_event_size`."""
    monkeypatch.setattr(remote, "LONGEST_MESSAGE", 20_000)
    async with (
        running() as (post, _),
        Behind(tmp_path).wrapped(modern=modern, target=Remote(post.url, {})) as wire,
    ):
        short, long = [await wire.call("send", f"k{n}", {"to": "a" * n}) for n in (100, 30_000)]
        assert short["content"][0]["text"].startswith("sent to")
        error = long["_meta"][meta.ERROR]
        assert (error["code"], error["applied"]) == ("UNAVAILABLE", "unknown")
        assert (await wire.call("send", "k", {"to": "b"}))["_meta"][meta.CALL]["attempt"] == 1


def test_another_query_or_user_is_another_server_and_neither_is_told() -> None:
    """Guard: `Remote.identity`."""
    urls = ["", "?tenant=a", "?tenant=b"]
    urls = [f"http://{user}host/mcp{query}" for user in ("", "me:pass@") for query in urls]
    known = [Remote(url, {}).identity for url in urls]
    assert len({tuple(each) for each in known}) == len(urls)
    assert known == [Remote(url, {}).identity for url in urls]
    assert not any(word in str(known) for word in ("tenant", "pass"))


@pytest.mark.slow
async def test_a_client_is_told_that_nobody_is_there(tmp_path: Path) -> None:
    async with running() as (post, _):
        pass
    inside = pytest.RaisesExc(MCPError, match="cannot be reached")
    with pytest.RaisesGroup(inside, flatten_subgroups=True):
        async with Behind(tmp_path).wrapped(target=Remote(post.url, {})):
            pass
