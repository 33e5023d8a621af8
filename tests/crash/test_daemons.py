"""Whatever a command leaves behind, and whatever ends it: nothing of it runs on.

Four ways to leave a process behind, times four ways to end the command. `TORTURE=full` runs 512 of
them, else it is one round of 16.
"""

import os
import sys
from pathlib import Path

import anyio
import pytest
from tests.tools.shell_door import (
    DAEMONS,
    Door,
    kill,
    new_context,
    new_marker,
    survivors,
    until,
)

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.tool import Context

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="orphans fall to a subreaper on Linux only"),
]
ROUNDS = 32 if os.environ.get("TORTURE") == "full" else 1
AT_ONCE = 4


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "root", tmp_path / "jobs", 1.0)


class Case:
    """One command that leaves a daemon behind and goes on itself."""

    def __init__(self, door: Door, kind: str) -> None:
        self.door = door
        self.marker = new_marker()
        daemon = DAEMONS[kind].format(it=f"sleep {self.marker}")
        self.command = f"{daemon}\nsleep {self.marker}"

    async def running(self) -> None:
        """Wait until both do: the command, and what it left behind."""
        await until(lambda: len(survivors(self.marker, asleep=True)) == 2)

    async def timeout(self) -> None:
        with pytest.raises(ToolError) as caught:
            await self.door.run(command=self.command, timeout=0.5)
        assert caught.value.code is Code.DEADLINE_EXCEEDED

    async def cancel(self) -> None:
        context = new_context()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._begin, context)
            await self.running()
            tasks.cancel_scope.cancel()
        assert context.interrupted is not None
        assert context.interrupted.code is Code.CANCELLED

    async def end_of_file(self) -> None:
        async with self.door.server(command=self.command) as (process, _):
            await self.running()
            assert process.stdin is not None
            await process.stdin.aclose()
            await process.wait()

    async def kill_server(self) -> None:
        async with self.door.server(command=self.command) as (process, evidence):
            await self.running()
            await kill(process)
        await until((self.door.jobs / evidence["job"] / "status.json").exists)

    async def _begin(self, context: Context) -> None:
        async with context.held:
            await self.door.begin(context, command=self.command)


WAYS = {
    "timeout": Case.timeout,
    "cancel": Case.cancel,
    "end_of_file": Case.end_of_file,
    "kill_server": Case.kill_server,
}


@pytest.mark.parametrize("kind", DAEMONS)
@pytest.mark.parametrize("way", WAYS)
async def test_no_daemon_outlives_its_command(door: Door, way: str, kind: str) -> None:
    """Guard: `Tree.end`."""
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def one() -> None:
        case = Case(door, kind)
        async with limit:
            await WAYS[way](case)
        assert survivors(case.marker) == []

    async with anyio.create_task_group() as tasks:
        for _ in range(ROUNDS):
            tasks.start_soon(one)
