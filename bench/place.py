"""A workspace and a state directory on one disk, and the servers on them."""

import itertools
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
from line_client import LineClient

from surefoot_tools import meta

CONTENT = "surefoot!" * 113 + "1234567"
"""1 KiB."""
ARGV = ["true"]
"""What `run_command` runs: a list, so that no shell is started."""
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bench works."""

    folder: Path
    workspace: Path
    keys: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    def make(cls, folder: Path) -> "Place":
        """Lay it out: an empty folder, a file of 1 KiB, a database."""
        workspace = folder / "workspace"
        (workspace / "empty").mkdir(parents=True)
        (workspace / "kilobyte.txt").write_text(CONTENT)
        database = apsw.Connection(str(workspace / "app.db"))
        database.execute("CREATE TABLE counter (n INTEGER)")
        database.close()
        return cls(folder, workspace)

    def command(self) -> list[str]:
        """The command line of `surefoot serve`."""
        serve = [sys.executable, "-P", "-m", "surefoot_cli", "serve", "--sandbox", "off"]
        database = f"app=sqlite:///{self.workspace}/app.db?mode=rw"
        return [*serve, "--root", str(self.workspace), "--database", database]

    def environment(self, state: str) -> dict[str, str]:
        """The environment of a server; `state` names its state directory."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "SUREFOOT_HOME": str(self.folder / state),
        }

    def surefoot(self) -> LineClient:
        """`surefoot serve`, as an IDE starts it."""
        return LineClient(self.command(), self.environment("state"))

    def noop(self) -> LineClient:
        """Our way of a call over a tool that does nothing."""
        script = [sys.executable, "-P", str(HERE / "noop_server.py"), str(self.workspace)]
        return LineClient(script, self.environment("state-noop"))

    def bare(self) -> LineClient:
        """The SDK's server with naive tools."""
        script = [sys.executable, "-P", str(HERE / "bare_server.py")]
        return LineClient(script, self.environment("state-unused"))

    def echo(self) -> LineClient:
        """A Python process that sends each line back."""
        program = "import os\nwhile line := os.read(0, 65536): os.write(1, line)"
        return LineClient([sys.executable, "-P", "-c", program], self.environment("state-unused"))

    def call(self, client: LineClient, tool: str) -> float:
        """Call a tool of surefoot as the rows do, under a new key if it has an effect.

        Returns:
            Seconds.
        """
        arguments: dict[str, dict[str, Any]] = {
            "list_directory": {"path": "empty"},
            "read_file": {"path": "kilobyte.txt"},
            "write_file": {"path": "written.txt", "content": CONTENT},
            "run_command": {"command": ARGV},
        }
        if tool in ("write_file", "run_command"):
            about = {meta.IDEMPOTENCY_KEY: f"bench:{next(self.keys)}", meta.ATTEMPT: 1}
            return client.call(tool, arguments[tool], about)
        return client.call(tool, arguments[tool])
