"""Started inside a folder with modules of our names, it is our code that runs."""

import json
import os
import sys
from pathlib import Path

import pytest
from tests.support.hosts import Home, lay_traps

from surefoot_client.connection import connect
from surefoot_client.transport import ServerProcess

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


async def tools(command: list[str], folder: Path, home: Home, **environment: str) -> set[str]:
    variables = {"PATH": os.environ["PATH"], **home.environment(), **environment}
    server = ServerProcess(command, folder, variables, home.folder / "log")
    async with connect(server) as connection:
        return set(connection.tools)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.make(tmp_path)
    lay_traps(home.project)
    return home


@pytest.mark.anyio
async def test_what_is_written_heeds_neither_folder_nor_pythonpath(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `-E` and `-P` of `launch.ALONE`."""
    monkeypatch.chdir(home.project)
    assert home.surefoot("install", "claude-code", "--scope", "project", "--no-check").code == 0
    entry = home.servers("claude-code", "project")["surefoot"]
    found = await tools(
        [entry["command"], *entry["args"]], home.project, home, PYTHONPATH=str(home.project)
    )
    assert "run_command" in found
    assert not (home.project / "sprung").exists()


@pytest.mark.anyio
async def test_mcp_json_heeds_neither_folder_nor_pythonpath(home: Home) -> None:
    entry = json.loads((REPOSITORY / "mcp.json").read_text())["mcpServers"]["surefoot"]
    if not (REPOSITORY / entry["command"]).exists():
        pytest.skip("this checkout has no .venv; `make setup` makes it")
    (home.project / ".venv").symlink_to(REPOSITORY / ".venv")
    command = [str(home.project / entry["command"]), *entry["args"]]
    assert "run_command" in await tools(command, home.project, home, PYTHONPATH=".")
    assert not (home.project / "sprung").exists()


@pytest.mark.anyio
async def test_the_script_does_not_heed_the_folder(home: Home) -> None:
    script = Path(sys.executable).with_name("surefoot")
    if not script.exists():
        pytest.skip("surefoot is not installed in this environment")
    assert "run_command" in await tools([str(script), "serve"], home.project, home)
    assert not (home.project / "sprung").exists()
