"""Jobs: begun, read, written to, listed, stopped; they outlive their server, and end in one way."""

import os
import shutil
from pathlib import Path

import anyio
import pytest
from tests.tools.shell_door import (
    LEVELS,
    Door,
    alive,
    confined,
    new_context,
    new_marker,
    release,
    sigkill,
    survivors,
    until,
)

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.jobs import JobEnd, JobState
from surefoot_tools.tool import Happened, NotBegun

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LEVELS)
def door(tmp_path: Path, request: pytest.FixtureRequest) -> Door:
    door = confined(Door(tmp_path / "root", tmp_path / "jobs", level=request.param))
    os.mkfifo(door.root / "gate")
    return door


async def test_a_command_that_outlives_its_wait_goes_on_as_a_job(door: Door) -> None:
    """Guard: `Jobs.hand_over`."""
    result = await door.run(command="echo early; cat < gate; echo late; exit 3", wait=0.2)
    assert (result.state, result.exit_code) == ("running", None)
    # It may have been too early even for that.
    assert (await door.call("read_job", job_id=result.job_id, wait=20)).output == "early\n"
    assert f"still running, as job {result.job_id}" in result.as_text()
    [listed] = (await door.call("list_jobs")).jobs
    assert (listed.job_id, listed.state) == (result.job_id, "running")
    release(door.root / "gate")
    page = await door.call("read_job", job_id=result.job_id, cursor=6, wait=20)
    while page.state == "running":
        page = await door.call("read_job", job_id=result.job_id, cursor=6, wait=0.01)
    assert (page.output, page.exit_code, page.state) == ("late\n", 3, "exited")


async def test_the_deadline_of_who_waited_does_not_end_a_job(door: Door) -> None:
    """Guard: the deadline in `Supervisor._watch`."""
    deadline = anyio.current_time() + 0.5
    result = await door.run(command="cat < gate; echo end", wait=0.1, deadline=deadline)
    assert result.state == "running"
    await anyio.sleep_until(deadline + 0.3)
    release(door.root / "gate")
    await until(lambda: door.ended(result.job_id))
    assert (await door.call("read_job", job_id=result.job_id)).output == "end\n"


async def test_its_own_timeout_does_and_says_so(door: Door) -> None:
    """Guard: the limit in `Supervisor._watch`."""
    result = await door.run(command="echo seen; sleep 60", wait=0, timeout=0.3)
    page = await door.call("read_job", job_id=result.job_id, cursor=5, wait=20)
    assert (page.state, page.signal) == ("timed_out", "SIGKILL")


async def test_reading_waits_for_output_and_then_for_the_end(door: Door) -> None:
    """Guard: `_waited` in `read_job`."""
    job = await door.call("start_job", command="read line; echo got $line; read line; exit 4")
    nothing = await door.call("read_job", job_id=job.job_id, wait=0.05)
    assert (nothing.output, nothing.state) == ("", "running")
    await door.call("write_job", job_id=job.job_id, input="this\n")
    page = await door.call("read_job", job_id=job.job_id, wait=20)
    assert (page.output, page.cursor, page.state) == ("got this\n", 9, "running")
    await door.call("write_job", job_id=job.job_id, input="", eof=True)
    end = await door.call("read_job", job_id=job.job_id, cursor=page.cursor, wait=20)
    assert (end.output, end.state, end.exit_code) == ("", "exited", 4)


async def test_a_job_that_waits_for_input_says_so(door: Door) -> None:
    """Guard: `waits`, `read_job._waited`."""
    reading = await door.call("start_job", command=["cat"])
    busy = await door.call("start_job", command="cat < gate")
    page = await door.call("read_job", job_id=reading.job_id)
    with anyio.fail_after(20):
        while page.waiting_for_input != "yes":
            page = await door.call("read_job", job_id=reading.job_id)
    assert "waits for input" in page.as_text()
    page = await door.call("read_job", job_id=busy.job_id)
    assert page.waiting_for_input == "no"
    with anyio.fail_after(20):  # nothing comes, and nobody has to wait for that
        page = await door.call("read_job", job_id=reading.job_id, wait=3600)
    assert (page.output, page.waiting_for_input) == ("", "yes")
    for job in (reading, busy):
        await door.call("stop_job", job_id=job.job_id)
    page = await door.call("read_job", job_id=reading.job_id)
    assert page.waiting_for_input == "no"


async def test_more_input_than_a_pipe_holds_arrives_whole(door: Door) -> None:
    """Guard: `Inlet.move`."""
    job = await door.call("start_job", command="cat < gate; wc -c")
    text = "0123456789" * 30_000
    done: list[int] = []

    async def write() -> None:
        written = await door.call("write_job", job_id=job.job_id, input=text, eof=True)
        done.append(written.bytes)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await anyio.to_thread.run_sync(release, door.root / "gate")
    assert done == [len(text)]
    await until(lambda: door.ended(job.job_id))
    assert (await door.call("read_job", job_id=job.job_id)).output.strip() == str(len(text))


async def test_what_takes_no_input_says_why(door: Door) -> None:
    """Guard: `_write` in `write_job`."""
    result = await door.run(command="cat < gate", wait=0)
    with pytest.raises(ToolError, match="is closed") as caught:
        await door.call("write_job", job_id=result.job_id, input="x")
    assert caught.value.applied is Applied.NO
    await door.call("stop_job", job_id=result.job_id)
    with pytest.raises(ToolError, match="does not run any more: stopped"):
        await door.call("write_job", job_id=result.job_id, input="x")
    job = await door.call("start_job", command="exec < /dev/null; cat < gate")
    await door.call("write_job", job_id=job.job_id, input="", eof=True)
    with pytest.raises(ToolError, match="no terminal"):
        await door.call("write_job", job_id=job.job_id, input="<ctrl-c>")
    await door.call("stop_job", job_id=job.job_id)


async def test_stopping_asks_then_kills_and_twice_is_once(door: Door) -> None:
    """Guard: `_stop`."""
    marker = new_marker()
    polite = await door.call(
        "start_job", command="trap 'echo bye; exit 5' TERM; echo > ready; sleep 60 & wait"
    )
    deaf = await door.call("start_job", command=f"trap '' TERM; echo > deaf; sleep {marker}")
    await until(lambda: (door.root / "ready").exists() and (door.root / "deaf").exists())
    asked = await door.call("stop_job", job_id=polite.job_id, grace=60)
    assert (asked.state, asked.exit_code, asked.signal) == ("stopped", 5, None)
    assert (await door.call("read_job", job_id=polite.job_id)).output == "bye\n"
    for _ in range(2):
        killed = await door.call("stop_job", job_id=deaf.job_id, grace=0.1)
        assert (killed.state, killed.exit_code, killed.signal) == ("stopped", None, "SIGKILL")
    assert survivors(marker) == []


async def test_a_job_of_somebody_else_is_not_there(door: Door) -> None:
    """Guard: `Jobs.of`."""
    job = await door.call("start_job", "alice", command="cat < gate")
    for principal in ("bob", "local"):
        assert (await door.call("list_jobs", principal)).jobs == []
        for name, more in (("read_job", {}), ("write_job", {"input": "x"}), ("stop_job", {})):
            with pytest.raises(ToolError, match="there is no job") as caught:
                await door.call(name, principal, job_id=job.job_id, **more)
            assert caught.value.code is Code.NOT_FOUND
    assert [each.job_id for each in (await door.call("list_jobs", "alice")).jobs] == [job.job_id]
    await door.call("stop_job", "alice", job_id=job.job_id)
    for name in ("../keeper.log", "..", "0" * 32, "x"):
        with pytest.raises(ToolError, match="there is no job"):
            await door.call("read_job", "alice", job_id=name)


async def test_a_job_outlives_its_server_and_the_next_one_holds_it(tmp_path: Path) -> None:
    """Guard: `Jobs.adopt`."""
    door = Door(tmp_path / "root", tmp_path / "jobs", grace=0.2, job_grace=1.0)
    command = "echo > started; sleep 2.5; echo end"
    evidence = await door.killed_server("handed_over", command=command, wait=0)
    heir = Door(tmp_path / "root", tmp_path / "jobs", grace=0.2, job_grace=1.0)
    await until(lambda: heir.ended(evidence["job"]))
    page = await heir.call("read_job", job_id=evidence["job"])
    assert (page.output, page.state) == ("end\n", "exited")
    found = await heir.tool.recover(evidence)
    assert isinstance(found, Happened)
    assert found.result.model_dump()["state"] == "exited"


@pytest.mark.slow
@pytest.mark.parametrize(("job_grace", "state"), [(0.5, "stopped"), (None, "running")])
async def test_a_job_that_no_server_comes_for_ends_after_its_grace(
    tmp_path: Path, job_grace: float | None, state: str
) -> None:
    """Guard: the grace in `Supervisor._left`."""
    door = Door(tmp_path / "root", tmp_path / "jobs", grace=0.1, job_grace=job_grace)
    command = "echo > started; sleep 60"
    evidence = await door.killed_server("handed_over", command=command, wait=0)
    pid = (await door.begun(evidence["job"]))["pid"]
    if state == "stopped":
        await until(lambda: not alive(pid))
        await until(lambda: door.ended(evidence["job"]))
    else:
        await anyio.sleep(0.7)
    page = await door.call("read_job", job_id=evidence["job"])
    assert page.state == state
    await door.call("stop_job", job_id=evidence["job"], signal="KILL")


async def test_a_job_whose_supervisor_was_killed_is_lost(door: Door) -> None:
    """Guard: `Record.state`."""
    job = await door.call("start_job", command="echo seen; cat < gate")
    page = await door.call("read_job", job_id=job.job_id, wait=20)
    assert page.output == "seen\n"
    begun = await door.begun(job.job_id)
    sigkill(begun["supervisor"])
    await until(lambda: not alive(begun["pid"]))
    page = await door.call("read_job", job_id=job.job_id, wait=20)
    assert (page.output, page.state, page.exit_code) == ("seen\n", JobState.LOST, None)
    assert [each.state for each in (await door.call("list_jobs")).jobs] == ["lost"]
    assert (await door.call("stop_job", job_id=job.job_id)).state == "lost"


async def test_recovery_finds_a_started_job_by_its_record(door: Door) -> None:
    """Guard: `StartJob.recover`."""
    tool, context = door.tools["start_job"], new_context()
    asked = tool.Arguments.model_validate({"command": "cat < gate"})
    evidence = await tool.prepare(asked, context)
    result = await tool.run(asked, evidence, context)
    assert await tool.recover(evidence) == Happened(result)
    await door.call("stop_job", job_id=result.job_id)
    assert await tool.recover(evidence) == Happened(result)
    never = await tool.prepare(asked, context)
    assert await tool.recover(never) == NotBegun()
    with pytest.raises(ToolError) as caught:
        await tool.run(asked, never, context)
    assert (caught.value.code, caught.value.applied) == (Code.ABORTED, Applied.NO)


async def test_an_answer_running_is_refreshed_from_its_job(door: Door) -> None:
    """Guard: `RunCommand.refresh`."""
    result = await door.run(command="cat < gate; echo end; exit 2", wait=0)
    assert (await door.tool.refresh(result)).state == "running"
    release(door.root / "gate")
    await until(lambda: door.ended(result.job_id))
    fresh = await door.tool.refresh(result)
    assert (fresh.state, fresh.exit_code, fresh.stdout) == ("exited", 2, "end\n")
    assert await door.tool.refresh(fresh) == fresh
    shutil.rmtree(door.jobs / result.job_id)
    assert await door.tool.refresh(result) == result  # nobody knows
    gone = await door.tool.refresh(result, JobEnd(JobState.EXITED, 2))
    assert (gone.state, gone.exit_code, gone.stdout) == ("exited", 2, result.stdout)


async def test_an_answer_of_a_job_that_began_tells_where_it_stands_now(door: Door) -> None:
    """Guard: `StartJob.refresh`."""
    tool = door.tools["start_job"]
    began = await door.call("start_job", command="cat < gate")
    assert "began, pid" in (await tool.refresh(began)).as_text()
    await door.call("stop_job", job_id=began.job_id)
    fresh = await tool.refresh(began)
    assert (fresh.state, "has ended: stopped" in fresh.as_text()) == ("stopped", True)


async def test_a_list_shows_age_size_and_a_command_without_secrets(door: Door) -> None:
    job = await door.call("start_job", command="TOKEN=hunter2 true; echo 12345; cat < gate")
    await door.call("read_job", job_id=job.job_id, wait=20)
    listed = await door.call("list_jobs")
    [seen] = listed.jobs
    assert seen.command == "TOKEN=[redacted] true; echo 12345; cat < gate"
    assert (seen.bytes, seen.pid, seen.state) == (6, job.pid, "running")
    assert 0 <= seen.age < 60
    assert "running, 0 s old, 6 bytes: TOKEN" in listed.as_text() or seen.age >= 0.5
    await door.call("stop_job", job_id=job.job_id)
