"""Commands that cannot be started or kept: quotas, descriptors, folders."""

import errno
import os
import resource
import sys
from pathlib import Path

import pytest
from tests.tools.shell_door import (
    LEVELS,
    Door,
    confined,
    new_context,
)

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.tool import Evidence

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="orphans fall to a subreaper on Linux only"),
]


@pytest.fixture(params=LEVELS)
def door(tmp_path: Path, request: pytest.FixtureRequest) -> Door:
    door = confined(Door(tmp_path / "root", tmp_path / "jobs", level=request.param))
    os.mkfifo(door.root / "gate")
    return door


async def failure(door: Door, evidence: Evidence) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await door.tool.recover(evidence)
    return caught.value


async def test_a_command_that_could_not_be_started_is_found_unapplied(door: Door) -> None:
    context = new_context()
    async with context.held:
        arguments = door.arguments(command=["no-such-program"])
        evidence = await door.tool.prepare(arguments, context)
        with pytest.raises(ToolError, match="cannot start 'no-such-program'"):
            await door.tool.run(arguments, evidence, context)
        error = await failure(door, evidence)
    assert (error.code, error.applied) == (Code.NOT_FOUND, Applied.NO)


async def test_output_beyond_the_quota_keeps_both_ends(door: Door) -> None:
    """Guard: `Sink._turn_over`."""
    found = await door.run(
        command="echo head; head -c 70000000 /dev/zero; echo tail", max_output=1024
    )
    assert found.stdout_bytes == 70_000_010
    assert found.stdout.startswith("head\n")
    assert found.stdout.endswith("tail\n")


async def test_a_server_without_descriptors_says_that_nothing_began(door: Door) -> None:
    """Guard: `cannot_start`."""
    assert (await door.run(command="echo up")).stdout == "up\n"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    arguments, context = door.arguments(command="echo > ran"), new_context()
    evidence = await door.tool.prepare(arguments, context)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(ToolError) as caught:
            await door.tool.run(arguments, evidence, context)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (caught.value.code, caught.value.applied) == (Code.UNAVAILABLE, Applied.NO)
    assert os.strerror(errno.EMFILE) in caught.value.message
    assert not (door.root / "ran").exists()


async def test_a_folder_that_cannot_be_written_to_leaves_recovery_undecided(door: Door) -> None:
    """Guard: `Begins._absent`."""
    evidence = await door.tool.prepare(door.arguments(command="true"), new_context())
    door.jobs.write_text("in the way")
    error = await failure(door, evidence)
    assert (error.code, error.applied) == (Code.UNAVAILABLE, Applied.UNKNOWN)
    with pytest.raises(ToolError) as caught:
        await door.run(command="true")
    assert caught.value.applied is Applied.NO
