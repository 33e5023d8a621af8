"""Jobs with a terminal: programs that ask, draw and page; keys by name; what the screen shows."""

import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.tools.shell_door import LEVELS, Door, confined, until

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.shell.keys import keys_alone, typed

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LEVELS)
def door(tmp_path: Path, request: pytest.FixtureRequest) -> Door:
    return confined(Door(tmp_path / "root", tmp_path / "jobs", level=request.param))


async def until_shown(door: Door, job: str, text: str) -> Any:
    """Read until the output has a text in it and the job waits for input."""
    with anyio.fail_after(20):
        while True:
            page = await door.call("read_job", job_id=job)
            if text in page.output and page.waiting_for_input != "no":
                return page
            await anyio.sleep(0.01)


async def until_ended(door: Door, job: str) -> Any:
    """All that it printed, once it has ended."""
    await until(lambda: door.ended(job))
    return await door.call("read_job", job_id=job)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("ls\n", "ls\r"),
        ("<up><enter>", "\x1b[A\r"),
        ("<ctrl-c><Ctrl-D>", "\x03\x04"),
        ("<escape>:wq<enter>", "\x1b:wq\r"),
        ("<alt-b><f5><page-down>", "\x1bb\x1b[15~\x1b[6~"),
        ("a < b <div> <lt>enter>", "a < b <div> <enter>"),
    ],
)
def test_keys_are_what_a_keyboard_sends(text: str, sent: str) -> None:
    """Guard: `typed`."""
    assert typed(text) == sent


def test_only_names_of_keys_are_keys() -> None:
    assert [keys_alone(text) for text in ("<ctrl-c>", "<up> <enter>\n", "x<up>", "<div>", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


async def test_a_terminal_has_a_size_and_a_name(door: Door) -> None:
    """Guard: `open_terminal`."""
    job = await door.call(
        "start_job", command="stty size; tty; echo $TERM", pty=True, rows=30, columns=100
    )
    page = await until_ended(door, job.job_id)
    size, terminal, name, _ = page.output.split("\n")
    assert (size, name) == ("30 100", "xterm-256color")
    assert terminal.startswith("/dev/")


async def test_a_program_asks_is_answered_and_interrupted(door: Door) -> None:
    """Guard: the terminal in `start`."""
    command = "read -p 'name? ' name; echo \"hello $name\"; trap 'echo caught; exit 7' INT; cat"
    job = await door.call("start_job", command=command, pty=True)
    await until_shown(door, job.job_id, "name? ")
    await door.call("write_job", job_id=job.job_id, input="Ada<enter>")
    await until_shown(door, job.job_id, "hello Ada")
    await door.call("write_job", job_id=job.job_id, input="<ctrl-c>")
    page = await until_ended(door, job.job_id)
    assert page.output.endswith("caught\n")
    assert page.exit_code == 7


async def test_the_end_of_input_is_a_key_too(door: Door) -> None:
    """Guard: `END_OF_INPUT`."""
    job = await door.call("start_job", command=["cat"], pty=True)
    await door.call("write_job", job_id=job.job_id, input="x\n", eof=True)
    page = await until_ended(door, job.job_id)
    assert (page.output, page.exit_code) == ("x\nx\n", 0)


async def test_the_screen_is_what_a_person_would_see(door: Door) -> None:
    """Guard: `screen_of`."""
    pytest.importorskip("pyte")
    odd = r"\033[>4;2m\033[?4m\033[1;2;3A"
    draw = rf"gone\033[2J\033[2;3Hhere\033[31m red\033[0m{odd}\033[5;1Hname? "
    job = await door.call(
        "start_job", command=f"printf '{draw}'; read x", pty=True, rows=6, columns=20
    )
    await until_shown(door, job.job_id, "name?")
    page = await door.call("read_job", job_id=job.job_id, screen=True)
    assert page.output == "\n  here red\n\n\nname?\n[cursor: line 5, column 7]"
    assert page.waiting_for_input in ("yes", "unknown")
    await door.call("stop_job", job_id=job.job_id)


async def test_only_a_job_with_a_terminal_has_a_screen(door: Door) -> None:
    job = await door.call("start_job", command=["cat"])
    with pytest.raises(ToolError, match="has no terminal") as caught:
        await door.call("read_job", job_id=job.job_id, screen=True)
    assert caught.value.code is Code.INVALID_ARGUMENT
    await door.call("stop_job", job_id=job.job_id)


async def test_a_shell_in_a_terminal_hangs_up_when_it_is_stopped(door: Door) -> None:
    """Guard: `Supervisor._send`; an interactive shell ignores SIGTERM."""
    job = await door.call("start_job", command=["bash", "--norc", "-i"], pty=True)
    await until_shown(door, job.job_id, "$ " if os.getuid() else "# ")
    stopped = await door.call("stop_job", job_id=job.job_id, grace=60)
    assert (stopped.state, stopped.signal) == ("stopped", "SIGHUP")
