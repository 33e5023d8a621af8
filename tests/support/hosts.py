"""The hosts' files as the hosts read them, apart from how `surefoot install` writes them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.surefoot import Done, surefoot

_COMMENT_OR_STRING = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\r\n]*|/\*(?s:.*?)\*/')
_LAST_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])')


def read_json(raw: bytes) -> dict[str, Any]:
    """As `JSON.parse` reads it; Node strips a byte order mark for those who ask it to."""
    return json.loads(raw.decode("utf-8-sig"))


def read_jsonc(raw: bytes) -> dict[str, Any]:
    """As VS Code's parser reads it."""
    text = _COMMENT_OR_STRING.sub(lambda found: found[1] or " ", raw.decode("utf-8-sig"))
    return json.loads(_LAST_COMMA.sub(lambda found: found[1] or "", text))


def holder(client: str) -> str:
    """The member that holds the servers."""
    return "servers" if client == "vscode" else "mcpServers"


def lay_traps(folder: Path) -> None:
    """Modules of the names that we import, each of which leaves a file `sprung` and exits."""
    trap = "import pathlib; pathlib.Path(__file__).with_name('sprung').touch(); raise SystemExit(9)"
    for name in ("mcp", "logging", "anyio", "click", "surefoot_cli", "sitecustomize"):
        (folder / f"{name}.py").write_text(trap)
    for name in ("server", "tools", "client"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(trap)


@dataclass(frozen=True)
class Home:
    """A user with a home folder and a project that is open."""

    folder: Path
    project: Path

    @classmethod
    def make(cls, folder: Path) -> "Home":
        """Lay one out, with nothing in it."""
        home = cls(folder / "home", folder / "project")
        home.folder.mkdir()
        home.project.mkdir()
        return home

    def file(self, client: str, scope: str = "user") -> Path:
        """Where a host on Linux looks, by its own pages."""
        paths = {
            ("claude-desktop", "user"): ".config/Claude/claude_desktop_config.json",
            ("claude-code", "user"): ".claude.json",
            ("vscode", "user"): ".config/Code/User/mcp.json",
            ("cursor", "user"): ".cursor/mcp.json",
            ("claude-code", "project"): ".mcp.json",
            ("vscode", "project"): ".vscode/mcp.json",
            ("cursor", "project"): ".cursor/mcp.json",
        }
        return (self.folder if scope == "user" else self.project) / paths[client, scope]

    def write(self, client: str, raw: bytes, scope: str = "user") -> Path:
        """Give a host a file."""
        file = self.file(client, scope)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(raw)
        return file

    def read(self, client: str, scope: str = "user") -> dict[str, Any]:
        """All that a host finds in its file."""
        raw = self.file(client, scope).read_bytes()
        return read_json(raw) if client.startswith("claude") else read_jsonc(raw)

    def servers(self, client: str, scope: str = "user") -> dict[str, Any]:
        """The servers that a host finds registered."""
        return self.read(client, scope)[holder(client)]

    def environment(self) -> Mapping[str, str]:
        """Of a program of this user."""
        return {"HOME": str(self.folder), "SUREFOOT_HOME": str(self.folder / "state")}

    def surefoot(self, *words: object) -> Done:
        """Run `surefoot WORDS` as this user; the current folder is the caller's."""
        state = self.folder / "state"
        return surefoot(*words, home=state, environment=self.environment())
