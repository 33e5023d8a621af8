"""`surefoot wrap` before servers that nobody here wrote: one of TypeScript, one of Python."""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError
from tests.foreign import kit
from tests.support.behind import Wire, connected

from surefoot_tools import meta

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@asynccontextmanager
async def served(
    command: list[str], folder: Path, *, wrapped: bool, modern: bool = False
) -> AsyncGenerator[Wire]:
    """A client of a server, with our proxy between or without."""
    proxy = [sys.executable, "-P", "-m", "surefoot_cli", "wrap", "--"]
    words = [*proxy, *command] if wrapped else command
    environment = {
        "PATH": os.environ["PATH"],
        "SUREFOOT_HOME": str(folder / "state"),
        "SUREFOOT_ALLOW_FAULTS": "1",
    }
    parameters = StdioServerParameters(command=words[0], args=words[1:], env=environment)
    async with (
        stdio_client(parameters) as streams,
        connected(streams, modern=modern) as wire,
    ):
        yield wire


def filesystem(folder: Path) -> list[str]:
    """`@modelcontextprotocol/server-filesystem` on a folder."""
    kit.need(kit.SERVER_FILESYSTEM)
    folder.mkdir(exist_ok=True)
    return [str(kit.node()), str(kit.SERVER_FILESYSTEM), str(folder)]


def sqlite(file: Path) -> list[str]:
    """`mcp-server-sqlite` on a database."""
    kit.need(kit.SERVER_SQLITE)
    return [str(kit.SERVER_SQLITE), "--db-path", str(file)]


def disposition(result: dict[str, Any]) -> str:
    """What the proxy did about a call."""
    return result["_meta"][meta.CALL]["disposition"]


async def test_the_filesystem_server_is_listed_unchanged_and_a_write_sent_again_is_done_once(
    tmp_path: Path,
) -> None:
    work = tmp_path / "work"
    command = filesystem(work)
    async with served(command, tmp_path, wrapped=False) as wire:
        greeting, listed = wire.greeting, await wire.request("tools/list")
        missing = await wire.call("read_text_file", None, {"path": f"{work}/none"})
    path = {"path": f"{work}/a.txt"}
    edit = {**path, "edits": [{"oldText": "a", "newText": "aa"}]}
    async with served(command, tmp_path, wrapped=True) as wire:
        assert wire.greeting == greeting
        assert await wire.request("tools/list") == listed
        await wire.call("write_file", "w", {**path, "content": "a"})
        first, again = [await wire.call("edit_file", "e", edit) for _ in "12"]
        assert (disposition(first), disposition(again)) == ("ran", "replayed")
        assert again["content"] == first["content"]
        assert (work / "a.txt").read_text() == "aa"
        for _ in "12":  # without a key twice is meant twice, once the answer has arrived
            assert disposition(await wire.call("edit_file", None, edit)) == "ran"
        assert (work / "a.txt").read_text() == "aaaa"
        read = [await wire.call("read_text_file", "r", path) for _ in "12"]
        assert [disposition(each) for each in read] == ["ran", "ran"]
        assert read[1]["structuredContent"] == {"content": "aaaa"}
        failed = await wire.call("read_text_file", None, {"path": f"{work}/none"})
        assert failed["content"] == missing["content"]
        assert failed["isError"] is True


async def test_a_client_of_the_later_era_has_the_filesystem_server(tmp_path: Path) -> None:
    command = filesystem(tmp_path / "work")
    async with served(command, tmp_path, wrapped=False) as wire:
        listed = await wire.request("tools/list")
    async with served(command, tmp_path, wrapped=True, modern=True) as wire:
        assert wire.greeting["supportedVersions"] == ["2026-07-28"]
        assert (await wire.request("tools/list"))["tools"] == listed["tools"]
        made = {"path": str(tmp_path / "work" / "new")}
        for _ in "12":
            await wire.call("create_directory", "k", made)
    assert (tmp_path / "work" / "new").is_dir()


@pytest.mark.parametrize(
    ("point", "expected", "text"),
    [
        ("after_intent", "in_doubt", "a"),
        ("after_effect", "in_doubt", "aa"),
        ("before_answer", "replayed", "aa"),
    ],
)
async def test_a_kill_in_the_middle_of_a_call_does_it_once(
    tmp_path: Path, point: str, expected: str, text: str
) -> None:
    command = filesystem(tmp_path / "work")
    file = tmp_path / "work" / "a.txt"
    file.write_text("a")
    edit = {"path": str(file), "edits": [{"oldText": "a", "newText": "aa"}]}
    with pytest.RaisesGroup(MCPError, flatten_subgroups=True):
        async with served(command, tmp_path, wrapped=True) as wire:
            await wire.call("edit_file", "e", edit, **{meta.FAULT: f"kill:{point}"})
    async with served(command, tmp_path, wrapped=True) as wire:
        assert disposition(await wire.call("edit_file", "e", edit)) == expected
        assert file.read_text() == text
        # What may be done twice ends as it should, whenever the kill came.
        write = {"path": str(file), "content": "b"}
        assert disposition(await wire.call("write_file", "w", write)) == "ran"
    with pytest.RaisesGroup(MCPError, flatten_subgroups=True):
        async with served(command, tmp_path, wrapped=True) as wire:
            write = {"path": str(file), "content": "c"}
            await wire.call("write_file", "w2", write, **{meta.FAULT: f"kill:{point}"})
    async with served(command, tmp_path, wrapped=True) as wire:
        again = await wire.call("write_file", "w2", {"path": str(file), "content": "c"})
        assert disposition(again) == ("replayed" if point == "before_answer" else "ran")
    assert file.read_text() == "c"


async def test_the_sqlite_server_keeps_its_resources_and_prompts_and_inserts_once(
    tmp_path: Path,
) -> None:
    file = tmp_path / "work.db"
    command = sqlite(file)
    requests: list[tuple[str, dict[str, Any] | None]] = [
        ("tools/list", None),
        ("resources/list", None),
        ("resources/read", {"uri": "memo://insights"}),
        ("prompts/list", None),
        ("prompts/get", {"name": "mcp-demo", "arguments": {"topic": "tea"}}),
    ]
    async with served(command, tmp_path, wrapped=False) as wire:
        greeting = wire.greeting
        direct = [await wire.request(*each) for each in requests]
    insert = {"query": "INSERT INTO t VALUES (1)"}
    async with served(command, tmp_path, wrapped=True) as wire:
        assert wire.greeting == greeting
        assert [await wire.request(*each) for each in requests] == direct
        await wire.call("create_table", "c", {"query": "CREATE TABLE t (n INTEGER)"})
        first, again = [await wire.call("write_query", "k", insert) for _ in "12"]
        assert (disposition(first), disposition(again)) == ("ran", "replayed")
        for _ in "12":
            await wire.call("write_query", None, insert)
        await wire.call("append_insight", "i", {"insight": "tea sells"})
        await wire.news("notifications/resources/updated")
    async with served(command, tmp_path, wrapped=True) as wire:  # another process of ours
        assert disposition(await wire.call("write_query", "k", insert)) == "replayed"
    with pytest.RaisesGroup(MCPError, flatten_subgroups=True):
        async with served(command, tmp_path, wrapped=True) as wire:
            await wire.call("write_query", "k2", insert, **{meta.FAULT: "kill:after_effect"})
    async with served(command, tmp_path, wrapped=True) as wire:
        assert disposition(await wire.call("write_query", "k2", insert)) == "in_doubt"
    database = apsw.Connection(str(file))
    assert database.execute("SELECT count(*) FROM t").fetchall() == [(4,)]
    database.close()
