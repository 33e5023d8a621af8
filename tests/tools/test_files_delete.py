"""`delete_path`: into the trash of the root, which nobody looks into, and back by `restore`."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.tools.files_door import Door, new_context, open_door, ripgrep

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files import delete_path, trash
from surefoot_tools.files.restoring import deleted
from surefoot_tools.tool import Happened, NotBegun, Unknown

pytestmark = pytest.mark.anyio


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    (tmp_path / "ws").mkdir()
    return tmp_path / "ws"


@pytest.fixture
def door(ws: Path) -> Door:
    return open_door(ws, locks=ws.parent / "locks")


async def failure(door: Door, tool: str, /, **arguments: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await door.call(tool, **arguments)
    return caught.value


def item(ws: Path, trash_id: str) -> Path:
    return ws / ".surefoot" / "trash" / trash_id / "item"


async def test_a_file_goes_to_the_trash_of_its_root_under_the_id_of_the_call(
    door: Door, ws: Path
) -> None:
    (ws / "d").mkdir()
    (ws / "d/f").write_text("x")
    result = await door.call("delete_path", path="d/f")
    assert not (ws / "d/f").exists()
    assert item(ws, result.trash_id).read_text() == "x"
    assert (ws / ".surefoot/.gitignore").read_text() == "*\n"
    assert stat.S_IMODE((ws / ".surefoot").stat().st_mode) == 0o700
    (found,) = deleted([ws])
    assert (found.trash_id, found.path, found.type) == (result.trash_id, "d/f", "file")


async def test_a_full_directory_is_deleted_only_when_that_is_asked_for(
    door: Door, ws: Path
) -> None:
    (ws / "d/e").mkdir(parents=True)
    error = await failure(door, "delete_path", path="d")
    assert (error.code, error.applied) == (Code.FAILED_PRECONDITION, Applied.NO)
    assert "recursive" in (error.hint or "")
    await door.call("delete_path", path="d/e")
    (ws / "d/f").write_text("x")
    result = await door.call("delete_path", path="d", recursive=True)
    assert (item(ws, result.trash_id) / "f").read_text() == "x"
    assert os.listdir(ws) == [".surefoot"]


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo"])
async def test_a_link_or_a_pipe_is_deleted_itself(door: Door, ws: Path, kind: str) -> None:
    (ws / "d").mkdir()
    (ws / "d/f").write_text("x")
    match kind:
        case "link":
            (ws / "x").symlink_to("d")
        case "dangling":
            (ws / "x").symlink_to("/nowhere")
        case _:
            os.mkfifo(ws / "x")
    await door.call("delete_path", path="x")
    assert not (ws / "x").is_symlink()
    assert not (ws / "x").exists()
    assert (ws / "d/f").read_text() == "x"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("nothing", Code.NOT_FOUND),
        (".", Code.INVALID_ARGUMENT),
        ("d/..", Code.INVALID_ARGUMENT),
        (".git/config", Code.PERMISSION_DENIED),
        (".mcp.json", Code.PERMISSION_DENIED),
    ],
)
async def test_what_cannot_be_deleted_is_left_as_it_is(
    door: Door, ws: Path, path: str, code: Code
) -> None:
    (ws / "d").mkdir()
    (ws / ".git").mkdir()
    (ws / ".git/config").write_text("x")
    (ws / ".mcp.json").write_text("x")
    error = await failure(door, "delete_path", path=path, recursive=True)
    assert (error.code, error.applied) == (code, Applied.NO)
    assert sorted(os.listdir(ws)) == [".git", ".mcp.json", "d"]


async def test_a_root_and_what_holds_one_are_not_deleted(tmp_path: Path) -> None:
    """Guard: `Guard.refuse_take`."""
    inner = tmp_path / "ws/a/b"
    inner.mkdir(parents=True)
    door = open_door(tmp_path / "ws", inner, locks=tmp_path / "locks")
    for path in ("a", "a/b", str(inner)):
        error = await failure(door, "delete_path", path=path, recursive=True)
        assert error.code in (Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT)
    assert inner.is_dir()


async def test_no_tool_looks_into_the_trash_or_writes_it(door: Door, ws: Path) -> None:
    """Guard: `refuse_kept`, and `list_directory` and `search_files` that leave it out."""
    (ws / "f").write_text("needle\n")
    trash_id = (await door.call("delete_path", path="f")).trash_id
    inside = f".surefoot/trash/{trash_id}/item"
    (ws / "link").symlink_to(f".surefoot/trash/{trash_id}")
    calls: list[tuple[str, dict[str, Any]]] = []
    for path in (inside, f"./{inside}", f"sub/../{inside}", "link/item", str(ws / inside)):
        calls += [
            ("read_file", {"path": path}),
            ("file_info", {"path": path}),
            ("write_file", {"path": path, "content": "x"}),
            ("edit_file", {"path": path, "edits": [{"old_text": "needle", "new_text": "x"}]}),
            ("delete_path", {"path": path}),
            ("move_path", {"source": path, "destination": "back"}),
            ("move_path", {"source": "other", "destination": path, "overwrite": True}),
            ("search_files", {"path": path, "pattern": "needle"}),
        ]
    for path in (".surefoot", "link", ".surefoot/trash"):
        calls += [("list_directory", {"path": path, "hidden": True})]
        calls += [("search_files", {"path": path, "pattern": "needle"})]
    calls += [("delete_path", {"path": ".surefoot", "recursive": True})]
    calls += [("write_file", {"path": ".SUREFOOT/x", "content": "x"})]
    (ws / "sub").mkdir()
    (ws / "other").write_text("other")
    for tool, arguments in calls:
        error = await failure(door, tool, **arguments)
        assert error.code is Code.PERMISSION_DENIED, (tool, arguments)
        assert "restore" in (error.hint or ""), (tool, arguments)
    assert item(ws, trash_id).read_text() == "needle\n"


@pytest.mark.parametrize("program", [None, ripgrep()], ids=["python", "ripgrep"])
async def test_the_trash_is_neither_listed_nor_searched(ws: Path, program: str | None) -> None:
    door = open_door(ws, locks=ws.parent / "locks", program=program)
    for name in ("f", "g"):
        (ws / name).write_text("needle\n")
    await door.call("delete_path", path="f")
    (ws / "l").symlink_to(".surefoot")
    listed = await door.call("list_directory", hidden=True, depth=5)
    assert [entry.path for entry in listed.entries] == ["g", "l"]
    for glob in (None, "**/*", "**/item", ".surefoot/**", ".surefoot/trash/*/item"):
        found = await door.call("search_files", pattern="needle", glob=glob)
        assert [match.path for match in found.matches if match.path != "g"] == []


async def test_a_trash_that_is_a_link_leads_nowhere(door: Door, ws: Path) -> None:
    """Guard: O_NOFOLLOW in `trash._folder`."""
    (ws / "f").write_text("x")
    (ws.parent / "out").mkdir()
    (ws / ".surefoot").symlink_to(ws.parent / "out")
    error = await failure(door, "delete_path", path="f")
    assert (error.code, error.applied) == (Code.FAILED_PRECONDITION, Applied.NO)
    assert (ws / "f").read_text() == "x"
    assert os.listdir(ws.parent / "out") == []


async def test_what_is_on_another_file_system_is_left_there(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ws / "f").write_text("x")

    def other(*_: Any) -> None:
        raise OSError(errno.EXDEV, "cross-device")

    monkeypatch.setattr(trash, "rename_new", other)
    error = await failure(door, "delete_path", path="f")
    assert (error.code, error.applied) == (Code.FAILED_PRECONDITION, Applied.NO)
    assert os.listdir(ws / ".surefoot/trash") == []


async def test_what_takes_the_name_in_the_last_moment_is_given_back(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `delete_path._check_taken`."""
    (ws / "f").write_text("mine")
    real = trash.Entry.take

    def late(self: trash.Entry, name: str, parent: int) -> None:
        (ws / "theirs").write_text("theirs")
        (ws / "theirs").rename(ws / "f")
        real(self, name, parent)

    monkeypatch.setattr(trash.Entry, "take", late)
    error = await failure(door, "delete_path", path="f")
    assert (error.code, error.applied) == (Code.ABORTED, Applied.NO)
    assert (ws / "f").read_text() == "theirs"
    assert os.listdir(ws / ".surefoot/trash") == []


async def test_what_changed_its_name_since_it_was_prepared_is_not_deleted(
    door: Door, ws: Path
) -> None:
    (ws / "f").write_text("old")
    context = new_context()
    async with context.held:
        evidence = await door.prepare("delete_path", context, path="f")
        (ws / "f").rename(ws / "g")
        (ws / "f").write_text("other")
        with pytest.raises(ToolError) as caught:
            await door.run("delete_path", evidence, context, path="f")
    assert (caught.value.code, caught.value.applied) == (Code.ABORTED, Applied.NO)
    assert isinstance(await door.recover("delete_path", evidence), Unknown)


@pytest.mark.parametrize("cut", ["prepared", "entry made", "renamed", "restored"])
async def test_recovery_after_any_cut_knows_whether_it_was_deleted(
    door: Door, ws: Path, cut: str
) -> None:
    """Guard: `delete_path._find_out`."""
    (ws / "d").mkdir()
    (ws / "d/f").write_text("x")
    context = new_context()
    async with context.held:
        evidence = await door.prepare("delete_path", context, path="d/f")
    entry = ws / ".surefoot/trash" / context.call_id
    if cut != "prepared":
        entry.mkdir(parents=True)
        (entry / "entry.json").write_text('{"path": "d/f"}')
    if cut in ("renamed", "restored"):
        (ws / "d/f").rename(entry / "item")
    if cut == "restored":
        (entry / "item").rename(ws / "d/f")
        (entry / "restored").write_text("")
    found = await door.recover("delete_path", evidence)
    if cut in ("renamed", "restored"):
        assert isinstance(found, Happened)
        return
    assert isinstance(found, NotBegun)
    assert (ws / "d/f").read_text() == "x"
    assert not entry.exists()


async def test_a_directory_that_cannot_be_flushed_leaves_it_unknown_for_good(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `settled.confirmed`."""
    (ws / "f").write_text("x")
    context = new_context()

    def fail(_: trash.Entry) -> None:
        raise OSError(errno.EIO, "bad")

    async with context.held:
        evidence = await door.prepare("delete_path", context, path="f")
        with monkeypatch.context() as patch:
            patch.setattr(trash.Entry, "flush", fail)
            with pytest.raises(ToolError) as caught:
                await door.run("delete_path", evidence, context, path="f")
    assert caught.value.applied is Applied.UNKNOWN
    assert isinstance(await door.recover("delete_path", evidence), Unknown)


async def test_the_trash_is_emptied_of_what_the_journal_has_forgotten(door: Door, ws: Path) -> None:
    """Guard: `delete_path.purge`."""
    for name in ("old", "young"):
        (ws / name).mkdir()
        (ws / name / "link").symlink_to("/etc")
    old = (await door.call("delete_path", path="old", recursive=True)).trash_id
    young = (await door.call("delete_path", path="young", recursive=True)).trash_id
    os.utime(ws / ".surefoot/trash" / old / "entry.json", (1000, 1000))
    await door.tools["delete_path"].forget(2000.0)
    assert os.listdir(ws / ".surefoot/trash") == [young]
    delete_path.purge((ws / "gone",), 2000.0)
