"""What every replacement of a file has in common: all or nothing, whatever comes in between."""

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
from surefoot_tools.files.atomic import Staged
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


def names(ws: Path) -> list[str]:
    return sorted(str(each.relative_to(ws)) for each in ws.rglob("*"))


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
    """The guards are `Staged._check_name`, and `rename_new` for a name that was free."""
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


async def test_a_name_that_is_taken_in_the_last_moment_is_not_overwritten(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard is `renaming.rename_new`."""

    def taken(_: Staged) -> None:
        (ws / "f").write_text("theirs")

    monkeypatch.setattr(Staged, "_check_name", taken)
    error = await failure(door, "write_file", path="f", content="new")
    assert (error.code, error.applied) == (Code.ABORTED, Applied.NO)
    assert names(ws) == ["f"]
    assert (ws / "f").read_text() == "theirs"


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
    monkeypatch.setattr(os, call, failing(number))
    error = await failure(door, "write_file", path="f", content="new")
    assert (error.code, error.applied, error.origin) == (code, Applied.NO, Origin.ENVIRONMENT)
    assert str(ws) not in error.message
    monkeypatch.undo()
    assert names(ws) == ["f"]
    assert (ws / "f").read_text() == "old"


async def test_parents_made_for_a_write_that_failed_are_removed(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", failing(errno.ENOSPC))
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
        monkeypatch.setattr(os, "fsync", fail)
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
