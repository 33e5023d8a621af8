"""The supervisor of a command: what outlives the server, what recovery finds, and what is left."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.tools.shell_door import (
    DAEMONS,
    LEVELS,
    Door,
    alive,
    confined,
    kill,
    new_context,
    new_marker,
    parent,
    release,
    sigkill,
    survivors,
    until,
)

from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.shell.jobs import KEPT, Jobs
from surefoot_tools.shell.sweep import SWEPT
from surefoot_tools.tool import Evidence, Happened, NotBegun, Running, Unknown

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="orphans fall to a subreaper on Linux only"),
]
GATED = "echo early; echo > started; cat < gate; echo late; exit 3"


@pytest.fixture(params=LEVELS)
def door(tmp_path: Path, request: pytest.FixtureRequest) -> Door:
    door = confined(Door(tmp_path / "root", tmp_path / "jobs", level=request.param))
    os.mkfifo(door.root / "gate")
    return door


@pytest.fixture(params=LEVELS)
def hasty(tmp_path: Path, request: pytest.FixtureRequest) -> Door:
    """A server with a grace of a second."""
    return confined(Door(tmp_path / "root", tmp_path / "jobs", 1.0, level=request.param))


async def failure(door: Door, evidence: Evidence) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await door.tool.recover(evidence)
    return caught.value


async def ended(door: Door, evidence: Evidence) -> None:
    """Wait until the supervisor has written its record."""
    await until((door.jobs / evidence["job"] / "status.json").exists)


async def test_exit_code_and_output_survive_a_killed_server(door: Door) -> None:
    """Guard: `Supervisor._record`."""
    evidence = await door.killed_server("started", command=GATED)
    release(door.root / "gate")
    await ended(door, evidence)
    found = await door.tool.recover(evidence)
    assert isinstance(found, Happened)
    result = found.result.model_dump()
    assert (result["exit_code"], result["stdout"]) == (3, "early\nlate\n")


async def test_a_command_whose_server_was_killed_is_adopted_to_its_end(door: Door) -> None:
    """Guard: `Attendance.adopt`."""
    evidence = await door.killed_server("started", command=GATED)
    found = await door.tool.recover(evidence)
    assert isinstance(found, Running)
    assert found.handle == f"pid {(await door.begun(evidence['job']))['pid']}"
    results: list[Any] = []

    async def attend() -> None:
        results.append(await found.attend(new_context()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attend)
        release(door.root / "gate")
    assert (results[0].exit_code, results[0].stdout) == (3, "early\nlate\n")


async def test_an_adopted_command_outlives_the_grace(hasty: Door) -> None:
    """Guard: `Supervisor._hear_adopters`."""
    evidence = await hasty.killed_server("started", command="echo > started; sleep 2.5; echo end")
    assert (await hasty.attend(evidence)).stdout == "end\n"


async def test_cancelling_an_adopted_command_kills_it(door: Door) -> None:
    """Guard: `Attendance.end`."""
    evidence = await door.killed_server("started", command=GATED)
    pid = (await door.begun(evidence["job"]))["pid"]
    context = new_context()
    with anyio.move_on_after(0.2):
        await door.attend(evidence, context)
    assert context.interrupted is not None
    assert context.interrupted.code is Code.CANCELLED
    assert not alive(pid)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(each, marks=[pytest.mark.slow] * (each != "double_fork")) for each in DAEMONS],
)
async def test_nobody_comes_within_the_grace_so_all_is_killed_and_recorded(
    hasty: Door, kind: str
) -> None:
    """Guard: `Tree.end`, and the grace in `Supervisor._watch`."""
    marker = new_marker()
    daemon = DAEMONS[kind].format(it=f"sleep {marker}")
    command = f"{daemon}\necho here; echo > started; sleep {marker}"
    evidence = await hasty.killed_server("started", command=command)
    assert survivors(marker)
    await ended(hasty, evidence)
    assert survivors(marker) == []
    error = await failure(hasty, evidence)
    assert (error.code, error.origin, error.applied) == (
        Code.CANCELLED,
        Origin.SERVER,
        Applied.YES,
    )
    assert "none came for it in 1 s" in error.message
    assert "here" in error.message


@pytest.mark.parametrize("kind", DAEMONS)
async def test_a_killed_supervisor_takes_its_tree_along_and_leaves_the_call_in_doubt(
    door: Door, kind: str
) -> None:
    """Guard: `Keeper._guard`."""
    marker = new_marker()
    daemon = DAEMONS[kind].format(it=f"sleep {marker}")
    command = f"echo seen; {daemon}\necho > started; sleep {marker}"
    context = new_context()
    async with context.held:
        arguments = door.arguments(command=command)
        evidence = await door.tool.prepare(arguments, context)

        async def run() -> None:
            with pytest.raises(ToolError) as caught:
                await door.tool.run(arguments, evidence, context)
            assert (caught.value.code, caught.value.applied) == (Code.UNKNOWN, Applied.UNKNOWN)

        begun: dict[str, int] = {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await until((door.root / "started").exists)
            begun |= await door.begun(evidence["job"])
            await until((door.jobs / evidence["job"] / "stdout").exists)
            sigkill(begun["supervisor"])
        await until(lambda: survivors(marker) == [])
        found = await door.tool.recover(evidence)
    assert isinstance(found, Unknown)
    assert f"pid {begun['pid']}" in found.known
    assert "seen" in found.known


async def test_a_call_that_recovery_found_unbegun_never_begins(door: Door) -> None:
    """Guard: the rename in `Supervisor._lay_out`."""
    context = new_context()
    arguments = door.arguments(command="echo > ran")
    evidence = await door.tool.prepare(arguments, context)
    assert isinstance(await door.tool.recover(evidence), NotBegun)
    with pytest.raises(ToolError) as caught:
        await door.tool.run(arguments, evidence, context)
    assert (caught.value.code, caught.value.applied) == (Code.ABORTED, Applied.NO)
    assert not (door.root / "ran").exists()
    assert isinstance(await door.tool.recover(evidence), NotBegun)
    await until(lambda: not [entry for entry in os.listdir(door.jobs) if entry[0] == "."])


async def test_a_call_that_has_begun_is_never_found_unbegun(door: Door) -> None:
    """Guard: `claim`."""
    evidence = await door.killed_server("started", command=GATED)
    assert not Jobs(door.jobs, 1.0, {}).claim(evidence["job"])
    assert isinstance(await door.tool.recover(evidence), Running)
    release(door.root / "gate")
    await ended(door, evidence)


async def test_an_adopted_command_ends_at_the_deadline_of_who_adopts_it(door: Door) -> None:
    """Guard: the deadline in `RunCommand._attend`."""
    evidence = await door.killed_server("started", command=GATED)
    pid = (await door.begun(evidence["job"]))["pid"]
    with pytest.raises(ToolError) as caught:
        await door.attend(evidence, new_context(anyio.current_time() + 0.1))
    assert (caught.value.code, caught.value.applied) == (Code.DEADLINE_EXCEEDED, Applied.YES)
    assert not alive(pid)


@pytest.mark.slow
async def test_a_server_killed_at_any_moment_leaves_a_call_begun_or_never(door: Door) -> None:
    """Guard: the rename in `Supervisor._lay_out`."""
    at_once = anyio.CapacityLimiter(3)

    async def one(number: int) -> None:
        ran = door.root / f"ran-{number}"
        async with at_once, door.server(command=f"echo >> {ran.name}") as (process, evidence):
            await anyio.sleep(0.006 * number)  # a start of the keeper and a call take about 50 ms
            await kill(process)
        found = await door.tool.recover(evidence)
        if isinstance(found, Running):
            found = Happened(await found.attend(new_context()))
        if isinstance(found, NotBegun):
            # Its keeper has seen the line by now, if it ever will.
            await door.run(command="sleep 0.2")
        assert ran.exists() == isinstance(found, Happened), found

    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(one, number)


async def test_the_journal_of_a_machine_that_has_restarted_proves_nothing(door: Door) -> None:
    """Guard: the boot in `Begins._absent`."""
    evidence = await door.tool.prepare(door.arguments(command="true"), new_context())
    assert isinstance(await door.tool.recover({**evidence, "boot": "another"}), Unknown)
    old = {**evidence, "at": time.time() - KEPT - 1}
    assert isinstance(await door.tool.recover(old), Unknown)
    assert isinstance(await door.tool.recover(evidence), NotBegun)


async def test_a_record_that_a_power_cut_took_part_of_is_no_record(door: Door) -> None:
    """Guard: `Record.complete`."""
    evidence = await door.killed_server("started", command=GATED)
    release(door.root / "gate")
    await ended(door, evidence)
    folder = door.jobs / evidence["job"]
    (folder / "stdout").write_bytes(b"earl")
    assert isinstance(await door.tool.recover(evidence), Unknown)
    (folder / "status.json").write_bytes(b"\0" * 1024)
    assert isinstance(await door.tool.recover(evidence), Unknown)


async def test_a_killed_keeper_is_replaced_and_what_runs_goes_on(door: Door) -> None:
    """Guard: the second round in `Keeping.hand_over`."""
    results: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def gated() -> None:
            results.append((await door.run(command=GATED)).stdout)

        tasks.start_soon(gated)
        await until((door.root / "started").exists)
        supervisor = (await door.only())["supervisor"]
        keeper = parent(supervisor)
        sigkill(keeper)
        await until(lambda: not alive(keeper))
        assert (await door.run(command="echo next")).stdout == "next\n"
        release(door.root / "gate")
    assert results == ["early\nlate\n"]


async def test_a_killed_spare_supervisor_is_replaced(door: Door) -> None:
    """Guard: the loop in `Keeper._pass_on`."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: door.run(command=GATED))
        await until((door.root / "started").exists)
        supervisor = (await door.only())["supervisor"]
        keeper = parent(supervisor)
        children = Path(f"/proc/{keeper}/task/{keeper}/children")
        await until(lambda: len(children.read_text().split()) == 2)  # the next spare is there
        [spare] = {int(pid) for pid in children.read_text().split()} - {supervisor}
        sigkill(spare)
        await until(lambda: not alive(spare))
        assert (await door.run(command="echo next")).stdout == "next\n"
        release(door.root / "gate")


async def test_a_supervisor_told_to_terminate_ends_its_command_in_order(door: Door) -> None:
    """Guard: `Supervisor._terminated`."""
    evidence = await door.killed_server("started", command=GATED)
    begun = await door.begun(evidence["job"])
    os.kill(begun["supervisor"], signal.SIGTERM)
    await ended(door, evidence)
    assert (await failure(door, evidence)).applied is Applied.YES
    assert not alive(begun["pid"])


async def test_a_command_that_kills_its_own_group_is_alone_in_it(door: Door) -> None:
    """Guard: the session in `start`."""
    assert (await door.run(command="kill -9 0")).signal == "SIGKILL"


async def test_the_deadline_of_the_caller_ends_a_command_and_says_so(door: Door) -> None:
    with pytest.raises(ToolError) as caught:
        await door.run(command="echo seen; sleep 60", deadline=anyio.current_time() + 0.3)
    assert (caught.value.code, caught.value.applied) == (Code.DEADLINE_EXCEEDED, Applied.YES)
    assert "the caller's deadline was over" in caught.value.message
    assert "seen" in caught.value.message


@pytest.mark.slow
async def test_a_deadline_strikes_without_the_server_that_was_told_of_it(door: Door) -> None:
    """Guard: `rest` in `RunCommand._command`."""
    command = "echo > started; sleep 60"
    evidence = await door.killed_server("started", deadline=1.5, command=command)
    await ended(door, evidence)
    error = await failure(door, evidence)
    assert (error.code, error.applied) == (Code.DEADLINE_EXCEEDED, Applied.YES)
    assert "the caller's deadline was over" in error.message


async def test_a_deadline_that_is_over_begins_nothing(door: Door) -> None:
    """Guard: `RunCommand._command`."""
    with pytest.raises(ToolError) as caught:
        await door.run(command="echo > ran", deadline=anyio.current_time() - 1)
    assert (caught.value.code, caught.value.applied) == (Code.DEADLINE_EXCEEDED, Applied.NO)
    assert not (door.root / "ran").exists()


async def test_nothing_secret_of_a_command_is_written_to_its_folder(door: Door) -> None:
    async with door.server(
        command="echo > started; cat < gate; API_TOKEN=s3cret :",
        env={"A": "s3cret"},
        stdin="s3cret",
    ) as (process, evidence):
        await until((door.root / "started").exists)
        files = [each for each in door.jobs.rglob("*") if each.is_file()]
        assert len(files) >= 3
        assert not [each for each in files if b"s3cret" in each.read_bytes()]
        modes = {each.stat().st_mode & 0o077 for each in (door.jobs, *door.jobs.rglob("*"))}
        assert modes == {0}
        release(door.root / "gate")
        await process.wait()
    assert isinstance(await door.tool.recover(evidence), Happened)


@pytest.mark.slow
async def test_old_records_are_swept_but_no_running_command(door: Door) -> None:
    """Guard: `sweep`."""
    done = await door.killed_server("done", command="echo > done")
    await ended(door, done)
    running = await door.killed_server("started", command=GATED)
    jobs = Jobs(door.jobs, 1.0, {})
    jobs.sweep()
    assert (door.jobs / done["job"]).exists()
    old = time.time() - SWEPT - 60
    for evidence in (done, running):
        os.utime(door.jobs / evidence["job"], (old, old))
    jobs.sweep()
    assert not (door.jobs / done["job"]).exists()
    assert isinstance(await door.tool.recover(running), Running)
    release(door.root / "gate")
    await ended(door, running)
