"""Which command is written: the one that is still there when the host starts it."""

import os
from pathlib import Path

import pytest

from surefoot_cli.install.launch import Installation, NoLauncher, command

WHEEL = '{"url": "file:///srv/my%20checkout", "dir_info": {}}'
GIT = '{"url": "https://host/surefoot.git", "vcs_info": {"vcs": "git"}}'


def installed(prefix: Path, origin: str | None = None) -> Installation:
    return Installation(prefix, prefix / "bin" / "python", "1.2.3", origin)


def program(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.touch(0o755)
    return file


@pytest.mark.parametrize(
    "place", ["venv", ".local/share/uv/tools/surefoot", ".local/share/pipx/venvs/surefoot"]
)
def test_an_environment_that_stays_starts_by_its_interpreter(tmp_path: Path, place: str) -> None:
    prefix = tmp_path / place
    written = command(installed(prefix, WHEEL), {})
    assert written == (f"{prefix}/bin/python", "-E", "-P", "-m", "surefoot_cli")


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        (None, ("surefoot@1.2.3",)),
        (WHEEL, ("--from", "/srv/my checkout", "surefoot")),
        (GIT, ("--from", "https://host/surefoot.git", "surefoot")),
    ],
)
def test_of_uvx_it_is_uvx_with_our_version_or_our_place(
    tmp_path: Path, origin: str | None, words: tuple[str, ...]
) -> None:
    """Guard: `launch._uvx`; the environment in uv's cache goes away."""
    found = installed(tmp_path / "cache" / "uv" / "archive-v0" / "AN9HDT94", origin)
    uvx = program(tmp_path / "bin", "uvx")
    assert command(found, {"UV": str(tmp_path / "bin" / "uv")}) == (str(uvx), *words)


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        (None, ("run", "surefoot==1.2.3")),
        (WHEEL, ("run", "--spec", "/srv/my checkout", "surefoot")),
    ],
)
def test_of_pipx_run_it_is_pipx_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: str | None, words: tuple[str, ...]
) -> None:
    """Guard: `launch._pipx`; pipx forgets such environments after some days."""
    prefix = tmp_path / "pipx" / ".cache" / "0a1b2c"
    program(prefix, "pipx_metadata.json")
    pipx = program(tmp_path / "bin", "pipx")
    monkeypatch.setenv("PATH", f"{pipx.parent}{os.pathsep}{os.environ['PATH']}")
    assert command(installed(prefix, origin), {}) == (str(pipx), *words)


def test_without_the_program_that_started_us_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoLauncher, match="uvx"):
        command(installed(tmp_path / "archive-v0" / "x"), {})
    prefix = tmp_path / ".cache" / "x"
    program(prefix, "pipx_metadata.json")
    with pytest.raises(NoLauncher, match="pipx"):
        command(installed(prefix), {})
