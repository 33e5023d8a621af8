"""Protected paths that were not there: they cannot be kept from coming, so they are told."""

import os
import sys
from pathlib import Path

import pytest
from tests.tools.shell_door import Door, confined, until

from surefoot_tools.errors import ToolError
from surefoot_tools.sandbox import protected
from surefoot_tools.sandbox.sandbox import Level, Reached, Sandbox

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="commands are confined on Linux only"),
]


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return confined(Door(tmp_path / "root", tmp_path / "jobs", level=Level.AUTO))


@pytest.fixture
def weak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    """One that has no bubblewrap."""
    monkeypatch.setattr(Sandbox, "program", None)
    found = confined(Door(tmp_path / "root", tmp_path / "jobs", level=Level.AUTO))
    assert found.sandbox.reached is Reached.LANDLOCK
    return found


async def test_a_new_protected_path_is_told_and_then_protected(door: Door) -> None:
    """Guard: `protected.touched`."""
    made = await door.run(command="mkdir .vscode sub; echo > .vscode/tasks.json; git init -q sub")
    assert set(made.touched) == {".vscode", "sub/.git"}
    assert "protected paths were made or changed: " in made.as_text()
    if door.sandbox.reached is Reached.BUBBLEWRAP:
        tried = "echo > .vscode/tasks.json; echo > sub/.git/hooks/pre-commit"
        again = await door.run(command=tried)
        assert again.stderr.count("Read-only file system") == 2
        assert again.touched == []
    quiet = await door.run(command="echo > plain; cd sub; git status")
    assert (quiet.touched, quiet.exit_code) == ([], 0)


async def test_nothing_of_the_state_directory_is_open_in_the_room(door: Door) -> None:
    """Guard: the /dev/null of `enter._start_in_room`."""
    seen = await door.run(command="ls -l /proc/[0-9]*/fd 2> /dev/null; echo x >> /proc/1/fd/2")
    assert str(door.jobs) not in seen.stdout.replace(seen.job_id, "")
    assert (door.jobs / "keeper.log").read_text() == ""


async def test_a_hook_in_a_repository_without_hooks_is_told(door: Door) -> None:
    git = door.root / ".git"
    git.mkdir()
    made = await door.run(command="mkdir -p .git/hooks; echo > .git/hooks/pre-commit")
    assert made.touched == [".git/hooks"]
    killed = "mkdir -p .git/info; echo > .git/info/attributes; sleep 60"
    with pytest.raises(ToolError, match=r"protected paths were made or changed: \.git/info"):
        await door.run(command=killed, timeout=1)


def test_the_hooks_of_every_kind_of_repository_are_found(tmp_path: Path) -> None:
    """Guard: `protected._repositories` and `protected._hooks_of`."""
    root = str(tmp_path)
    for folder in ("bare/objects", "bare/refs", "bare/hooks", "meta/hooks", "t/hooks", ".git"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bare" / "HEAD").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".git").write_text(f"gitdir: {root}/meta\n")
    (tmp_path / ".git" / "config").write_text("[core]\n\thooksPath = t/hooks\n")
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    held, closed = protected.listed([root])
    assert {path[len(root) + 1 :] for path in closed} == {
        "bare/hooks", "meta/hooks", "t/hooks", "sub/.git", ".git/config", ".github/workflows",
    }  # fmt: skip
    assert {path[len(root) + 1 :] for path in held} == {
        ".git", "bare", "meta", "sub", "t", ".github"
    }  # fmt: skip


def test_a_repository_that_leads_outside_is_not_looked_for_there(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (outside / "hooks").mkdir(parents=True)
    root.mkdir()
    (root / ".git").write_text(f"gitdir: {outside}\n")
    assert protected.listed([str(root)]) == ([], [f"{root}/.git"])
    (root / ".git").unlink()
    os.mkfifo(root / ".git")
    assert protected.listed([str(root)]) == ([], [f"{root}/.git"])


async def test_of_a_job_it_is_told_when_it_has_ended(door: Door) -> None:
    job = await door.call("start_job", command="echo > .mcp.json")
    assert job.sandbox == door.sandbox.reached
    await until(lambda: door.ended(job.job_id))
    page = await door.call("read_job", job_id=job.job_id)
    assert (page.touched, page.sandbox) == ([".mcp.json"], door.sandbox.reached)
    assert "made or changed: .mcp.json" in page.as_text()


async def test_no_name_makes_a_record_unreadable_or_longer_than_its_place(door: Door) -> None:
    """Guard: `protected._short` and `protected._few`."""
    name = "$'\\xff\\u202e" + "ü" * 60
    command = f"for n in 1 2 3 4 5 6 7; do mkdir -p {name}'$n/.git; done"
    made = await door.run(command=command)
    assert 1 <= len(made.touched) <= 5
    assert made.touched[0].isascii()
    assert (door.jobs / made.job_id / "status.json").stat().st_size == 1024


async def test_where_nothing_protects_a_change_is_told(weak: Door) -> None:
    """Guard: `protected.marks`."""
    hook = weak.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\n")
    (weak.root / ".git" / "config").write_text("[core]\n")
    same = await weak.run(command="cat .git/hooks/pre-commit; echo > .git/HEAD")
    assert same.touched == []
    for command, path in {
        "echo evil >> .git/hooks/pre-commit": ".git/hooks",
        "echo > .git/hooks/post-commit": ".git/hooks",
        "rm .git/config": ".git/config",
    }.items():
        assert (await weak.run(command=command)).touched == [path]
