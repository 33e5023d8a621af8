"""`search_files`, with both engines."""

import os
from pathlib import Path

import anyio
import pytest
from tests.tools.files_door import Door, open_door, ripgrep

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files import search_files

pytestmark = pytest.mark.anyio


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    ws = tmp_path / "ws"
    (ws / "src" / "deep").mkdir(parents=True)
    (ws / "build").mkdir()
    (ws / ".gitignore").write_text("build/\n*.log\n!keep.log\n")
    (ws / "src" / "a.py").write_text("one\nTwo é two\nthree\n")
    (ws / "src" / "deep" / "b.py").write_text("two\r\nfour\r\n")
    (ws / "x.log").write_text("two\n")
    (ws / "keep.log").write_text("two\n")
    (ws / "build" / "out").write_text("two\n")
    (ws / ".secret").write_text("two\n")
    (ws / "binary").write_bytes(b"two\x00two\n")
    (ws / "utf16").write_bytes("\ufefftwo\n".encode("utf-16-le"))
    return ws


@pytest.fixture(params=["ripgrep", "python"])
def door(request: pytest.FixtureRequest, ws: Path) -> Door:
    program = ripgrep() if request.param == "ripgrep" else None
    assert (program is None) == (request.param == "python"), "ripgrep is a development dependency"
    return open_door(ws, locks=ws.parent / "locks", program=program)


async def places(door: Door, pattern: str, **more: object) -> list[tuple[str, int, int]]:
    result = await door.call("search_files", pattern=pattern, **more)
    return [(each.path, each.line, each.column) for each in result.matches]


async def test_matches_are_sorted_and_ignored_files_left_out(door: Door) -> None:
    assert await places(door, "two") == [
        ("keep.log", 1, 1),
        ("src/a.py", 2, 1),
        ("src/deep/b.py", 1, 1),
        ("utf16", 1, 1),
    ]


async def test_smart_case_counts_capitals_and_columns_are_characters(door: Door) -> None:
    assert await places(door, "Two") == [("src/a.py", 2, 1)]
    assert await places(door, r"\Stwo|é \w", case="sensitive") == [("src/a.py", 2, 5)]
    assert len(await places(door, "TWO", case="insensitive")) == 4


async def test_plain_text_is_no_expression_and_no_option(door: Door, ws: Path) -> None:
    (ws / "src" / "c").write_text("--files (a+\n")
    assert await places(door, "(a+", regex=False) == [("src/c", 1, 9)]
    assert await places(door, "--files", regex=False) == [("src/c", 1, 1)]


async def test_paths_can_be_used_as_they_are_for_directories_and_files(
    door: Door, ws: Path
) -> None:
    assert await places(door, "two", path="src/deep") == [("src/deep/b.py", 1, 1)]
    file = str(ws / "src" / "a.py")
    assert await places(door, "three", path=file) == [(file, 3, 1)]
    assert await places(door, "four", path="./src/deep/b.py") == [("src/deep/b.py", 2, 1)]


async def test_a_glob_narrows_and_takes_nothing_ignored_in_again(door: Door) -> None:
    assert await places(door, "two", glob="*.log") == [("keep.log", 1, 1)]
    assert await places(door, "two", glob="src/**/*.py") == [
        ("src/a.py", 2, 1),
        ("src/deep/b.py", 1, 1),
    ]


async def test_context_is_what_stands_around_a_match(door: Door) -> None:
    result = await door.call("search_files", pattern="é", context=1)
    match = result.matches[0]
    assert (match.before, match.text, match.after) == (["one"], "Two é two", ["three"])
    assert result.as_text().splitlines()[1:] == [
        "src/a.py-1- one",
        "src/a.py:2:1: Two é two".replace(":1:", ":5:"),
        "src/a.py-3- three",
    ]


@pytest.mark.parametrize(("limit", "truncated"), [(3, True), (4, False)])
async def test_the_limit_cuts_and_says_so(door: Door, limit: int, truncated: bool) -> None:
    result = await door.call("search_files", pattern="two", limit=limit)
    assert (len(result.matches), result.truncated) == (limit, truncated)
    assert result.files == limit


async def test_no_match_is_a_result(door: Door) -> None:
    result = await door.call("search_files", pattern="nowhere")
    assert (result.matches, result.files, result.truncated) == ([], 0, False)
    assert result.engine in result.as_text()


async def test_a_pattern_that_is_none_is_refused(door: Door) -> None:
    with pytest.raises(ToolError) as caught:
        await door.call("search_files", pattern="(a")
    assert caught.value.code is Code.INVALID_ARGUMENT


async def test_links_and_hard_links_show_nothing_from_outside(door: Door, ws: Path) -> None:
    outside = ws.parent / "outside"
    outside.mkdir()
    (outside / "f").write_text("canary\n")
    (ws / "link").symlink_to(outside)
    os.link(outside / "f", ws / "hard")
    assert await places(door, "canary") == []
    with pytest.raises(ToolError) as caught:
        await places(door, "canary", path="link")
    assert caught.value.code is Code.PERMISSION_DENIED


async def test_long_lines_are_cut_around_the_match(door: Door, ws: Path) -> None:
    (ws / "src" / "c").write_text("x" * 5000 + "needle" + "x" * 5000)
    result = await door.call("search_files", pattern="needle")
    assert "needle" in result.matches[0].text
    assert len(result.matches[0].text) <= 500
    assert result.matches[0].column == 5001


async def test_a_pattern_that_takes_for_ever_is_stopped(
    ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ws / "src" / "c").write_text("a" * 60 + "!\n")
    monkeypatch.setattr(search_files, "TIME_LIMIT", 0.5)
    door = open_door(ws, locks=ws.parent / "locks")
    with pytest.raises(ToolError) as caught:
        await door.call("search_files", pattern="(a+)+$")
    assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_a_cancelled_search_leaves_no_process(
    ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ws / "src" / "c").write_text("a" * 60 + "!\n")
    started: list[anyio.abc.Process] = []
    scope = anyio.CancelScope()
    real = anyio.open_process

    async def starting(*arguments: object, **more: object) -> anyio.abc.Process:
        started.append(await real(*arguments, **more))  # pyright: ignore[reportArgumentType] - as called
        scope.cancel()
        return started[0]

    monkeypatch.setattr(anyio, "open_process", starting)
    door = open_door(ws, locks=ws.parent / "locks")
    with scope:
        await door.call("search_files", pattern="(a+)+$")
    assert scope.cancelled_caught
    assert started[0].returncode is not None
