"""The folders of commands: how long they are kept, and what for."""

import os
import time
from pathlib import Path

import pytest
from tests.tools.shell_door import Door, new_context, until

from surefoot_tools.shell import sweep
from surefoot_tools.shell.jobs import Jobs
from surefoot_tools.tool import Happened

pytestmark = pytest.mark.anyio


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "root", tmp_path / "jobs")


def kept(door: Door) -> set[str]:
    """The jobs whose folders are there."""
    return {each.name for each in door.jobs.iterdir() if each.is_dir()}


async def test_what_a_recorded_call_printed_can_be_read_for_a_day(door: Door) -> None:
    """Guard: `sweep`."""
    result = await door.run(command="seq 10000")
    job = door.jobs / result.job_id
    assert (job / "told").exists()
    page = await door.call("read_job", job_id=result.job_id, max_output=1_000_000)
    assert page.output == "".join(f"{number}\n" for number in range(1, 10001))
    jobs = Jobs(door.jobs, 1.0, {})
    for age, there in ((sweep.EXPIRED - 60, True), (sweep.EXPIRED + 60, False)):
        os.utime(job, (time.time() - age, time.time() - age))
        jobs.sweep()
        assert job.exists() is there
    assert (door.jobs / "keeper.log").read_text() == ""


async def test_what_is_left_of_a_call_whose_outcome_is_not_recorded_stays(door: Door) -> None:
    """Guard: `Context.recorded`; without its folder, recovery would take it for not begun."""
    context = new_context()
    async with context.held:
        result, evidence = await door.begin(context, command="echo out")
    assert not (door.jobs / result.job_id / "told").exists()
    os.utime(door.jobs / result.job_id, (0, time.time() - sweep.EXPIRED - 60))
    Jobs(door.jobs, 1.0, {}).sweep()
    assert await door.tool.recover(evidence) == Happened(result)


@pytest.mark.parametrize(("limit", "value"), [("MOST", 2), ("QUOTA", 250_000)])
async def test_the_oldest_output_goes_when_there_is_too_much(
    door: Door, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    """Guard: `MOST` and `QUOTA` in `sweep`."""
    monkeypatch.setattr(sweep, limit, value)
    names: list[str] = []
    for age in (40, 30, 20):
        result = await door.run(command="head -c 100000 /dev/zero")
        os.utime(door.jobs / result.job_id, (0, time.time() - age))
        names.append(result.job_id)
    Jobs(door.jobs, 1.0, {}).sweep()
    assert kept(door) == set(names[1:])


async def test_a_running_job_is_never_swept(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: `Record.alive` in `sweep`."""
    monkeypatch.setattr(sweep, "MOST", 0)
    job = await door.call("start_job", command="echo > started; cat")
    await until((door.root / "started").exists)
    os.utime(door.jobs / job.job_id, (0, 0))
    jobs = Jobs(door.jobs, 1.0, {})
    jobs.sweep()
    assert kept(door) == {job.job_id}
    await door.call("stop_job", job_id=job.job_id, signal="KILL")
    jobs.sweep()
    assert kept(door) == set()
