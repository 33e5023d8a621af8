"""The folders of commands: gone once an outcome is in the journal, kept as long as it is not."""

import os
from pathlib import Path

import pytest
from tests.tools.shell_door import Door, new_context

from surefoot_tools.tool import Happened

pytestmark = pytest.mark.anyio


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "root", tmp_path / "jobs")


async def test_what_is_left_of_a_recorded_call_is_cleared_away(door: Door) -> None:
    """Guard: `RunCommand._clear_away`."""
    await door.run(command="echo out")
    assert os.listdir(door.jobs) == ["keeper.log"]
    assert (door.jobs / "keeper.log").read_text() == ""


async def test_what_is_left_of_a_call_whose_outcome_is_not_recorded_stays(door: Door) -> None:
    """Guard: `Context.recorded`; without its folder, recovery would take it for not begun."""
    context = new_context()
    async with context.held:
        result, evidence = await door.begin(context, command="echo out")
    assert await door.tool.recover(evidence) == Happened(result)
