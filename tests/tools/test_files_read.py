"""`read_file`: lines of text files, within bounds."""

import hashlib
import os
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tools.files_door import Door, open_door

from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.files import atomic, read_file
from surefoot_tools.files.text import TEXT_LIMIT, decode, exact_name, visible, visible_name
from surefoot_tools.files.window import Window

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
        await door.call("read_file", path="f", **arguments)
    return caught.value


async def test_lines_come_with_what_they_are_and_how_to_get_the_rest(door: Door, ws: Path) -> None:
    data = b"one\ntwo\nthree\nfour"
    (ws / "f").write_bytes(data)
    result = await door.call("read_file", path="f", start_line=2, line_count=2)
    assert result.model_dump() == {
        "path": "f",
        "text": "two\nthree\n",
        "start_line": 2,
        "line_count": 2,
        "total_lines": 4,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "encoding": "utf-8",
        "truncated": True,
        "shown_lines": 2,
    }
    assert result.as_text() == (
        "f, lines 2-3 of 4, 18 bytes, utf-8, the rest: start_line=4\ntwo\nthree"
    )
    rest = await door.call("read_file", path="f", start_line=4)
    assert (rest.text, rest.truncated) == ("four", False)


async def test_an_empty_file_has_no_lines(door: Door, ws: Path) -> None:
    (ws / "f").touch()
    result = await door.call("read_file", path="f")
    assert (result.text, result.line_count, result.total_lines) == ("", 0, 0)
    assert not result.truncated


async def test_a_line_after_the_last_is_out_of_range(door: Door, ws: Path) -> None:
    (ws / "f").write_text("a\nb\n")
    error = await failure(door, start_line=3)
    assert (error.code, "has 2 lines" in error.message) == (Code.OUT_OF_RANGE, True)


async def test_whole_lines_are_given_up_to_max_bytes(door: Door, ws: Path) -> None:
    (ws / "f").write_text("éé\n" * 10)
    result = await door.call("read_file", path="f", max_bytes=14)
    assert (result.text, result.line_count, result.truncated) == ("éé\n" * 2, 2, True)


async def test_a_line_longer_than_max_bytes_is_cut_between_characters(door: Door, ws: Path) -> None:
    (ws / "f").write_text("é" * 10 + "\nx\n")
    result = await door.call("read_file", path="f", max_bytes=5)
    assert (result.text, result.truncated) == ("éé", True)
    assert "line 1 is cut" in result.as_text()


async def test_the_text_content_is_shorter_unless_max_bytes_is_given(door: Door, ws: Path) -> None:
    (ws / "f").write_text("0123456789abcde\n" * 10_000)
    result = await door.call("read_file", path="f", line_count=5000)
    assert result.line_count == 5000
    assert len(result.as_text().encode()) < TEXT_LIMIT + 200
    assert f"the rest: start_line={result.shown_lines + 1}" in result.as_text()
    asked = await door.call("read_file", path="f", line_count=5000, max_bytes=100_000)
    assert asked.shown_lines == 5000


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\x00rest", "PNG image"),
        (b"abc\x00def", "binary"),
        (b"abc\xff", "binary"),
        (b"abc\xc3", "binary"),
        (b"\xff\xfe\x00\xd8", "binary"),
    ],
)
async def test_a_binary_file_is_refused_with_its_kind_size_and_hash(
    door: Door, ws: Path, data: bytes, kind: str
) -> None:
    (ws / "f").write_bytes(data)
    error = await failure(door)
    assert error.code is Code.FAILED_PRECONDITION
    digest = hashlib.sha256(data).hexdigest()
    assert f"{kind}, {len(data)} bytes, sha256 {digest}" in error.message
    assert "latin-1" in str(error.hint)
    assert (await door.call("read_file", path="f", encoding="latin-1")).line_count >= 1


async def test_bytes_that_are_not_valid_are_replaced_and_counted(door: Door, ws: Path) -> None:
    (ws / "f").write_bytes(b"a\xffb\xfe")
    result = await door.call("read_file", path="f", encoding="utf-8")
    assert result.text == "a\ufffdb\ufffd"
    assert "2 U+FFFD" in result.as_text()


@pytest.mark.parametrize(
    ("data", "encoding", "named"),
    [
        ("\ufeffé\n".encode("utf-16-le"), "auto", "utf-16"),
        ("\ufeffé\n".encode("utf-16-be"), "auto", "utf-16"),
        ("é\n".encode("utf-16-le"), "utf-16", "utf-16"),
        ("\ufeffé\n".encode(), "auto", "utf-8-sig"),
        ("\ufeffé\n".encode(), "utf-8", "utf-8-sig"),
        (b"\xe9\n", "latin-1", "latin-1"),
    ],
)
async def test_encodings_are_told_by_their_mark_and_the_mark_is_left_out(
    door: Door, ws: Path, data: bytes, encoding: str, named: str
) -> None:
    (ws / "f").write_bytes(data)
    result = await door.call("read_file", path="f", encoding=encoding)
    assert (result.text, result.encoding) == ("é\n", named)


async def test_what_cannot_be_seen_is_shown_and_kept_in_the_structure(door: Door, ws: Path) -> None:
    text = "\x1b[2J a\u202eb\u200bc\x07\ttab\r\n"
    (ws / "f").write_text(text, newline="")
    result = await door.call("read_file", path="f")
    assert result.text == text
    head, body = result.as_text().split("\n", 1)
    assert body == "\\x1b[2J a\\u202eb\\u200bc\\x07\ttab\n".removesuffix("\n")
    assert "CRLF" in head


@pytest.mark.parametrize("size", [atomic.LARGEST, atomic.LARGEST + 1])
async def test_hash_and_total_are_given_up_to_64_mib(door: Door, ws: Path, size: int) -> None:
    with (ws / "f").open("wb") as file:
        file.truncate(size)
    result = await door.call("read_file", path="f", encoding="latin-1", max_bytes=10)
    small = size == atomic.LARGEST
    assert (result.sha256 is not None, result.total_lines is not None) == (small, small)
    assert result.truncated


async def test_a_line_too_far_into_a_large_file_is_refused(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_file, "LARGEST", 10)
    monkeypatch.setattr(read_file, "SCANNED", 100)
    (ws / "f").write_text("x\n" * 500_000)
    error = await failure(door, start_line=400_000)
    assert error.code is Code.FAILED_PRECONDITION


async def test_errors_name_the_path_as_it_was_written(door: Door, ws: Path) -> None:
    (ws / "d").mkdir()
    with pytest.raises(ToolError) as caught:
        await door.call("read_file", path="./d/../none\x1b")
    assert caught.value.message.startswith("'./d/../none\\x1b': there is no such file")
    with pytest.raises(ToolError) as caught:
        await door.call("read_file", path="d")
    assert (caught.value.code, caught.value.origin) == (Code.FAILED_PRECONDITION, Origin.MODEL)


async def test_an_absolute_path_in_a_root_is_read(door: Door, ws: Path) -> None:
    (ws / "f").write_text("x")
    assert (await door.call("read_file", path=str(ws / "f"))).text == "x"


async def test_descriptors_are_given_back(door: Door, ws: Path) -> None:
    (ws / "f").write_text("x")
    (ws / "loop").symlink_to("loop")
    for path in ("f", "none", "loop", "a/../../x", "."):
        for tool, more in (("read_file", {}), ("write_file", {"content": "y"})):
            before = len(os.listdir("/dev/fd"))
            with suppress(ToolError):
                await door.call(tool, path=path, **more)
            after = len(os.listdir("/dev/fd"))
            assert (path, tool, after) == (path, tool, before)


@given(
    text=st.text(st.sampled_from("aé\n"), max_size=80),
    cuts=st.lists(st.integers(0, 80), max_size=6),
    start=st.integers(1, 12),
    count=st.integers(1, 12),
    room=st.integers(1, 60),
)
def test_a_window_equals_a_slice_of_lines_however_the_text_is_cut(
    text: str, cuts: list[int], start: int, count: int, room: int
) -> None:
    window = Window(start, count, room)
    edges = [0, *sorted(cuts), len(text)]
    for begin, end in pairwise(edges):
        window.feed(text[begin:end])
    window.close()
    whole = [line + "\n" for line in text.split("\n")]
    whole[-1] = whole[-1].removesuffix("\n")
    lines = [line for line in whole if line]
    expected: list[str] = []
    for line in lines[start - 1 : start - 1 + count]:
        if len("".join((*expected, line)).encode()) > room:
            if not expected:
                expected = [line.encode()[:room].decode(errors="ignore")]
            break
        expected.append(line)
    assert window.lines == expected
    assert window.total == len(lines)


@given(st.binary(max_size=60))
def test_a_decoded_file_encodes_to_the_same_bytes(data: bytes) -> None:
    decoded = decode(data)
    assert decoded is None or decoded.encode(decoded.text) == data


@given(st.text(max_size=40))
def test_visible_text_holds_nothing_hidden_and_leaves_the_rest(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert "\n" not in visible_name(text)
    if text.isalnum() and text.isascii():
        assert shown == text


def test_bytes_in_names_are_shown_in_both_forms() -> None:
    name = os.fsdecode(b"\xff\xc3\xa9")
    assert visible_name(name) == exact_name(name) == "\\xffé"
