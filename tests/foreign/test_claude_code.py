"""Claude Code, without a network or an account, connects to what `surefoot install` registered."""

import json
import sys
from pathlib import Path

import pytest
from tests.foreign import kit

pytestmark = pytest.mark.slow

SUREFOOT = [sys.executable, "-P", "-m", "surefoot_cli"]


def test_claude_code_connects_after_surefoot_install(room: kit.Room, tmp_path: Path) -> None:
    kit.need(kit.CLAUDE_CODE, optional=True)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    installed = room.run(*SUREFOOT, "install", "claude-code", cwd=workspace)
    assert installed.code == 0, installed.said
    written = json.loads((room.home / ".claude.json").read_text())
    assert list(written["mcpServers"]) == ["surefoot"]
    listed = room.run(kit.node(), kit.CLAUDE_CODE, "mcp", "list", cwd=workspace)
    assert listed.code == 0, listed.said
    [line] = [line for line in listed.out.splitlines() if line.startswith("surefoot:")]
    assert line.endswith("Connected"), listed.said
