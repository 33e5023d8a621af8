"""How a host's file is written: whole or not at all, with a backup, and never over another's."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.hosts import Home

from surefoot_cli.install.file import Changed, read, replace

OLD, NEW = b'{"mcpServers": {}}\n', b'{"mcpServers": {"surefoot": {}}}\n'
DYING = """
import os, signal, sys
how = sys.argv.pop(1)
def die(*args, **rest): os.kill(os.getpid(), signal.SIGKILL)
setattr(os, how, die)
from surefoot_cli.main import main
main()
"""
"""A surefoot that is killed where it calls a function of `os`."""


def backups(file: Path) -> Iterator[Path]:
    return file.parent.glob(f"{file.name}.surefoot-*.bak")


def test_backups_keep_content_and_mode_and_none_is_overwritten(tmp_path: Path) -> None:
    """Guard: O_EXCL in `file._written_beside`."""
    file = tmp_path / "mcp.json"
    file.write_bytes(b"0")
    file.chmod(0o640)
    for n in range(1, 4):
        backup = replace(read(file), f"{n}".encode(), 0o600)
        assert backup is not None
        assert backup.read_bytes() == f"{n - 1}".encode()
        assert stat.S_IMODE(backup.stat().st_mode) == 0o640
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(path.read_bytes() for path in backups(file)) == [b"0", b"1", b"2"]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    """Guard: `file.read` resolves the path."""
    target = tmp_path / "dotfiles" / "mcp.json"
    target.parent.mkdir()
    target.write_bytes(OLD)
    link = tmp_path / "mcp.json"
    link.symlink_to(Path("dotfiles") / "mcp.json")
    backup = replace(read(link), NEW, 0o600)
    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert backup is not None
    assert backup.parent == target.parent
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "not" / "yet.json")
    assert replace(read(dangling), NEW, 0o600) is None
    assert dangling.is_symlink()
    assert dangling.read_bytes() == NEW


def test_what_someone_else_wrote_in_the_meantime_is_not_lost(tmp_path: Path) -> None:
    """Guard: `file._check_unchanged`."""
    file = tmp_path / ".claude.json"
    file.write_bytes(OLD)
    before = read(file)
    file.write_bytes(b"theirs")
    with pytest.raises(Changed, match="someone else"):
        replace(before, NEW, 0o600)
    assert file.read_bytes() == b"theirs"
    gone = read(tmp_path / "new.json")
    (tmp_path / "new.json").write_bytes(b"theirs")
    with pytest.raises(Changed):
        replace(gone, NEW, 0o600)
    assert {path.name for path in tmp_path.iterdir()} == {".claude.json", "new.json"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_leaves_all_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_bytes(OLD)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            replace(read(file), NEW, 0o600)
    finally:
        tmp_path.chmod(0o700)
    assert file.read_bytes() == OLD


@pytest.mark.skipif(sys.platform != "linux", reason="the paths are those of Linux")
@pytest.mark.parametrize("how", ["replace", "fsync", "fchmod"])
def test_a_kill_on_the_way_leaves_the_old_file_whole(tmp_path: Path, how: str) -> None:
    """Guard: `file.replace` writes beside the file and renames."""
    home = Home.make(tmp_path)
    file = home.write("cursor", OLD)
    words = ["install", "cursor", "--root", str(home.project), "--no-check"]
    environment = {**os.environ, **home.environment()}
    dying = [sys.executable, "-P", "-c", DYING, how, *words]
    assert subprocess.run(dying, env=environment, capture_output=True).returncode == -9
    assert file.read_bytes() == OLD
    assert all(path.read_bytes() in (b"", OLD) for path in backups(file))
    assert home.surefoot(*words).code == 0
    assert "surefoot" in home.servers("cursor")
    assert json.loads(file.read_bytes())
