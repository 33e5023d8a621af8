"""What is published beside the package: `server.json` and the MCPB bundle."""

import importlib.metadata
import json
import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.foreign.kit import MCPB, Room, need, node
from tests.support.hosts import Home, lay_traps

from surefoot_client.connection import connect
from surefoot_client.transport import ServerProcess

REPOSITORY = Path(__file__).parents[2]
BUNDLE = REPOSITORY / "packaging" / "mcpb"


def written(file: Path) -> Any:
    return json.loads(file.read_text())


def test_every_version_is_that_of_the_package() -> None:
    server = written(REPOSITORY / "server.json")
    versions = [server["version"], *(package["version"] for package in server["packages"])]
    versions.append(written(BUNDLE / "manifest.json")["version"])
    assert set(versions) == {importlib.metadata.version("surefoot")}


def test_server_json_keeps_the_rules_of_the_registry() -> None:
    """The rules of its schema of 2025-12-11, and of its page on PyPI packages."""
    server = written(REPOSITORY / "server.json")
    assert server["$schema"].endswith("/schemas/2025-12-11/server.schema.json")
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", server["name"])
    assert 1 <= len(server["description"]) <= 100
    assert 1 <= len(server["title"]) <= 100
    for package in server["packages"]:
        assert {"registryType", "identifier", "version", "transport"} <= set(package)
        assert (package["registryType"], package["identifier"]) == ("pypi", "surefoot")
        assert package["transport"] == {"type": "stdio"}
        for argument in package["packageArguments"]:
            known = {"value", "valueHint"} if argument["type"] == "positional" else {"name"}
            assert known & set(argument)
            assert argument.get("format") in (None, "string", "number", "boolean", "filepath")
        for variable in package["environmentVariables"]:
            assert re.fullmatch(r"[A-Z_]+", variable["name"])
            assert not variable.get("isSecret")


def test_the_arguments_of_server_json_start_the_server(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (package,) = written(REPOSITORY / "server.json")["packages"]
    words: list[str] = []
    for argument in package["packageArguments"]:
        named = argument["type"] == "named"
        words += [argument["name"], str(tmp_path)] if named else [argument["value"]]
    monkeypatch.setattr(sys, "argv", ["surefoot", *words, "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("surefoot_cli", run_name="__main__")
    assert "Offer the tools over MCP" in capfd.readouterr().out


@pytest.mark.slow
def test_the_bundle_is_what_mcpb_takes_for_one(tmp_path: Path) -> None:
    need(MCPB)

    def mcpb(*words: str | Path) -> str:
        done = Room(tmp_path).run(node(), MCPB, *words)
        assert done.code == 0, done.said
        return done.out

    assert "passes" in mcpb("validate", BUNDLE / "manifest.json")
    bundle = build(tmp_path / "first")
    assert bundle.name in mcpb("info", bundle)
    mcpb("unpack", bundle, tmp_path / "unpacked")
    assert "passes" in mcpb("validate", tmp_path / "unpacked" / "manifest.json")


def build(folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, BUNDLE / "build.py", folder], capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


@pytest.mark.slow
def test_the_bundle_holds_what_its_project_names_and_is_the_same_each_time(tmp_path: Path) -> None:
    bundle = build(tmp_path / "first")
    assert bundle.read_bytes() == build(tmp_path / "second").read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        names = set(archive.namelist())
        project = archive.read("pyproject.toml").decode()
        manifest = json.loads(archive.read("manifest.json"))
    (wheel,) = (name for name in names if name.endswith(".whl"))
    assert f'path = "{wheel}"' in project
    assert '"mcp==' in project
    assert manifest["server"]["entry_point"] in names
    used = re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(manifest["server"]))
    assert used == list(manifest["user_config"])


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_bundle_serves_each_folder_that_was_chosen(tmp_path: Path) -> None:
    home = Home.make(tmp_path)
    lay_traps(home.project)
    second = tmp_path / "second"
    second.mkdir()
    command = [sys.executable, str(BUNDLE / "main.py"), str(home.project), str(second)]
    server = ServerProcess(command, home.project, home.environment(), tmp_path / "log")
    async with connect(server) as connection:
        for folder in (home.project, second):
            answer = await connection.call("list_directory", {"path": str(folder)}, str(folder), 1)
            assert not getattr(answer, "is_error", True), answer
    assert not (home.project / "sprung").exists()
