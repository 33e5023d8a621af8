"""`list_directory`: a bounded walk."""

import os
import re
from pathlib import Path

import pytest
from tests.tools.files_door import Door, open_door

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files import list_directory

pytestmark = pytest.mark.anyio


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    ws = tmp_path / "ws"
    (ws / "src" / "deep").mkdir(parents=True)
    (ws / "src" / "a.py").write_text("12345")
    (ws / "src" / "deep" / "b.py").write_text("")
    (ws / "src.txt").write_text("")
    (ws / ".hidden").write_text("")
    (ws / "link").symlink_to("src")
    os.mkfifo(ws / "pipe")
    return ws


@pytest.fixture
def door(ws: Path) -> Door:
    return open_door(ws, locks=ws.parent / "locks")


async def paths(door: Door, **arguments: object) -> list[str]:
    result = await door.call("list_directory", **arguments)
    return [entry.path for entry in result.entries]


async def test_entries_have_path_type_size_and_time(door: Door, ws: Path) -> None:
    os.utime(ws / "src.txt", (0, 0))
    result = await door.call("list_directory")
    found = [(each.path, each.type, each.size) for each in result.entries]
    assert found == [
        ("link", "symlink", None),
        ("pipe", "other", None),
        ("src", "directory", None),
        ("src.txt", "file", 0),
    ]
    assert result.entries[-1].modified == "1970-01-01T00:00:00Z"
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", e.modified) for e in result.entries)
    assert not result.truncated
    assert result.as_text().splitlines()[3] == "src/"


async def test_depth_goes_down_sorted_by_path_and_never_through_links(door: Door) -> None:
    assert await paths(door, depth=3) == [
        "link", "pipe", "src", "src.txt", "src/a.py", "src/deep", "src/deep/b.py",
    ]  # fmt: skip


async def test_paths_can_be_used_as_they_are(door: Door, ws: Path) -> None:
    assert await paths(door, path="./src") == ["src/a.py", "src/deep"]
    assert await paths(door, path="link") == ["link/a.py", "link/deep"]
    assert await paths(door, path=str(ws / "src")) == [f"{ws}/src/a.py", f"{ws}/src/deep"]


@pytest.mark.parametrize("glob", ["*.py", "**/*.py", "src/*.py"])
async def test_a_glob_filters_by_the_path_below(door: Door, glob: str) -> None:
    assert await paths(door, depth=3, glob=glob) == ["src/a.py", "src/deep/b.py"]


async def test_hidden_names_are_listed_when_asked_for(door: Door) -> None:
    assert ".hidden" in await paths(door, hidden=True)


@pytest.mark.parametrize(("limit", "truncated"), [(3, True), (4, False)])
async def test_the_limit_cuts_and_says_so(door: Door, limit: int, truncated: bool) -> None:
    result = await door.call("list_directory", limit=limit)
    assert (len(result.entries), result.truncated) == (limit, truncated)
    assert ("there are more" in result.as_text()) == truncated


async def test_names_looked_at_are_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_directory, "MOST_NAMES", 3)
    assert (await door.call("list_directory", hidden=True)).truncated


async def test_a_file_is_no_directory_and_a_missing_one_is_not_found(door: Door) -> None:
    for path, code in (("src.txt", Code.FAILED_PRECONDITION), ("none", Code.NOT_FOUND)):
        with pytest.raises(ToolError) as caught:
            await door.call("list_directory", path=path)
        assert caught.value.code is code


async def test_names_that_are_not_utf_8_are_shown_as_bytes(door: Door, ws: Path) -> None:
    (ws / "src" / os.fsdecode(b"\xff\xfe")).touch()
    result = await door.call("list_directory", path="src")
    assert "src/\\xff\\xfe" in [entry.path for entry in result.entries]
    result.model_dump_json()


async def test_a_directory_that_becomes_a_link_is_not_entered(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard is O_NOFOLLOW in `_Walk._descend`."""
    outside = ws.parent / "outside"
    outside.mkdir()
    (outside / "secret").touch()
    real = list_directory.matches

    def swapping(below: str, glob: str | None) -> bool:
        if below == "src":
            (ws / "src").rename(ws.parent / "moved")
            (ws / "src").symlink_to(outside)
        return real(below, glob)

    monkeypatch.setattr(list_directory, "matches", swapping)
    result = await door.call("list_directory", depth=3)
    assert (result.truncated, "src/secret" in str(result.entries)) == (True, False)


async def test_many_entries_stay_within_the_text_limit(door: Door, ws: Path) -> None:
    for number in range(900):
        (ws / "src" / f"{number:03}{'x' * 80}").touch()
    result = await door.call("list_directory", path="src")
    assert not result.truncated
    assert len(result.as_text().encode()) < 33 * 1024
    assert "are shown" in result.as_text().splitlines()[0]
