"""Effects on one path follow one another, in one process and among several."""

import fcntl
import json
import os
import sys
from pathlib import Path

import anyio
import pytest
from tests.tools.files_door import new_context, open_door

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files.locks import PathLocks, stripe_of

pytestmark = pytest.mark.anyio

EDITOR = """
import json, sys
from pathlib import Path
import anyio
from tests.tools.files_door import open_door

async def main(ws, locks, lines):
    door = open_door(Path(ws), locks=Path(locks))
    async with anyio.create_task_group() as tasks:
        for line in lines:
            async def edit(line=line):
                change = {"old_text": f"line {line}:", "new_text": f"LINE {line}:"}
                await door.call("edit_file", path="f", edits=[change])
            tasks.start_soon(edit)

anyio.run(main, *json.loads(sys.argv[1]))
"""


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "f").write_text("".join(f"line {number}:\n" for number in range(12)))
    return tmp_path / "ws"


async def test_twelve_edits_at_once_from_two_processes_keep_twelve(ws: Path) -> None:
    """The guard is the `flock` in `PathLocks._take`; the turns within a process spare polling."""
    sets = [list(range(6)), list(range(6, 12))]

    async def editor(lines: list[int]) -> None:
        arguments = json.dumps([str(ws), str(ws.parent / "locks"), lines])
        program = [sys.executable, "-c", EDITOR, arguments]
        await anyio.run_process(program, cwd=Path(__file__).parents[2], stderr=None)

    async with anyio.create_task_group() as tasks:
        for lines in sets:
            tasks.start_soon(editor, lines)
    assert (ws / "f").read_text() == "".join(f"LINE {number}:\n" for number in range(12))


async def test_twelve_edits_at_once_in_one_process_keep_twelve(ws: Path) -> None:
    door = open_door(ws, locks=ws.parent / "locks")

    async def edit(number: int) -> None:
        change = {"old_text": f"line {number}:", "new_text": f"LINE {number}:"}
        path = ("f", "./f", "link", str(ws / "f"))[number % 4]
        await door.call("edit_file", path=path, edits=[change])

    (ws / "link").symlink_to("f")
    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(edit, number)
    assert (ws / "f").read_text() == "".join(f"LINE {number}:\n" for number in range(12))


async def test_a_lock_held_past_the_deadline_is_unavailable(tmp_path: Path) -> None:
    locks = PathLocks(tmp_path)
    async with locks.hold(["/a"], anyio.current_time() + 60):
        with pytest.raises(ToolError) as caught:
            async with locks.hold(["/a"], anyio.current_time()):
                pass
    assert (caught.value.code, caught.value.applied) == (Code.UNAVAILABLE, Applied.NO)
    async with locks.hold(["/a"], anyio.current_time() + 60):
        pass


async def test_a_lock_held_by_another_process_is_unavailable(tmp_path: Path) -> None:
    """The guard is the `flock` in `PathLocks._take`."""
    name = tmp_path / f"{stripe_of('/a'):03x}.lock"
    theirs = os.open(name, os.O_RDWR | os.O_CREAT)
    fcntl.flock(theirs, fcntl.LOCK_EX)
    with pytest.raises(ToolError) as caught:
        async with PathLocks(tmp_path).hold(["/a"], anyio.current_time() + 0.01):
            pass
    assert caught.value.code is Code.UNAVAILABLE
    os.close(theirs)
    async with PathLocks(tmp_path).hold(["/a"], anyio.current_time() + 60):
        pass


async def test_paths_taken_in_opposite_orders_do_not_wait_for_each_other(tmp_path: Path) -> None:
    locks = PathLocks(tmp_path)
    done: list[int] = []

    async def both(order: list[str], number: int) -> None:
        async with locks.hold(order, anyio.current_time() + 60):
            done.append(number)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(both, ["/a", "/b"] if number % 2 else ["/b", "/a"], number)
    assert sorted(done) == list(range(20))


async def test_a_lock_is_held_until_the_outcome_is_recorded(ws: Path) -> None:
    door = open_door(ws, locks=ws.parent / "locks")
    context = new_context()
    arguments = {"path": "f", "content": "x"}
    async with context.held:
        evidence = await door.prepare("write_file", context, **arguments)
        await door.run("write_file", evidence, context, **arguments)
        late = new_context(anyio.current_time())
        async with late.held:
            with pytest.raises(ToolError, match="another call is changing"):
                await door.prepare("write_file", late, **arguments)
    again = new_context()
    async with again.held:
        await door.prepare("write_file", again, **arguments)


def test_spellings_that_a_file_system_may_merge_share_a_lock() -> None:
    assert stripe_of("/W/caf\u00e9") == stripe_of("/w/cafe\u0301")
