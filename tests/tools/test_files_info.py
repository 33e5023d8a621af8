"""`file_info`: what bears a name, never what a link leads to."""

import hashlib
import os
from pathlib import Path

import pytest
from tests.tools.files_door import Door, open_door

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files import file_info

pytestmark = pytest.mark.anyio


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    (tmp_path / "ws").mkdir()
    return tmp_path / "ws"


@pytest.fixture
def door(ws: Path) -> Door:
    return open_door(ws, locks=ws.parent / "locks")


async def test_a_file_is_told_with_size_mode_and_hash(door: Door, ws: Path) -> None:
    (ws / "f").write_bytes(b"\0abc")
    (ws / "f").chmod(0o640)
    os.utime(ws / "f", (86400, 86400))
    found = await door.call("file_info", path="f")
    assert found.model_dump() == {
        "path": "f",
        "type": "file",
        "size": 4,
        "modified": "1970-01-02T00:00:00Z",
        "mode": "0640",
        "sha256": hashlib.sha256(b"\0abc").hexdigest(),
    }
    assert found.sha256 in found.as_text()


@pytest.mark.parametrize("path", [".", "d"])
async def test_a_directory_has_neither_size_nor_hash(door: Door, ws: Path, path: str) -> None:
    (ws / "d").mkdir()
    found = await door.call("file_info", path=path)
    assert (found.type, found.size, found.sha256) == ("directory", None, None)


async def test_links_and_pipes_are_not_opened(door: Door, ws: Path) -> None:
    (ws / "link").symlink_to("/etc/passwd")
    os.mkfifo(ws / "pipe")
    assert (await door.call("file_info", path="link")).type == "symlink"
    found = await door.call("file_info", path="pipe")
    assert (found.type, found.sha256) == ("other", None)


async def test_no_hash_of_a_hard_link_or_of_what_is_large(
    door: Door, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `file_info._file`."""
    (ws.parent / "secret").write_text("x")
    (ws / "hard").hardlink_to(ws.parent / "secret")
    assert (await door.call("file_info", path="hard")).sha256 is None
    monkeypatch.setattr(file_info, "LARGEST", 3)
    for size, hashed in ((3, True), (4, False)):
        (ws / "f").write_bytes(b"x" * size)
        assert ((await door.call("file_info", path="f")).sha256 is not None) == hashed


async def test_a_name_that_is_not_there_is_not_found(door: Door) -> None:
    with pytest.raises(ToolError) as caught:
        await door.call("file_info", path="nothing")
    assert caught.value.code is Code.NOT_FOUND
