"""`write_file`, and what every replacement of a file has in common."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tools.files_door import Door, new_context, open_door

from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.files import atomic
from surefoot_tools.files.atomic import Staged
from surefoot_tools.tool import Effect, Happened, NotBegun, Unknown

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


def names(ws: Path) -> list[str]:
    return sorted(str(each.relative_to(ws)) for each in ws.rglob("*"))


async def test_replace_creates_with_parents_and_then_replaces(door: Door, ws: Path) -> None:
    first = await door.call("write_file", path="a/b/c.txt", content="one")
    second = await door.call("write_file", path="a/b/c.txt", content="two!")
    assert (first.created, first.size, second.created, second.size) == (True, 3, False, 4)
    assert (ws / "a/b/c.txt").read_text() == "two!"
    assert names(ws) == ["a", "a/b", "a/b/c.txt"]
    read = await door.call("read_file", path="a/b/c.txt")
    assert read.sha256 == second.sha256
    assert second.as_text().count("\n") == 0


async def test_create_refuses_what_exists(door: Door, ws: Path) -> None:
    await door.call("write_file", path="f", content="one", mode="create")
    error = await failure(door, "write_file", path="f", content="two", mode="create")
    assert error.code is Code.ALREADY_EXISTS
    assert (ws / "f").read_text() == "one"


async def test_append_extends_byte_by_byte_and_creates(door: Door, ws: Path) -> None:
    await door.call("write_file", path="log", content="a\r\n", mode="append")
    result = await door.call("write_file", path="log", content="b", mode="append")
    assert (ws / "log").read_bytes() == b"a\r\nb"
    assert (result.created, result.size) == (False, 4)


async def test_append_in_utf_16_keeps_the_byte_order_and_sets_no_second_mark(
    door: Door, ws: Path
) -> None:
    (ws / "f").write_bytes(b"\xfe\xff" + "a".encode("utf-16-be"))
    await door.call("write_file", path="f", content="é", mode="append", encoding="utf-16")
    assert (ws / "f").read_bytes() == b"\xfe\xff" + "aé".encode("utf-16-be")


@pytest.mark.parametrize(("size", "fits"), [(atomic.LARGEST - 1, True), (atomic.LARGEST, False)])
async def test_append_stops_at_64_mib(door: Door, ws: Path, size: int, fits: bool) -> None:
    with (ws / "big").open("wb") as file:
        file.truncate(size)
    if fits:
        assert (await door.call("write_file", path="big", content="x", mode="append")).size == (
            atomic.LARGEST
        )
        return
    error = await failure(door, "write_file", path="big", content="x", mode="append")
    assert (error.code, error.applied) == (Code.FAILED_PRECONDITION, Applied.NO)
    assert (ws / "big").stat().st_size == size


async def test_a_file_other_than_expected_is_not_replaced(door: Door, ws: Path) -> None:
    written = await door.call("write_file", path="f", content="one")
    error = await failure(door, "write_file", path="f", content="two", expected_sha256="0" * 64)
    assert (error.code, error.applied) == (Code.ABORTED, Applied.NO)
    assert written.sha256 in error.message
    right = written.sha256.upper()
    await door.call("write_file", path="f", content="two", expected_sha256=right)
    assert (ws / "f").read_text() == "two"
    error = await failure(door, "write_file", path="g", content="x", expected_sha256=right)
    assert error.code is Code.ABORTED


async def test_content_that_the_encoding_lacks_is_refused_by_character(door: Door) -> None:
    error = await failure(door, "write_file", path="f", content="a€", encoding="latin-1")
    assert error.code is Code.INVALID_ARGUMENT
    assert "€" in error.message and "character 1" in error.message


async def test_the_mode_is_kept_and_setuid_never_is(door: Door, ws: Path) -> None:
    (ws / "f").write_text("x")
    (ws / "f").chmod(0o4750)
    await door.call("write_file", path="f", content="y")
    assert stat.S_IMODE((ws / "f").stat().st_mode) == 0o750
    mask = os.umask(0o027)
    try:
        await door.call("write_file", path="new", content="y")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((ws / "new").stat().st_mode) == 0o640


async def test_a_read_only_file_is_refused(door: Door, ws: Path) -> None:
    (ws / "f").write_text("x")
    (ws / "f").chmod(0o444)
    error = await failure(door, "write_file", path="f", content="y")
    assert (error.code, error.origin) == (Code.PERMISSION_DENIED, Origin.ENVIRONMENT)


async def test_a_link_that_stays_inside_is_written_through(door: Door, ws: Path) -> None:
    (ws / "d").mkdir()
    (ws / "d" / "f").write_text("x")
    (ws / "link").symlink_to("d/f")
    (ws / "absolute").symlink_to(ws / "d" / "f")
    await door.call("write_file", path="link", content="one")
    await door.call("write_file", path="absolute", content="two", mode="append")
    assert (ws / "link").is_symlink()
    assert (ws / "d" / "f").read_text() == "onetwo"


async def test_a_hard_link_is_replaced_and_its_content_never_copied(door: Door, ws: Path) -> None:
    outside = ws.parent / "outside"
    outside.write_text("secret")
    os.link(outside, ws / "f")
    assert (await failure(door, "write_file", path="f", content="x", mode="append")).code is (
        Code.PERMISSION_DENIED
    )
    edit = {"old_text": "secret", "new_text": "x"}
    assert (await failure(door, "edit_file", path="f", edits=[edit])).code is Code.PERMISSION_DENIED
    await door.call("write_file", path="f", content="mine")
    assert (outside.read_text(), (ws / "f").read_text()) == ("secret", "mine")


@pytest.mark.parametrize(
    "path",
    [
        ".git/hooks/pre-commit",
        "sub/.git/hooks/x",
        ".git/modules/m/config",
        ".GIT/Config",
        ".git",
        ".vscode/tasks.json",
        "sub/.idea/x.xml",
        ".mcp.json",
        ".envrc",
        ".bashrc",
        "a/../.zshrc",
        "link/config",
    ],
)
async def test_protected_paths_are_refused_by_the_name_of_their_rule(
    door: Door, ws: Path, path: str
) -> None:
    (ws / ".git").mkdir()
    (ws / "a").mkdir()
    (ws / "link").symlink_to(".git")
    error = await failure(door, "write_file", path=path, content="x")
    assert error.code is Code.PERMISSION_DENIED
    assert "protected by the rule" in error.message


async def test_names_beside_protected_ones_may_be_written(door: Door) -> None:
    for path in (
        ".github/workflows/ci.yml",
        ".gitignore",
        "config",
        "hooks/x",
        ".git/info/exclude",
    ):
        assert (await door.call("write_file", path=path, content="x")).created


async def test_a_file_that_changed_since_it_was_prepared_stays(door: Door, ws: Path) -> None:
    (ws / "f").write_text("old")
    context = new_context()
    async with context.held:
        evidence = await door.prepare("write_file", context, path="f", content="new")
        (ws / "f").write_text("theirs")
        with pytest.raises(ToolError) as caught:
            await door.run("write_file", evidence, context, path="f", content="new")
    assert (caught.value.code, caught.value.applied) == (Code.ABORTED, Applied.NO)
    assert names(ws) == ["f"]
    assert (ws / "f").read_text() == "theirs"
    assert isinstance(await door.recover("write_file", evidence), Unknown)


@pytest.mark.parametrize("exists", [False, True])
async def test_a_file_that_changes_just_before_the_rename_stays(
    door: Door, ws: Path, exists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guards are `Staged._check_name`, and `_rename_new` for a name that was free."""
    if exists:
        (ws / "d").mkdir()
        (ws / "d/f").write_text("old")
    whole = Staged.commit

    def late(self: Staged) -> None:
        (ws / "d/f").write_text("theirs")
        whole(self)

    monkeypatch.setattr(Staged, "commit", late)
    error = await failure(door, "write_file", path="d/f", content="new")
    assert (error.code, error.applied) == (Code.ABORTED, Applied.NO)
    assert names(ws) == ["d", "d/f"]
    assert (ws / "d/f").read_text() == "theirs"


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("call", "number", "code"),
    [
        ("write", errno.ENOSPC, Code.RESOURCE_EXHAUSTED),
        ("fsync", errno.EIO, Code.DATA_LOSS),
        ("fsync", errno.EDQUOT, Code.RESOURCE_EXHAUSTED),
        ("rename", errno.EROFS, Code.PERMISSION_DENIED),
    ],
)
async def test_an_error_before_the_rename_leaves_nothing_behind(
    door: Door, ws: Path, call: str, number: int, code: Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ws / "f").write_text("old")
    monkeypatch.setattr(atomic.os, call, failing(number))
    error = await failure(door, "write_file", path="f", content="new")
    assert (error.code, error.applied, error.origin) == (code, Applied.NO, Origin.ENVIRONMENT)
    assert str(ws) not in error.message
    monkeypatch.undo()
    assert names(ws) == ["f"]
    assert (ws / "f").read_text() == "old"


async def test_parents_made_for_a_write_that_failed_are_removed(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic.os, "write", failing(errno.ENOSPC))
    await failure(door, "write_file", path="a/b/f", content="new")
    assert names(ws) == []


async def test_a_directory_that_cannot_be_flushed_leaves_the_effect_unknown_for_good(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking again must not flush again: it may succeed and prove nothing."""
    (ws / "f").write_text("old")
    real = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "bad")
        real(descriptor)

    context = new_context()
    async with context.held:
        evidence = await door.prepare("write_file", context, path="f", content="new")
        monkeypatch.setattr(atomic.os, "fsync", fail)
        with pytest.raises(ToolError) as caught:
            await door.run("write_file", evidence, context, path="f", content="new")
        monkeypatch.undo()
    assert (caught.value.code, caught.value.applied) == (Code.DATA_LOSS, Applied.UNKNOWN)
    assert isinstance(await door.recover("write_file", evidence), Unknown)


async def test_a_call_cancelled_before_the_rename_leaves_nothing_behind(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ws / "f").write_text("old")
    scope = anyio.CancelScope()
    whole = Staged.write

    def cancelling(self: Staged, chunks: Any) -> None:
        whole(self, chunks)
        anyio.from_thread.run_sync(scope.cancel)

    monkeypatch.setattr(Staged, "write", cancelling)
    context = new_context()
    async with context.held:
        evidence = await door.prepare("write_file", context, path="f", content="new")
        with scope:
            await door.run("write_file", evidence, context, path="f", content="new")
    assert scope.cancelled_caught
    assert context.interrupted is not None
    assert context.interrupted.applied is Applied.NO
    assert names(ws) == ["f"]
    assert (ws / "f").read_text() == "old"


async def test_a_call_cancelled_in_the_rename_is_carried_to_its_end(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = anyio.CancelScope()
    whole = Staged.commit

    def cancelling(self: Staged) -> None:
        anyio.from_thread.run_sync(scope.cancel)
        whole(self)

    monkeypatch.setattr(Staged, "commit", cancelling)
    context = new_context()
    async with context.held:
        evidence = await door.prepare("write_file", context, path="f", content="new")
        with scope:
            result = await door.run("write_file", evidence, context, path="f", content="new")
            assert result.created
    assert (ws / "f").read_text() == "new"
    assert names(ws) == ["f"]


CUTS = ("prepared", "temporary torn", "temporary whole", "renamed")


@given(
    before=st.none() | st.binary(max_size=40),
    content=st.text(max_size=40),
    mode=st.sampled_from(["replace", "append"]),
    cut=st.sampled_from(CUTS),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_recovery_after_any_cut_finds_the_old_or_the_new(
    tmp_path: Path, before: bytes | None, content: str, mode: str, cut: str
) -> None:
    anyio.run(recovered, tmp_path, before, content, mode, cut)


async def recovered(tmp: Path, before: bytes | None, content: str, mode: str, cut: str) -> None:
    """Lay out what a crash at `cut` leaves; recovery agrees, and a second run ends it."""
    ws = tmp / "cut"
    ws.mkdir(exist_ok=True)
    door = open_door(ws, locks=tmp / "locks")
    file = ws / "f"
    file.unlink(missing_ok=True)
    if before is not None:
        file.write_bytes(before)
    new = content.encode()
    if mode == "append":
        new = (before or b"") + new
    arguments = {"path": "f", "content": content, "mode": mode}
    context = new_context()
    async with context.held:
        evidence = await door.prepare("write_file", context, **arguments)
    if cut.startswith("temporary"):
        torn = len(new) // 2 if cut.endswith("torn") else len(new)
        (ws / evidence["temporary"]).write_bytes(new[:torn])
    if cut == "renamed":
        (ws / evidence["temporary"]).write_bytes(new)
        (ws / evidence["temporary"]).rename(file)
    found = await door.recover("write_file", evidence)
    if cut == "renamed" or new == before:
        assert isinstance(found, Happened)
        assert file.read_bytes() == new
    else:
        assert isinstance(found, NotBegun)
        assert (file.read_bytes() if file.exists() else None) == before
        await door.call("write_file", **arguments)
        assert file.read_bytes() == new
    assert names(ws) == ["f"]


async def test_a_second_root_is_read_and_a_new_file_goes_to_the_first(
    ws: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / "f").write_text("there")
    door = open_door(ws, second, locks=tmp_path / "locks")
    assert (await door.call("read_file", path="f")).text == "there"
    await door.call("write_file", path="f", content="changed")
    await door.call("write_file", path="g", content="new")
    assert (second / "f").read_text() == "changed"
    assert names(ws) == ["g"]
    await door.call("write_file", path=str(second / "h"), content="by its text")
    assert (second / "h").exists()


def test_what_the_tools_say_of_themselves_is_true(door: Door) -> None:
    for name in ("write_file", "edit_file"):
        tool = door.tools[name]
        assert (tool.effect, tool.destructive, tool.repeatable) == (Effect.VERIFIABLE, True, False)
    for name in ("read_file", "list_directory", "search_files"):
        tool = door.tools[name]
        assert (tool.effect, tool.destructive, tool.repeatable) == (Effect.SAFE, False, True)
