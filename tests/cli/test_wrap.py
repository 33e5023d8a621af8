"""`surefoot wrap` as a process: its options, and what becomes of calls when either side dies."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from tests.support.behind import Behind
from tests.support.place import disposition, error, keyed
from tests.support.surefoot import surefoot
from tests.support.until import until

WRAP = [sys.executable, "-P", "-m", "surefoot_cli", "wrap"]


@pytest.fixture
def behind(tmp_path: Path) -> Behind:
    """A server that knows nothing of keys."""
    return Behind(tmp_path)


def wrapping(behind: Behind, *options: str, **variables: str) -> Client:
    """A client of a proxy process before it; an async context manager."""
    words = [*WRAP, *options, "--", *behind.command]
    environment = {
        "PATH": os.environ["PATH"],
        "SUREFOOT_HOME": str(behind.folder / "state"),
        "SUREFOOT_ALLOW_FAULTS": "1",
        **variables,
    }
    parameters = StdioServerParameters(command=words[0], args=words[1:], env=environment)
    return Client(parameters, mode="legacy", read_timeout_seconds=60)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name one server"),
        (["--http", "http://127.0.0.1:1/mcp", "--", "true"], "name one server"),
        (["--http", "ftp://127.0.0.1/"], "no http:// or https:// URL"),
        (["--header-env", "A=PATH", "--", "true"], "goes with --http"),
        (
            ["--http", "http://127.0.0.1:1/", "--header-env", "A=NOT_SET_ANYWHERE"],
            "one that is set",
        ),
        (["--effect", "send", "--", "true"], "not TOOL=EFFECT"),
        (["--effect", "send=verifiable", "--", "true"], "there is safe, idempotent, at_most_once"),
        (["--config", "CONFIG", "--", "true"], "only a table [effects]"),
        (["--journal", "/nonexistent/folder/journal.db", "--", "true"], "no folder"),
    ],
)
def test_bad_options_are_refused_with_2(tmp_path: Path, words: list[str], told: str) -> None:
    config = tmp_path / "wrap.toml"
    config.write_text('[efects]\nsend = "safe"\n')
    done = surefoot("wrap", *(str(config) if w == "CONFIG" else w for w in words), home=tmp_path)
    assert done.code == 2
    assert told in done.err


def test_the_configuration_and_the_registration_of_the_docs_are_taken(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "wrap.md").read_text()
    config = tmp_path / "wrap.toml"
    config.write_text(page.partition("```toml\n")[2].partition("```")[0])
    done = surefoot("wrap", "--config", config, home=tmp_path)
    assert "name one server" in done.err  # what is checked after the configuration
    server = json.loads(page.partition("```json\n")[2].partition("```")[0])["mcpServers"]["files"]
    assert server["args"][:2] == ["wrap", "--"]


@pytest.mark.slow
@pytest.mark.anyio
async def test_effects_come_from_the_command_line_then_the_file_then_the_hints(
    behind: Behind, tmp_path: Path
) -> None:
    config = tmp_path / "wrap.toml"
    config.write_text('[effects]\nsend = "idempotent"\nput = "at_most_once"\n')
    options = ("--config", str(config), "--effect", "put=safe")
    async with wrapping(behind, *options) as client:
        for tool in ("send", "put", "look", "fail"):
            await client.call_tool(tool, {})
    assert sorted(behind.query("SELECT tool, effect FROM call")) == [
        ("fail", "at_most_once"),
        ("look", "safe"),
        ("put", "safe"),
        ("send", "idempotent"),
    ]


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tool", "point", "expected", "times"),
    [
        ("send", "after_intent", "in_doubt", 0),
        ("send", "after_effect", "in_doubt", 1),
        ("send", "before_answer", "replayed", 1),
        ("put", "after_effect", "ran", 2),
        ("look", "after_effect", "ran", 2),
    ],
)
async def test_a_call_sent_again_after_a_kill_of_the_proxy_does_what_its_effect_allows(
    behind: Behind, tool: str, point: str, expected: str, times: int
) -> None:
    with pytest.raises((MCPError, ExceptionGroup)):
        async with wrapping(behind) as client:
            await client.call_tool(tool, {}, meta=keyed("k", fault=f"kill:{point}"))
    async with wrapping(behind) as client:
        result = await client.call_tool(tool, {}, meta=keyed("k"))
        assert disposition(result) == expected
        if expected == "in_doubt":
            assert error(result)["applied"] == "unknown"
    assert behind.count(tool) == times


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a server must notice by itself")
async def test_a_proxy_killed_in_the_middle_of_a_call_takes_its_server_along(
    behind: Behind,
) -> None:
    """Guard: `child._TIED`: a server that does not notice the end of its input ends, too."""
    with pytest.raises((MCPError, ExceptionGroup)):
        async with wrapping(behind, BARE_STAYS="1") as client, anyio.create_task_group() as tasks:
            tasks.start_soon(call, client)
            await until(lambda: behind.log.exists() and behind.count("wait") == 1)
            os.kill(ids(behind)[1], signal.SIGKILL)
    await until(lambda: not lives(ids(behind)[0]))
    async with wrapping(behind) as client:
        result = await client.call_tool("wait", {}, meta=keyed("k"))
        assert disposition(result) == "in_doubt"
    assert behind.count("wait") == 1


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_server_killed_in_the_middle_of_a_call_leaves_it_in_doubt_and_the_next_call_runs(
    behind: Behind,
) -> None:
    async with wrapping(behind) as client:
        found: list[Any] = []

        async def wait() -> None:
            found.append(await client.call_tool("wait", {}, meta=keyed("k")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await until(lambda: behind.log.exists() and behind.count("wait") == 1)
            os.kill(ids(behind)[0], signal.SIGKILL)
        assert error(found[0])["applied"] == "unknown"
        again = await client.call_tool("wait", {}, meta=keyed("k"))
        assert disposition(again) == "in_doubt"
        assert disposition(await client.call_tool("send", {}, meta=keyed("k2"))) == "ran"
    assert (behind.count("wait"), behind.count("send"), behind.count("pid")) == (1, 1, 2)


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_proxy_that_is_told_to_end_ends_with_its_server(behind: Behind) -> None:
    with pytest.raises((MCPError, ExceptionGroup)):
        async with wrapping(behind) as client:
            await client.call_tool("send", {}, meta=keyed("k"))
            os.kill(ids(behind)[1], signal.SIGTERM)
            await until(lambda: not lives(ids(behind)[0]))
            await client.call_tool("send", {}, meta=keyed("k2"))
    assert behind.query("SELECT state FROM call") == [("succeeded",)]


async def call(client: Client) -> None:
    """A call that does not end by itself."""
    await client.call_tool("wait", {}, meta=keyed("k"))


def ids(behind: Behind) -> tuple[int, int]:
    """Of the server that was started last, and of its proxy."""
    _, pid, parent = [line for line in behind.lines if line.startswith("pid ")][-1].split()
    return int(pid), int(parent)


def lives(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
