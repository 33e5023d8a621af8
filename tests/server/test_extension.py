"""The extension as its author mounts it: effects, lifespans, lists, principals, transports."""

import re
import runpy
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.extension import Extension
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from tests.support.office import Office, error, said
from tests.support.place import disposition, keyed
from tests.support.until import until
from tests.support.web import Web, a_call, named

from surefoot_server.extension import Surefoot, lowlevel
from surefoot_server.http.address import Address
from surefoot_server.http.serving import HttpApp, serve
from surefoot_tools import meta
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs" / "extension.md"


async def test_tools_are_listed_with_their_effects_and_the_way_to_repeat(office: Office) -> None:
    """Guard: `Surefoot._list`."""
    surefoot = Surefoot(office.state, effects={"count": "safe"}, failure_report=True)
    async with Client(office.server(surefoot)) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        effects = {name: (tool.meta or {}).get(meta.EFFECT) for name, tool in tools.items()}
        assert effects["send"] == effects["again"] == "at_most_once"
        assert (effects["put"], effects["look"]) == ("idempotent", "safe")
        assert effects["count"] == "safe"
        offered = {
            name for name, tool in tools.items() if "repeat" in tool.input_schema["properties"]
        }
        assert offered == {"send", "fail", "ask", "refuse", "wait", "again", "put"}
        assert tools["again"].input_schema["properties"]["repeat"]["title"] == "Repeat"
        capabilities = client.server_capabilities
        assert capabilities is not None
        assert "dev.surefoot/identity" in (capabilities.extensions or {})


async def test_the_accounts_are_a_tool_if_asked_for(office: Office) -> None:
    async with Client(office.server(Surefoot(office.state, failure_report=True))) as client:
        await client.call_tool("fail", {})
        report = await client.call_tool("failure_report", {})
        assert report.structured_content is not None
        assert report.structured_content["by_code"] == [
            {"code": "UNKNOWN", "origin": "tool", "count": 1}
        ]
        assert "failure_report" in {tool.name for tool in (await client.list_tools()).tools}


async def test_an_effect_of_a_tool_that_is_not_there_ends_the_start(office: Office) -> None:
    """Guard: `Surefoot._check`."""
    for effects, told in (({"sent": "safe"}, "'sent'"), ({"send": "sage"}, "'sage'")):
        surefoot = Surefoot(office.state, effects=effects)
        with pytest.raises(ValueError, match=told):
            async with surefoot.lifespan(office.server(surefoot)):
                pass
    for effect in (Effect.VERIFIABLE, Effect.TRANSACTIONAL):
        surefoot = Surefoot(office.state, effects={"send": effect})
        with pytest.raises(ValueError, match="cannot be"):
            async with surefoot.lifespan(office.server(surefoot)):
                pass


async def test_a_call_without_the_lifespan_is_told_what_is_missing(office: Office) -> None:
    """Guard: `Surefoot._live`."""
    surefoot = Surefoot(office.state)
    server = office.server(surefoot, lifespan=None)
    async with Client(server) as client:
        with pytest.raises(MCPError, match=r"lifespan=surefoot\.lifespan"):
            await client.call_tool("send", {"to": "a"})
    assert office.sent == []


async def test_a_lifespan_of_the_author_goes_around_ours(office: Office) -> None:
    """Guard: `Surefoot.around`."""
    surefoot = Surefoot(office.state)
    seen: list[Any] = []

    @asynccontextmanager
    async def own(_server: MCPServer[Any]) -> AsyncGenerator[str]:
        yield "mine"
        seen.append(surefoot.door.current())

    async def tell(ctx: Context) -> str:
        """What the author's lifespan gave."""
        return str(ctx.request_context.lifespan_context)

    server = office.server(surefoot, lifespan=surefoot.around(own))
    server.add_tool(tell)
    async with Client(server) as client:
        result = await client.call_tool("tell", {}, meta=keyed("k"))
        assert result.structured_content == {"result": "mine"}
    assert seen == [None]


async def test_a_tool_that_comes_later_is_carried_out_and_one_that_goes_is_not(
    office: Office,
) -> None:
    """Guard: `_Live.renew`."""
    server = office.server()
    async with Client(server) as client:

        async def late() -> str:
            """Comes later."""
            office.sent.append("late")
            return "late"

        server.add_tool(late)
        for _ in "12":
            await client.call_tool("late", {}, meta=keyed("k"))
        assert office.sent == ["late"]
        server.remove_tool("late")
        await client.list_tools()
        gone = await client.call_tool("late", {}, meta=keyed("k2"))
        assert error(gone)["code"] == "UNIMPLEMENTED"


async def test_two_clients_of_one_server_and_then_one(office: Office) -> None:
    server = office.server()
    async with Client(server) as first:
        async with Client(server) as second:
            await second.call_tool("send", {"to": "a"}, meta=keyed("k"))
        result = await first.call_tool("send", {"to": "a"}, meta=keyed("k"))
        assert disposition(result) == "replayed"
    assert office.sent == ["a"]


async def test_who_the_sdk_has_authenticated_has_keys_of_its_own(office: Office) -> None:
    """Guard: `Door.access_of`."""
    tokens = [
        AccessToken(
            token="1", client_id="c", scopes=[], subject="ann", claims={"iss": "https://i"}
        ),
        AccessToken(
            token="2", client_id="c", scopes=[], subject="bob", claims={"iss": "https://i"}
        ),
        AccessToken(token="3", client_id="c", scopes=[]),
    ]

    class Authentication(Extension):
        """Stands where the SDK's HTTP would: the token is in the context of each request."""

        identifier = "test/authentication"

        async def intercept_tool_call(self, params: Any, ctx: Any, call_next: Any) -> Any:
            """Take the caller for who it says it is."""
            number: int = ctx.params["_meta"]["test/token"]
            user = AuthenticatedUser(tokens[number])
            token = auth_context_var.set(user)
            try:
                return await call_next(ctx)
            finally:
                auth_context_var.reset(token)

    surefoot = Surefoot(office.state)
    server = office.server(surefoot, extensions=[Authentication(), surefoot])
    async with Client(server) as client:
        for number in range(3):
            about: Any = {**keyed("k"), "test/token": number}
            assert disposition(await client.call_tool("send", {"to": "a"}, meta=about)) == "ran"
    assert office.query("SELECT principal FROM call ORDER BY principal") == [
        ("client:c##",),
        ("https://i#ann",),
        ("https://i#bob",),
    ]


async def test_under_surefoots_own_http_a_key_comes_back_after_its_connection_went(
    office: Office,
) -> None:
    """Guard: `lowlevel` and `Door.exchange_of`; over the SDK's HTTP its call would be cancelled."""
    surefoot = Surefoot(office.state)
    server = office.server(surefoot)
    address, listening = Address("127.0.0.1", 0).bind()
    app = HttpApp(lowlevel(server), surefoot.door, address.security())
    ready = anyio.Event()
    web = Web(address)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, app, surefoot.door, [listening], ready.set)
        await ready.wait()
        async with web.line() as line:
            await line.send(a_call("wait", "k"), **named("wait"))
            await office.begun.wait()
        await until(lambda: office.query("SELECT delivery FROM receipt") == [("lost",)])
        async with web.line() as line:
            await line.send(a_call("wait", "k"), **named("wait"))
            office.gate.set()
            result = (await line.receive()).result
        assert result["content"] == [{"type": "text", "text": "done"}]
        assert result["_meta"][meta.CALL]["disposition"] in ("joined", "replayed")
        tasks.cancel_scope.cancel()
    assert office.sent == ["wait"]


async def test_the_server_of_the_docs_sends_one_mail_for_one_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.M | re.S)
    script = tmp_path / "mail.py"
    script.write_text(program)
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "state")])
    server = runpy.run_path(str(script))["server"]
    mail = {"to": "a@example.org", "text": "hello"}
    async with Client(server) as client:
        results = [await client.call_tool("send_mail", mail, meta=keyed("mail-1")) for _ in "12"]
        assert [disposition(each) for each in results] == ["ran", "replayed"]
        assert said(results[0]) == said(results[1])
        counted = await client.call_tool("count_mails", {})
        assert counted.structured_content == {"result": 1}
    assert (tmp_path / "state" / "outbox").read_text() == "local/mail-1 a@example.org: hello\n"


SERVER = """
import os, signal, sys
from pathlib import Path
import anyio
from mcp.server.mcpserver import MCPServer
from surefoot_server.extension import Surefoot
from surefoot_server.foreign import ForeignResult
from surefoot_tools.tool import Happened, NotBegun

state, log = sys.argv[1], Path(sys.argv[2])

async def found(key):
    text = {"content": [{"type": "text", "text": "found"}]}
    return Happened(ForeignResult.of(text)) if log.exists() else NotBegun()

surefoot = Surefoot(
    state, effects={"put": "idempotent"}, recover={"known": found}, allow_faults=True
)
server = MCPServer("mail", lifespan=surefoot.lifespan, extensions=[surefoot], log_level="ERROR")

def act():
    with log.open("a") as file:
        file.write("x")
    return "done"

server.add_tool(act, name="send")
server.add_tool(act, name="put")
server.add_tool(act, name="known")
server.run("stdio")
"""
"""Somebody's server; each of its tools has one effect."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "point", "expected", "times"),
    [
        ("send", "after_effect", "in_doubt", 1),
        ("send", "before_answer", "replayed", 1),
        ("put", "after_effect", "ran", 2),
        ("known", "after_effect", "replayed", 1),
        ("known", "after_intent", "ran", 1),
    ],
)
async def test_a_call_sent_again_after_a_kill_does_what_its_effect_allows(
    tmp_path: Path, tool: str, point: str, expected: str, times: int
) -> None:
    """Guard: `ForeignTool.recover`; over the SDK's own stdio, with `kill -9`."""
    log = tmp_path / "log"
    script = tmp_path / "mail.py"
    script.write_text(SERVER)
    parameters = StdioServerParameters(
        command=sys.executable, args=[str(script), str(tmp_path / "state"), str(log)]
    )
    with pytest.raises((MCPError, ExceptionGroup)):
        async with Client(parameters) as client:
            await client.call_tool(tool, {}, meta={**keyed("k"), meta.FAULT: f"kill:{point}"})
    async with Client(parameters) as client:
        result = await client.call_tool(tool, {}, meta=keyed("k"))
        assert disposition(result) == expected
        if tool == "known" and expected == "replayed":
            assert said(result)["content"] == [{"type": "text", "text": "found"}]
    assert log.read_text() == "x" * times
