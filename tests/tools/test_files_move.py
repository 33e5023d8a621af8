"""`move_path`: one step, verified by inode; nothing is overwritten that is not kept."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tools.files_door import Door, new_context, open_door

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files import moving, renaming
from surefoot_tools.tool import Happened, NotBegun, Unknown

pytestmark = pytest.mark.anyio


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    (tmp_path / "ws").mkdir()
    return tmp_path / "ws"


@pytest.fixture
def door(ws: Path) -> Door:
    return open_door(ws, locks=ws.parent / "locks")


async def failure(door: Door, /, **arguments: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await door.call("move_path", **arguments)
    return caught.value


async def test_a_file_and_a_directory_get_another_name_and_parents_are_made(
    door: Door, ws: Path
) -> None:
    (ws / "d").mkdir()
    (ws / "d/f").write_text("x")
    result = await door.call("move_path", source="d", destination="a/b/e")
    assert result.trash_id is None
    assert (ws / "a/b/e/f").read_text() == "x"
    await door.call("move_path", source="a/b/e/f", destination="f")
    assert (ws / "f").read_text() == "x"
    assert sorted(os.listdir(ws)) == ["a", "f"]


@pytest.mark.parametrize("swaps", [True, False])
async def test_what_is_overwritten_lies_in_the_trash(
    door: Door, ws: Path, swaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not swaps:

        def cannot(*_: Any) -> bool:
            return False

        monkeypatch.setattr(moving, "swap", cannot)
    (ws / "f").write_text("new")
    (ws / "g").write_text("old")
    error = await failure(door, source="f", destination="g")
    assert (error.code, error.applied) == (Code.ALREADY_EXISTS, Applied.NO)
    result = await door.call("move_path", source="f", destination="g", overwrite=True)
    assert (ws / "g").read_text() == "new"
    assert not (ws / "f").exists()
    assert (ws / ".surefoot/trash" / str(result.trash_id) / "item").read_text() == "old"


@pytest.mark.parametrize(
    ("source", "destination", "code"),
    [
        ("nothing", "new", Code.NOT_FOUND),
        ("d", "d/e/f", Code.INVALID_ARGUMENT),
        ("f", "f", Code.INVALID_ARGUMENT),
        ("f", "d", Code.ALREADY_EXISTS),
        ("f", "link", Code.FAILED_PRECONDITION),
        ("d", "g", Code.FAILED_PRECONDITION),
        ("f", "hard", Code.FAILED_PRECONDITION),
        ("f", ".envrc", Code.PERMISSION_DENIED),
        ("f", "d/.git/hooks/pre-commit", Code.PERMISSION_DENIED),
        (".vscode", "visible", Code.PERMISSION_DENIED),
        ("d", ".vscode", Code.PERMISSION_DENIED),
        ("d", "r/.git/modules", Code.PERMISSION_DENIED),
        ("d", "r/fish", Code.PERMISSION_DENIED),
        ("f", "../out", Code.PERMISSION_DENIED),
        ("../secret", "f2", Code.PERMISSION_DENIED),
    ],
)
async def test_a_move_that_is_refused_leaves_both_names_as_they_are(
    door: Door, ws: Path, source: str, destination: str, code: Code
) -> None:
    """Guard: `move_path._refuse_replacing`, `rule_against_tree`, `Guard.refuse_take`."""
    for name in ("d/hooks", ".vscode", "r/.git"):
        (ws / name).mkdir(parents=True)
    for name in ("f", "g", "d/config.fish", "../secret"):
        (ws / name).write_text(name)
    (ws / "link").symlink_to("g")
    (ws / "hard").hardlink_to(ws / "f")
    before = sorted(ws.rglob("*"))
    error = await failure(door, source=source, destination=destination, overwrite=True)
    assert (error.code, error.applied) == (code, Applied.NO)
    assert sorted(ws.rglob("*")) == before


async def test_parents_made_for_a_move_that_failed_are_removed(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ws / "f").write_text("x")

    def fail(*_: Any) -> None:
        raise OSError(errno.EXDEV, "cross-device")

    monkeypatch.setattr(moving, "rename_new", fail)
    error = await failure(door, source="f", destination="a/b/g")
    assert (error.code, error.applied) == (Code.FAILED_PRECONDITION, Applied.NO)
    assert os.listdir(ws) == ["f"]


@pytest.mark.parametrize("overwrite", [False, True])
async def test_what_takes_the_source_in_the_last_moment_is_moved_back(
    door: Door, ws: Path, overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: the look at the destination in `_Step`."""
    (ws / "f").write_text("mine")
    if overwrite:
        (ws / "g").write_text("old")
    name = "swap" if overwrite else "rename_new"
    real = getattr(renaming, name)

    def late(*arguments: Any) -> Any:
        if (ws / "f").exists() and not (ws / "seen").exists():
            (ws / "seen").write_text("")
            (ws / "theirs").write_text("theirs")
            (ws / "theirs").rename(ws / "f")
        return real(*arguments)

    monkeypatch.setattr(moving, name, late)
    error = await failure(door, source="f", destination="g", overwrite=overwrite)
    assert (error.code, error.applied) == (Code.ABORTED, Applied.NO)
    assert (ws / "f").read_text() == "theirs"
    assert (ws / "g").exists() == overwrite
    assert not overwrite or (ws / "g").read_text() == "old"


async def test_a_name_that_is_taken_in_the_last_moment_is_not_overwritten(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `renaming.rename_new`."""
    (ws / "f").write_text("mine")
    real = renaming.rename_new

    def late(*arguments: Any) -> None:
        (ws / "g").write_text("theirs")
        real(*arguments)

    monkeypatch.setattr(moving, "rename_new", late)
    error = await failure(door, source="f", destination="g")
    assert (error.code, error.applied) == (Code.ABORTED, Applied.NO)
    assert ((ws / "f").read_text(), (ws / "g").read_text()) == ("mine", "theirs")


CUTS = ["prepared", "parents", "swapped", "taken", "freed", "done"]


@given(overwrite=st.booleans(), cut=st.sampled_from(CUTS), directory=st.booleans())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.anyio
async def test_recovery_after_any_cut_finds_one_of_both_names(
    tmp_path: Path, overwrite: bool, cut: str, directory: bool
) -> None:
    """Guard: `moving.find_out`."""
    ws = tmp_path / os.urandom(8).hex()
    (ws / "to").mkdir(parents=True)
    door = open_door(ws, locks=tmp_path / "locks")
    directory = directory and not overwrite
    source, target = ws / "f", ws / "to/g"
    if directory:
        source.mkdir()
    else:
        source.write_text("new")
    if overwrite:
        target.write_text("old")
    arguments = {"source": "f", "destination": "to/g", "overwrite": overwrite}
    context = new_context()
    async with context.held:
        evidence = await door.prepare("move_path", context, **arguments)
    entry = ws / ".surefoot/trash" / context.call_id
    if cut != "prepared" and overwrite:
        entry.mkdir(parents=True)
        (entry / "entry.json").write_text('{"path": "to/g"}')
    happened = cut in ("swapped", "taken", "done")
    if happened and not overwrite:
        source.rename(target)
    elif happened:
        target.rename(ws / "third")
        source.rename(target)
        (ws / "third").rename(source if cut == "swapped" else entry / "item")
    elif cut == "freed" and overwrite:
        target.rename(entry / "item")
    found = await door.recover("move_path", evidence)
    if happened:
        assert isinstance(found, Happened)
        assert target.is_dir() if directory else target.read_text() == "new"
        assert not source.exists()
        assert not overwrite or (entry / "item").read_text() == "old"
        return
    assert isinstance(found, NotBegun)
    assert source.exists()
    assert target.exists() == overwrite
    assert not entry.exists()
    await door.call("move_path", **arguments)
    assert not source.exists()


async def test_a_move_whose_names_others_changed_is_unknown(door: Door, ws: Path) -> None:
    (ws / "f").write_text("x")
    context = new_context()
    async with context.held:
        evidence = await door.prepare("move_path", context, source="f", destination="g")
    (ws / "f").unlink()
    (ws / "other").write_text("y")
    (ws / "other").rename(ws / "g")
    assert isinstance(await door.recover("move_path", evidence), Unknown)


async def test_a_path_of_the_second_root_is_found_there_after_a_crash_too(tmp_path: Path) -> None:
    """Guard: `find_out` looks at places, not at the caller's text."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "two/f").write_text("x")
    door = open_door(tmp_path / "one", tmp_path / "two", locks=tmp_path / "locks")
    target = str(tmp_path / "two/g")
    context = new_context()
    async with context.held:
        evidence = await door.prepare("move_path", context, source="f", destination=target)
        await door.run("move_path", evidence, context, source="f", destination=target)
    assert isinstance(await door.recover("move_path", evidence), Happened)
