"""`edit_file`: exact replacements, all or none."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tools.files_door import Door, new_context, open_door

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files.edits import DIFF_LIMIT, Replacement, apply, diff
from surefoot_tools.tool import Happened

pytestmark = pytest.mark.anyio


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    (tmp_path / "ws").mkdir()
    return tmp_path / "ws"


@pytest.fixture
def door(ws: Path) -> Door:
    return open_door(ws, locks=ws.parent / "locks")


def edit(old: str, new: str, **more: Any) -> dict[str, Any]:
    return {"old_text": old, "new_text": new, **more}


async def failure(door: Door, /, *edits: dict[str, Any], **arguments: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await door.call("edit_file", path="f", edits=list(edits), **arguments)
    assert caught.value.applied is Applied.NO
    return caught.value


async def test_edits_apply_one_after_another_and_show_a_diff(door: Door, ws: Path) -> None:
    (ws / "f").write_text("a\nb\nc\n")
    result = await door.call("edit_file", path="f", edits=[edit("b", "x"), edit("x\nc", "y")])
    assert (ws / "f").read_text() == "a\ny\n"
    assert result.replacements == 2
    assert result.diff == "--- f\n+++ f\n@@ -1,3 +1,2 @@\n a\n-b\n-c\n+y"
    read = await door.call("read_file", path="f")
    assert read.sha256 == result.sha256_after


async def test_all_edits_fail_when_one_does(door: Door, ws: Path) -> None:
    (ws / "f").write_text("a\nb\n")
    error = await failure(door, edit("a", "x"), edit("nowhere", "y"))
    assert (error.code, "edit 2" in error.message) == (Code.NOT_FOUND, True)
    assert (ws / "f").read_text() == "a\nb\n"


async def test_a_text_that_is_not_there_brings_the_closest_passages(door: Door, ws: Path) -> None:
    lines = [f"line number {number}" for number in range(50)]
    lines[30] = "def load(path: str, mode: int) -> None:"
    (ws / "f").write_text("\n".join(lines))
    error = await failure(door, edit("def load(path: str) -> None:", "x"))
    assert "line 31: def load(path: str, mode: int)" in error.message
    assert len(error.message.encode()) < 8192


async def test_the_message_on_a_long_text_stays_under_8_kib(door: Door, ws: Path) -> None:
    (ws / "f").write_text(("é" * 5000 + "\n") * 50)
    error = await failure(door, edit(("é" * 4999 + "x\n") * 40, "x"))
    assert len(error.message.encode()) < 8192


async def test_a_text_that_is_there_twice_needs_replace_all(door: Door, ws: Path) -> None:
    (ws / "f").write_text("x\ny\nx\n")
    error = await failure(door, edit("x", "z"))
    assert (error.code, "lines 1, 3" in error.message) == (Code.FAILED_PRECONDITION, True)
    result = await door.call("edit_file", path="f", edits=[edit("x", "z", replace_all=True)])
    assert (result.replacements, (ws / "f").read_text()) == (2, "z\ny\nz\n")


async def test_places_that_overlap_are_two_places(door: Door, ws: Path) -> None:
    (ws / "f").write_text("aaa")
    assert (await failure(door, edit("aa", "b"))).code is Code.FAILED_PRECONDITION


@pytest.mark.parametrize(
    "edits", [[("a", "a")], [("", "x")], [("a", "b"), ("b", "a")], [("a\r\nb", "a\nb")]]
)
async def test_edits_that_change_nothing_are_refused(
    door: Door, ws: Path, edits: list[tuple[str, str]]
) -> None:
    (ws / "f").write_text("a\nb\n" if "\n" in edits[0][0] else "a")
    error = await failure(door, *(edit(old, new) for old, new in edits))
    assert error.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xef\xbb\xbfa\r\nb\r\n", b"\xef\xbb\xbfa\r\nX\r\nY\r\n"),
        ("\ufeffa\r\nb".encode("utf-16-be"), "\ufeffa\r\nX\r\nY".encode("utf-16-be")),
        ("\ufeffa\nb".encode("utf-16-le"), "\ufeffa\nX\nY".encode("utf-16-le")),
        (b"\xe9\nb\n", b"\xe9\nX\nY\n"),
        (b"a\nb\r\n\r\n", b"a\nX\r\nY\r\n\r\n"),
    ],
)
async def test_encoding_mark_and_line_endings_stay(
    door: Door, ws: Path, data: bytes, expected: bytes
) -> None:
    (ws / "f").write_bytes(data)
    await door.call("edit_file", path="f", edits=[edit("b", "X\nY")])
    assert (ws / "f").read_bytes() == expected


async def test_a_character_that_the_file_cannot_hold_is_refused(door: Door, ws: Path) -> None:
    (ws / "f").write_bytes(b"\xe9 b")
    error = await failure(door, edit("b", "€"))
    assert (error.code, "latin-1" in error.message) == (Code.INVALID_ARGUMENT, True)


async def test_a_binary_file_is_refused(door: Door, ws: Path) -> None:
    (ws / "f").write_bytes(b"\x7fELF\x00\x01b")
    error = await failure(door, edit("b", "c"))
    assert (error.code, "ELF program" in error.message) == (Code.FAILED_PRECONDITION, True)


async def test_a_missing_file_is_not_found(door: Door) -> None:
    assert (await failure(door, edit("a", "b"))).code is Code.NOT_FOUND


async def test_a_file_other_than_expected_is_not_edited(door: Door, ws: Path) -> None:
    (ws / "f").write_text("a")
    error = await failure(door, edit("a", "b"), expected_sha256="0" * 64)
    assert error.code is Code.ABORTED


async def test_a_dry_run_changes_nothing_and_is_over_when_prepared(door: Door, ws: Path) -> None:
    (ws / "f").write_text("a")
    arguments = {"path": "f", "edits": [edit("a", "b")], "dry_run": True}
    result = await door.call("edit_file", **arguments)
    assert "+b" in result.diff
    assert (ws / "f").read_text() == "a"
    context = new_context()
    async with context.held:
        evidence = await door.prepare("edit_file", context, **arguments)
    assert evidence["before"] == evidence["after"]
    assert await door.recover("edit_file", evidence) == Happened(result)


async def test_recovery_after_the_rename_gives_the_very_result(door: Door, ws: Path) -> None:
    (ws / "f").write_text("a")
    context = new_context()
    arguments = {"path": "f", "edits": [edit("a", "b")]}
    async with context.held:
        evidence = await door.prepare("edit_file", context, **arguments)
        result = await door.run("edit_file", evidence, context, **arguments)
    assert await door.recover("edit_file", evidence) == Happened(result)


def test_a_long_diff_is_cut_and_says_so() -> None:
    old = "".join(f"line {number}\n" for number in range(20_000))
    shown = diff(old, old.replace("line", "row"), "f")
    assert len(shown.encode()) <= DIFF_LIMIT
    assert "diff cut here" in shown.splitlines()[-1]


ALPHABET = st.text(st.sampled_from("ab \n"), max_size=60)


def reference(text: str, old: str, new: str, *, everywhere: bool) -> str | None:
    """Replace on the form with plain line feeds, character by character; None for an error."""
    units = text.replace("\r\n", "\0")
    windows, unix = units.count("\0"), units.count("\n")
    ending = "\0" if windows > unix else "\n"
    plain = units.replace("\0", "\n")
    places = [at for at in range(len(plain)) if old and plain.startswith(old, at)]
    if not places or (len(places) > 1 and not everywhere):
        return None
    done, at = "", 0
    while at < len(plain):
        if plain.startswith(old, at):
            done += new.replace("\n", ending)
            at += len(old)
        else:
            done += units[at]
            at += 1
    return done.replace("\0", "\r\n")


@given(
    lines=st.lists(
        st.tuples(st.text("ab ", max_size=5), st.sampled_from(["\n", "\r\n"])), max_size=12
    ),
    start=st.integers(0, 30),
    length=st.integers(1, 12),
    new=ALPHABET,
    everywhere=st.booleans(),
)
def test_an_edit_equals_a_replacement_character_by_character(
    lines: list[tuple[str, str]], start: int, length: int, new: str, everywhere: bool
) -> None:
    text = "".join(line + ending for line, ending in lines)
    old = text.replace("\r\n", "\n")[start : start + length]
    expected = reference(text, old, new, everywhere=everywhere)
    if expected == text or old == new:
        expected = None
    try:
        found, _ = apply(text, [Replacement(old, new, everywhere)])
    except ToolError:
        assert expected is None
    else:
        assert found == expected


@given(old=ALPHABET, new=ALPHABET)
def test_a_diff_leads_from_the_old_lines_to_the_new(old: str, new: str) -> None:
    """Applied by hand: context and removed lines are the old text, context and added the new."""
    if old == new:
        return
    before, after = split(old), split(new)
    rebuilt, at, kept = list[str](), 0, False
    for line in diff(old, new, "f").split("\n")[2:]:
        if line.startswith("@@"):
            start, count = line.split()[1][1:].split(",")
            begin = int(start) - (1 if count != "0" else 0)
            rebuilt += before[at:begin]
            at = begin
        elif line.startswith("\\"):
            if kept:
                rebuilt[-1] += "\n" + line
        else:
            kept = line[0] in " +"
            if kept:
                rebuilt.append(line[1:])
            if line[0] in " -":
                at += 1
    rebuilt += before[at:]
    assert rebuilt == after


def split(text: str) -> list[str]:
    lines = text.split("\n")
    end = lines.pop()
    return [*lines, f"{end}\n\\ No newline at end of file"] if end else lines
