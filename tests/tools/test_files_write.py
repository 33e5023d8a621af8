"""`write_file`: what is written, where, and what is refused."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.tools.files_door import Door, open_door

from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.files import atomic
from surefoot_tools.tool import Effect

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


async def test_a_path_that_leaves_by_its_own_text_is_denied_though_its_parts_are_missing(
    door: Door,
) -> None:
    """The guard is `roots._leaves`."""
    error = await failure(door, "write_file", path="none/../../x", content="new")
    assert error.code is Code.PERMISSION_DENIED


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
