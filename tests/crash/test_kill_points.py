"""The server dies by `kill -9` at each step of a keyed call; the key comes back to the next one."""

import hashlib
from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError
from tests.support.place import Place, body, disposition, error, keyed

pytestmark = pytest.mark.anyio

POINTS = ["before_intent", "after_intent", "after_effect", "before_answer"]
ADD = {"database": "app", "statements": [{"sql": "UPDATE counter SET n = n + 1"}]}
OLD = "one\ntwo\n"


async def die_and_come_back(
    place: Place, tool: str, arguments: dict[str, Any], point: str
) -> types.CallToolResult:
    """The second answer of a call whose first server died at `point`."""
    async with place.process() as client:
        with pytest.raises(MCPError, match="closed"):
            await client.call_tool(tool, arguments, meta=keyed("k", 1, f"kill:{point}"))
    async with place.process() as client:
        return await client.call_tool(tool, arguments, meta=keyed("k", 2))


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(
    ("tool", "arguments", "after"),
    [
        pytest.param(
            *("write_file", {"path": "f", "content": "new\n"}, "new\n"),
            marks=pytest.mark.slow,
            id="replace",
        ),
        pytest.param(
            *("write_file", {"path": "f", "content": "three\n", "mode": "append"}),
            f"{OLD}three\n",
            id="append",
        ),
        pytest.param(
            *("edit_file", {"path": "f", "edits": [{"old_text": "one", "new_text": "1"}]}),
            "1\ntwo\n",
            marks=pytest.mark.slow,
            id="edit",
        ),
    ],
)
async def test_a_file_is_changed_exactly_once(
    place: Place, tool: str, arguments: dict[str, Any], after: str, point: str
) -> None:
    """Guard: `WriteFile.recover`, `EditFile.recover` and `Execution.recover`."""
    (place.workspace / "f").write_text(OLD)
    result = await die_and_come_back(place, tool, arguments, point)
    shown = body(result)
    assert (place.workspace / "f").read_text() == after
    digest = hashlib.sha256(after.encode()).hexdigest()
    assert digest in (shown.get("sha256"), shown.get("sha256_after"))
    nothing_ran = point in ("after_effect", "before_answer")
    assert disposition(result) == ("replayed" if nothing_ran else "ran")
    assert sorted(entry.name for entry in place.workspace.iterdir()) == ["app.db", "f"]


@pytest.mark.parametrize("point", POINTS)
async def test_rows_are_changed_exactly_once(place: Place, point: str) -> None:
    """Guard: the inbox row of `ExecuteSql`."""
    result = await die_and_come_back(place, "execute_sql", ADD, point)
    assert body(result)["committed"] is True
    assert place.rows("SELECT n FROM counter") == [(1,)]


@pytest.mark.parametrize("point", POINTS)
async def test_a_command_is_run_once_and_its_own_record_tells_how_it_ended(
    place: Place, point: str
) -> None:
    """Guard: `RunCommand.recover`; the supervisor that outlives the server wrote the record."""
    append = {"command": "echo x >> log; echo done"}
    result = await die_and_come_back(place, "run_command", append, point)
    assert body(result)["stdout"] == "done\n"
    assert (place.workspace / "log").read_text() == "x\n"
    nothing_ran = point in ("after_effect", "before_answer")
    assert disposition(result) == ("replayed" if nothing_ran else "ran")


async def test_a_command_of_which_nothing_is_left_is_in_doubt_and_stays_so(place: Place) -> None:
    """Guard: the last row but two of `states.ANSWERS`; nothing is run again on a guess."""
    append = {"command": "echo x >> log"}
    async with place.process() as client:
        with pytest.raises(MCPError, match="closed"):
            await client.call_tool("run_command", append, meta=keyed("k", 1, "kill:after_effect"))
    (record,) = (place.config.state / "jobs").glob("*/status.json")
    record.unlink()
    async with place.process() as client:
        second = await client.call_tool("run_command", append, meta=keyed("k", 2))
        third = await client.call_tool("run_command", append, meta=keyed("k", 3))
    for answer in (second, third):
        assert (error(answer)["code"], error(answer)["applied"]) == ("UNKNOWN", "unknown")
        assert "journal resolve k" in error(answer)["hint"]
        assert disposition(answer) == "in_doubt"
    assert error(second) == error(third)
    assert (place.workspace / "log").read_text() == "x\n"
