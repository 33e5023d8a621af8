"""Roots with names, and roots in which nothing is changed, as a server is told of them."""

import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from tests.support.level import level
from tests.support.place import Place, body, error
from tests.support.surefoot import surefoot
from tests.tools.shell_door import Door, confined

from surefoot_cli.root import beside, split
from surefoot_tools.sandbox.sandbox import Level, Reached, Sandbox

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain", (None, "plain", "")),
        ("docs=plain", ("docs", "plain", "")),
        ("docs=plain?mode=ro", ("docs", "plain", "mode=ro")),
        ("plain?mode=ro", (None, "plain", "mode=ro")),
        ("a=b", (None, "a=b", "")),  # such a folder is there
        ("a=b?mode=ro", (None, "a=b", "mode=ro")),
        ("what?mode=ro", (None, "what?mode=ro", "")),  # and such a one
        ("x y=plain", (None, "x y=plain", "")),
    ],
)
def test_a_root_is_a_folder_a_name_and_a_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, found: tuple[str | None, str, str]
) -> None:
    for name in ("plain", "a=b", "what?mode=ro"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert split(text) == found
    monkeypatch.chdir("/")
    placed = split(beside(tmp_path, text))
    assert placed == (found[0], str(tmp_path / found[1]), found[2])


@pytest.mark.parametrize(
    ("roots", "said"),
    [
        (["nowhere"], "'nowhere' does not exist"),
        (["docs=nowhere"], "'nowhere' does not exist"),
        (["/tmp?mode=rx"], "neither mode=ro nor mode=rw"),
        (["a=/tmp", "a=/"], "'a' names two folders"),
    ],
)
def test_what_is_no_root_is_refused_before_the_start(
    tmp_path: Path, roots: list[str], said: str
) -> None:
    words = [word for root in roots for word in ("--root", root)]
    done = surefoot("serve", *words, home=tmp_path / "state")
    assert (done.code, said in done.err) == (2, True), done.err


async def test_a_named_root_is_read_by_its_name_and_not_changed(place: Place) -> None:
    docs = place.workspace.parent / "docs"
    docs.mkdir()
    (docs / "f").write_text("told")
    file = place.workspace.parent / "surefoot.toml"
    file.write_text(f'root = ["{place.workspace.name}", "docs=docs?mode=ro"]\n')
    command = ["-P", "-m", "surefoot_cli", "serve", "--config", str(file)]
    parameters = StdioServerParameters(
        command=sys.executable, args=command, env=place.environment()
    )
    async with Client(parameters, read_timeout_seconds=60) as client:
        assert f"Nothing is changed in {docs}." in str(client.instructions)
        assert body(await client.call_tool("read_file", {"path": "docs/f"}))["text"] == "told"
        refused = await client.call_tool("write_file", {"path": "docs/g", "content": "x"})
        assert "read-only" in error(refused)["message"]
        tried = f"cat {docs}/f; echo x > {docs}/g; echo x > mine"
        ran = body(await client.call_tool("run_command", {"command": tried}))
        assert ran["stdout"] == "told"
    assert (place.workspace / "mine").exists()
    assert (docs / "g").exists() is (level() is Level.OFF)


@pytest.mark.parametrize("reached", [Reached.BUBBLEWRAP, Reached.LANDLOCK])
@pytest.mark.skipif(level() is Level.OFF, reason="commands cannot be confined on this machine")
async def test_a_command_changes_nothing_in_a_read_only_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: Reached
) -> None:
    """Guard: `plan._bound`, `plan.by_landlock`."""
    if reached is Reached.LANDLOCK:
        monkeypatch.setattr(Sandbox, "program", None)
    root, docs = tmp_path / "root", tmp_path / "docs"
    (root / "inner").mkdir(parents=True)
    docs.mkdir()
    one = Sandbox(Level.AUTO, [root, docs], read_only=[docs, root / "inner"])
    door = confined(Door(root, tmp_path / "jobs", sandbox=one))
    if one.reached is not reached:
        pytest.skip(f"here is {one.reached}")
    await door.run(command=f"touch own {docs}/x inner/x")
    inner = reached is Reached.LANDLOCK  # which takes nothing away from what it has given
    found = [path.exists() for path in (root / "own", docs / "x", root / "inner/x")]
    assert found == [True, False, inner]
