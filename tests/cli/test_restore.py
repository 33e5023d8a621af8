"""`surefoot restore`: lists the trash, brings back, overwrites nothing."""

import json
import os
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner, Result
from tests.tools.files_door import Door, open_door

from surefoot_cli.restore import command


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    (tmp_path / "ws").mkdir()
    return tmp_path / "ws"


def delete(ws: Path, path: str) -> str:
    """The trash id of what the tool deleted."""

    async def call(door: Door) -> str:
        result = await door.call("delete_path", path=path, recursive=True)
        return result.trash_id

    return anyio.run(call, open_door(ws, locks=ws.parent / "locks"))


def run(ws: Path, *arguments: str) -> Result:
    """What the command says."""
    home = {"SUREFOOT_HOME": str(ws.parent / "state")}
    return CliRunner().invoke(command, ["--root", str(ws), *arguments], env=home)


def test_what_was_deleted_is_listed_newest_first_and_comes_back(ws: Path) -> None:
    (ws / "d").mkdir()
    for name in ("d/old", "new\nline"):
        (ws / name).write_text(name)
    old = delete(ws, "d")
    new = delete(ws, "new\nline")
    os.utime(ws / ".surefoot/trash" / old / "entry.json", (86400, 86400))
    lines = run(ws).stdout.splitlines()
    assert [line.split("  ") for line in lines][1] == [
        old,
        "1970-01-02T00:00:00Z",
        "directory",
        "d",
    ]
    assert lines[0].startswith(new)
    assert lines[0].endswith("new\\nline")
    rows = [json.loads(line) for line in run(ws, "--json").stdout.splitlines()]
    assert [row["path"] for row in rows] == ["new\nline", "d"]
    assert run(ws, old).stdout == "restored d\n"
    assert (ws / "d/old").read_text() == "d/old"
    assert len(run(ws).stdout.splitlines()) == 1


def test_what_exists_is_not_overwritten_and_another_name_is_taken(ws: Path) -> None:
    """Guard: `restoring._move`."""
    (ws / "f").write_text("old")
    trash_id = delete(ws, "f")
    (ws / "f").write_text("new")
    refused = run(ws, trash_id)
    assert (refused.exit_code, "exists" in refused.output) == (1, True)
    assert (ws / "f").read_text() == "new"
    assert not (ws / "sub").exists()
    restored = run(ws, trash_id, "--to", "sub/g", "--json")
    assert json.loads(restored.stdout) == {"path": "sub/g"}
    assert (ws / "sub/g").read_text() == "old"
    assert run(ws, trash_id).exit_code == 1


def test_nothing_is_brought_back_to_outside_of_the_root(ws: Path) -> None:
    (ws / "f").write_text("x")
    trash_id = delete(ws, "f")
    (ws / "out").symlink_to(ws.parent)
    for path in ("../g", "out/g", str(ws.parent / "g"), ".surefoot/g"):
        assert run(ws, trash_id, "--to", path).exit_code == 1
    assert not (ws.parent / "g").exists()
    assert run(ws, trash_id).exit_code == 0


def test_an_empty_trash_and_strange_things_in_it_are_said_to_be_empty(ws: Path) -> None:
    assert run(ws).exit_code == 0
    (ws / ".surefoot/trash/x").mkdir(parents=True)
    (ws / ".surefoot/trash/file").write_text("")
    found = run(ws)
    assert (found.stdout, found.exit_code) == ("", 0)
    assert run(ws, "x").exit_code == 1
