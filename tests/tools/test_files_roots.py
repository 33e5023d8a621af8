"""Roots with names, and roots in which nothing is changed."""

from pathlib import Path
from typing import Any

import pytest
from tests.tools.files_door import Door

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files import file_tools
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.roots import Roots

pytestmark = pytest.mark.anyio


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    for name in ("app", "docs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    app, docs = tmp_path / "app", tmp_path / "docs"
    return Roots([app, docs], names={"docs": docs}, read_only=[docs])


def opened(roots: Roots, tmp_path: Path) -> Door:
    tools = file_tools(roots, PathLocks(tmp_path / "locks"), None)
    return Door({tool.name: tool for tool in tools})


async def test_a_path_that_begins_with_a_name_means_that_root(roots: Roots, tmp_path: Path) -> None:
    """Guard: `Roots._candidates`."""
    door = opened(roots, tmp_path)
    assert (await door.call("read_file", path="f")).text == "app"
    assert (await door.call("read_file", path="docs/f")).text == "docs"
    (tmp_path / "app/docs").mkdir()
    (tmp_path / "app/docs/f").write_text("inner")
    assert (await door.call("read_file", path="docs/f")).text == "docs"
    assert (await door.call("read_file", path="./docs/f")).text == "inner"
    listed = await door.call("list_directory", path="docs")
    assert [entry.path for entry in listed.entries] == ["docs/f"]
    for path in ("docs/../f", "docs/../../app/f"):
        with pytest.raises(ToolError) as caught:
            await door.call("read_file", path=path)
        assert caught.value.code is Code.PERMISSION_DENIED


@pytest.mark.parametrize("narrowed", [False, True])
async def test_nothing_is_changed_in_a_read_only_root_by_any_way(
    roots: Roots, tmp_path: Path, narrowed: bool
) -> None:
    """Guard: `Guard.refuse_write`."""
    (tmp_path / "app/link").symlink_to(tmp_path / "docs/f")
    (tmp_path / "app/way").symlink_to(tmp_path / "docs")
    if narrowed:
        roots = roots.narrowed([tmp_path / "app", tmp_path / "docs"])
    door = opened(roots, tmp_path)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("delete_path", {"path": "docs/f"}),
        ("move_path", {"source": "docs/f", "destination": "g"}),
        ("move_path", {"source": "f", "destination": "docs/g"}),
        ("write_file", {"path": "docs/new", "content": "x"}),
    ]
    for path in ("docs/f", "link", "way/f", str(tmp_path / "docs/f")):
        calls += [("write_file", {"path": path, "content": "x"})]
        calls += [("edit_file", {"path": path, "edits": [{"old_text": "d", "new_text": "x"}]})]
    for tool, arguments in calls:
        with pytest.raises(ToolError) as caught:
            await door.call(tool, **arguments)
        error = caught.value
        assert (error.code, error.applied) == (Code.PERMISSION_DENIED, Applied.NO)
        assert "read-only" in error.message
    assert [each.name for each in (tmp_path / "docs").iterdir()] == ["f"]
    assert (tmp_path / "docs/f").read_text() == "docs"
    assert (await door.call("read_file", path="docs/f")).text == "docs"
