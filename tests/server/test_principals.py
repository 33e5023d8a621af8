"""Many principals on one server: what is one's is nobody else's, and tokens grant what they say."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.level import level
from tests.support.place import Place
from tests.support.tokens import give
from tests.support.web import MODERN, Reply, Web, a_call, a_web, named
from tests.support.wire import ENVELOPE

from surefoot_server.http.serving import Authority
from surefoot_server.http.tokens import TokenFile, new_token
from surefoot_tools.sandbox.sandbox import Level
from surefoot_tools.tool import Group

pytestmark = pytest.mark.anyio

ALL = frozenset(Group)


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    """An empty file of tokens."""
    return TokenFile(tmp_path / "tokens.json")


def authority(tokens: TokenFile) -> Authority:
    """Takes those tokens."""
    return Authority((tokens,))


async def ask(web: Web, token: str, message: Any, tool: str) -> Reply:
    """Send a request with a token."""
    async with web.line({"Authorization": f"Bearer {token}"}) as line:
        return await line.ask(message, **named(tool))


async def call(web: Web, token: str, tool: str, key: str | None = None, **given: Any) -> Reply:
    """Call a tool with a token."""
    return await ask(web, token, a_call(tool, key, **given), tool)


def told(reply: Reply) -> dict[str, Any]:
    """What the server says that it did about a call."""
    return reply.result["_meta"]["dev.surefoot/call"]


def code(reply: Reply) -> str:
    """Of an error."""
    return reply.result["_meta"]["dev.surefoot/error"]["code"]


async def listed(web: Web, token: str) -> dict[str, Any]:
    """The list of tools."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": ENVELOPE}}
    async with web.line({"Authorization": f"Bearer {token}"}) as line:
        return (await line.ask(message, **MODERN, **{"Mcp-Method": "tools/list"})).result


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer x", "Basic eDp5", "unknown", "revoked", "expired"]
)
async def test_without_a_good_token_nothing_is_told(
    place: Place, tokens: TokenFile, header: str | None
) -> None:
    """Guard: `TokenFile.verify`, and the SDK's `RequireAuthMiddleware` before it."""
    revoked = give(tokens, "revoked", groups=ALL, writes=ALL)
    tokens.revoke("revoked")
    expired = give(tokens, "expired", groups=ALL, writes=ALL, lasting=-1)
    known = {"unknown": new_token(), "revoked": revoked, "expired": expired}
    given = {} if header is None else {"Authorization": header}
    if header in known:
        given = {"Authorization": f"Bearer {known[header]}"}
    async with a_web(place, authority(tokens)) as web, web.line(given) as line:
        reply = await line.call("run_command", command="touch ran")
        assert reply.status == 401
        assert reply.headers["www-authenticate"].startswith("Bearer ")
        assert b"surefoot" not in reply.body
    assert not (place.workspace / "ran").exists()


async def test_a_revoked_token_is_refused_from_the_next_request_on_also_in_a_session(
    place: Place, tokens: TokenFile
) -> None:
    text = give(tokens, "ci", groups=ALL, writes=ALL)
    async with (
        a_web(place, authority(tokens)) as web,
        web.line({"Authorization": f"Bearer {text}"}) as line,
    ):
        await web.legacy(line)
        look = a_call("list_directory", path=".")
        assert (await line.ask(look)).status == 200
        tokens.revoke("ci")
        assert (await line.ask(look)).status == 401


async def test_a_session_is_of_the_one_who_began_it(place: Place, tokens: TokenFile) -> None:
    mine = give(tokens, "mine", groups=ALL, writes=ALL)
    other = give(tokens, "other", groups=ALL, writes=ALL)
    async with (
        a_web(place, authority(tokens)) as web,
        web.line({"Authorization": f"Bearer {mine}"}) as line,
        web.line({"Authorization": f"Bearer {other}"}) as stranger,
    ):
        await web.legacy(line)
        stranger.headers["Mcp-Session-Id"] = line.headers["Mcp-Session-Id"]
        assert (await stranger.ask(a_call("list_directory", path="."))).status == 404


async def test_a_token_calls_what_it_says_and_lists_no_more(
    place: Place, tokens: TokenFile
) -> None:
    """Guard: `Access.refusal`, in `Executor.execute` and in `App._list_tools`."""
    files = give(tokens, "files", groups=frozenset({Group.FILES}), writes=frozenset({Group.FILES}))
    reads = give(tokens, "reads", groups=ALL, writes=frozenset())
    async with a_web(place, authority(tokens)) as web:
        names = {tool["name"] for tool in (await listed(web, files))["tools"]}
        assert "write_file" in names
        assert not {"run_command", "execute_sql", "query_database"} & names
        shown = await listed(web, reads)
        assert all(tool["annotations"]["readOnlyHint"] for tool in shown["tools"])
        assert shown["cacheScope"] == "private"
        assert code(await call(web, files, "run_command", command="true")) == "PERMISSION_DENIED"
        assert code(await call(web, files, "query_database", sql="SELECT 1")) == "PERMISSION_DENIED"
        sent = {"path": "x", "content": "x"}
        assert code(await call(web, reads, "write_file", **sent)) == "PERMISSION_DENIED"
        assert "structuredContent" in (await call(web, files, "write_file", **sent)).result
        assert "structuredContent" in (await call(web, reads, "read_file", path="x")).result
        unknown = await call(web, files, "nothing")
        assert "run_command" not in json.dumps(unknown.result)


async def test_a_token_of_one_folder_reaches_no_other(place: Place, tokens: TokenFile) -> None:
    """Guard: `Offers.to`; a folder inside of a root may be granted."""
    inside, outside = place.workspace / "inside", place.workspace / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("hidden")
    (inside / "link").symlink_to(outside)
    text = give(tokens, "one", groups=ALL, writes=ALL, roots=(inside,))
    async with a_web(place, authority(tokens)) as web:
        for path in ("../outside/secret", str(outside / "secret"), "link/secret", "outside/secret"):
            reply = await call(web, text, "read_file", path=path)
            assert code(reply) in ("PERMISSION_DENIED", "NOT_FOUND"), path
            assert b"hidden" not in reply.body
        assert code(await call(web, text, "run_command", command="true", cwd="..")) in (
            "PERMISSION_DENIED",
            "NOT_FOUND",
        )
        made = await call(web, text, "write_file", path="mine", content="x")
        assert "structuredContent" in made.result
    assert (inside / "mine").read_text() == "x"


@pytest.mark.skipif(level() is Level.OFF, reason="commands cannot be confined on this machine")
async def test_the_commands_of_a_token_of_one_folder_see_no_other(
    place: Place, tokens: TokenFile
) -> None:
    """Guard: `plan.Place.narrowed`."""
    inside, outside = place.workspace / "inside", place.workspace / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("hidden")
    one = give(tokens, "one", groups=ALL, writes=ALL, roots=(inside,))
    both = give(tokens, "both", groups=ALL, writes=ALL)
    command = f"cat {outside}/secret; echo x > {outside}/mine; echo > {inside}/mine"
    async with a_web(place, authority(tokens)) as web:
        ran = await call(web, one, "run_command", command=command)
        assert ran.result["structuredContent"]["stdout"] == ""
        assert [path.name for path in place.workspace.glob("*/mine")] == ["mine"]
        assert (inside / "mine").exists()
        ran = await call(web, both, "run_command", command=command)
        assert ran.result["structuredContent"]["stdout"] == "hidden"
        assert (outside / "mine").exists()


async def test_a_token_of_a_foreign_root_is_denied_and_told_why(
    place: Place, tokens: TokenFile, tmp_path: Path
) -> None:
    """Guard: the `except ValueError` of `Executor.execute`."""
    text = give(tokens, "x", groups=ALL, writes=ALL, roots=(tmp_path / "elsewhere",))
    async with a_web(place, authority(tokens)) as web:
        reply = await call(web, text, "list_directory", path=".")
        assert code(reply) == "PERMISSION_DENIED"
        assert "roots" in reply.result["content"][0]["text"]


async def play(web: Web, number: int, token: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """A principal's calls, under keys that all principals use; what each was told."""
    found: list[dict[str, Any]] = []
    for key in keys:
        text = f"p{number} {key}"
        sent = {"path": f"of-{number}", "content": f"{text}\n", "mode": "append"}
        for _ in range(2):  # the second time it is replayed
            reply = await call(web, token, "write_file", key, **sent)
            assert "structuredContent" in reply.result, reply
            found.append(told(reply))
        read = await call(web, token, "read_file", path=f"of-{number}")
        assert text in json.dumps(read.result["structuredContent"])
        found.append(told(read))
    return found


@pytest.mark.parametrize(
    ("people", "rounds"), [(5, 2), pytest.param(50, 7, marks=pytest.mark.slow)]
)
async def test_no_answer_key_or_row_of_one_principal_is_another_s(
    place: Place, tokens: TokenFile, people: int, rounds: int
) -> None:
    """50 principals, 1,050 requests and their reports: every key is used by all of them."""
    texts = [give(tokens, f"p{each}", groups=ALL, writes=ALL) for each in range(people)]
    keys = [f"key-{each}" for each in range(rounds)]
    calls: dict[int, list[dict[str, Any]]] = {}
    reports: dict[int, dict[str, Any]] = {}
    async with a_web(place, authority(tokens)) as web:

        async def one(number: int) -> None:
            calls[number] = await play(web, number, texts[number], keys)
            absent = await call(web, texts[number], "read_file", path=f"absent-{number}")
            assert code(absent) == "NOT_FOUND"
            reply = await call(web, texts[number], "failure_report")
            reports[number] = reply.result["structuredContent"]

        async with anyio.create_task_group() as tasks:
            for number in range(people):
                tasks.start_soon(one, number)
    for number, report in reports.items():
        shown = json.dumps(report)
        assert f"absent-{number}" in shown or "NOT_FOUND" in shown
        assert not any(f"absent-{each}'" in shown for each in range(people) if each != number)
    ids = {number: {each["call_id"] for each in found} for number, found in calls.items()}
    assert sum(map(len, ids.values())) == len(set[str]().union(*ids.values()))
    for found in calls.values():
        assert [each["disposition"] for each in found] == ["ran", "replayed", "ran"] * rounds
    for number in range(people):
        lines = (place.workspace / f"of-{number}").read_text().splitlines()
        assert lines == [f"p{number} {key}" for key in keys]
