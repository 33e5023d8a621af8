"""Many commands at once: side by side up to a bound, then in a queue, then refused."""

import os
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from tests.tools.shell_door import Door, release, until

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.shell import jobs
from surefoot_tools.shell.places import Places

pytestmark = pytest.mark.anyio


@pytest.fixture
def door(tmp_path: Path) -> Door:
    door = Door(tmp_path / "root", tmp_path / "jobs")
    os.mkfifo(door.root / "gate")
    return door


async def test_fifteen_commands_run_side_by_side(door: Door) -> None:
    """Each waits until all have begun."""
    command = "touch at-$N; until [ $(ls | grep -c at-) = 15 ]; do sleep 0.01; done"
    async with anyio.create_task_group() as tasks:
        for number in range(15):
            env = {"N": str(number)}
            tasks.start_soon(lambda env=env: door.run(command=command, env=env, timeout=30))
    assert len(list(door.root.glob("at-*"))) == 15


async def test_a_place_is_queued_for_and_a_full_queue_refuses() -> None:
    """Guard: `Places.one`."""
    places = Places(at_once=1, queue=1)
    came: list[str] = []
    first, second = anyio.Event(), anyio.Event()

    async def hold(name: str, leave: anyio.Event) -> None:
        async with places.one(60):
            came.append(name)
            await leave.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold, "first", first)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(hold, "second", second)
        await anyio.wait_all_tasks_blocked()
        assert came == ["first"]
        with pytest.raises(ToolError, match="1 commands run and 1 wait") as caught:
            async with places.one(60):
                pass
        assert (caught.value.code, caught.value.applied) == (Code.RESOURCE_EXHAUSTED, Applied.NO)
        first.set()
        await anyio.wait_all_tasks_blocked()
        assert came == ["first", "second"]
        with pytest.raises(ToolError, match="none ended in 0 s"):
            async with places.one(0):
                pass
        second.set()


async def test_more_jobs_than_there_is_room_for_are_refused(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `Jobs.see_room`."""
    monkeypatch.setattr(jobs.Jobs.see_room, "__defaults__", (1,))
    first = await door.call("start_job", command="cat < gate")
    with pytest.raises(ToolError, match="1 jobs run") as caught:
        await door.call("start_job", command="echo > ran")
    assert (caught.value.code, caught.value.applied) == (Code.RESOURCE_EXHAUSTED, Applied.NO)
    assert not (door.root / "ran").exists()
    release(door.root / "gate")
    await until(lambda: door.ended(first.job_id))
    await until(lambda: door.jobs_held() == 0)
    await door.call("start_job", command="echo > ran")
    await until((door.root / "ran").exists)


async def test_a_flood_beside_it_delays_no_other_command(door: Door) -> None:
    """Guard: the quota of `Sink`."""
    flood = await door.call("start_job", command="yes")
    await until(lambda: _size(door, flood.job_id) > 2**26)
    assert (await door.run(command="echo quick")).stdout == "quick\n"
    page = await door.call("read_job", job_id=flood.job_id, cursor=-1000)
    assert set(page.output.strip()) == {"y", "\n"}
    await door.call("stop_job", job_id=flood.job_id)
    assert _size(door, flood.job_id) <= 73 * 2**20


def _size(door: Door, job: str) -> int:
    """Bytes on disk; pieces come and go meanwhile."""
    size = 0
    for each in (door.jobs / job).iterdir():
        with suppress(FileNotFoundError):
            size += each.stat().st_size
    return size
