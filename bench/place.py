"""A workspace and a state directory on one disk, and the servers on them."""

import itertools
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
from http_client import HttpClient
from line_client import LineClient
from typescript import PACKAGES, TypeScript

from surefoot_tools import meta

CONTENT = "surefoot!" * 113 + "1234567"
"""1 KiB."""
ARGV = ["true"]
"""What `run_command` runs: a list, so that no shell is started."""
HERE = Path(__file__).parent


def _python(script: str) -> list[str]:
    """The command line of a script of this folder."""
    return [sys.executable, "-P", str(HERE / script)]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bench works."""

    folder: Path
    workspace: Path
    typescript: TypeScript | str
    """The other SDK, or why there is none, and how to get it."""
    keys: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    def make(cls, folder: Path, packages: Path = PACKAGES) -> "Place":
        """Lay it out: an empty folder, a file of 1 KiB, a database.

        Args:
            folder: Where; empty.
            packages: A `node_modules` with the TypeScript SDK.
        """
        workspace = folder / "workspace"
        (workspace / "empty").mkdir(parents=True)
        (workspace / "kilobyte.txt").write_text(CONTENT)
        database = apsw.Connection(str(workspace / "app.db"))
        database.execute("CREATE TABLE counter (n INTEGER)")
        database.close()
        return cls(folder, workspace, TypeScript.find(packages, folder / "typescript"))

    def command(self, sandbox: str = "off") -> list[str]:
        """The command line of `surefoot serve`.

        Args:
            sandbox: `off`, or what confines its commands: `bubblewrap` or `landlock`.
        """
        program, level = {
            "off": (["-m", "surefoot_cli"], "off"),
            "bubblewrap": (["-m", "surefoot_cli"], "strict"),
            "landlock": ([str(HERE / "landlock_server.py")], "auto"),
        }[sandbox]
        serve = [sys.executable, "-P", *program, "serve", "--sandbox", level]
        database = f"app=sqlite:///{self.workspace}/app.db?mode=rw"
        return [*serve, "--root", str(self.workspace), "--database", database]

    def environment(self, state: str) -> dict[str, str]:
        """The environment of a server; `state` names its state directory."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "SUREFOOT_HOME": str(self.folder / state),
        }

    def state(self, sandbox: str) -> Path:
        """The state directory of `confined`."""
        return self.folder / f"state-{sandbox}"

    def surefoot(self) -> LineClient:
        """`surefoot serve`, as an IDE starts it."""
        return LineClient(self.command(), self.environment("state"))

    def confined(self, sandbox: str) -> LineClient:
        """`surefoot serve` with its commands confined as `command` says."""
        return LineClient(self.command(sandbox), self.environment(self.state(sandbox).name))

    def noop(self) -> LineClient:
        """Our way of a call over a tool that does nothing."""
        command = [*_python("noop_server.py"), str(self.workspace)]
        return LineClient(command, self.environment("state-noop"))

    def bare(self) -> LineClient:
        """The SDK's server with naive tools."""
        return LineClient(_python("bare_server.py"), self.environment("state-unused"))

    def surefoot_http(self) -> HttpClient:
        """`surefoot serve --http`."""
        command = [*self.command(), "--http", "127.0.0.1:0"]
        return HttpClient(command, self.environment("state"))

    def noop_http(self, callers: int, token: str | None = None) -> HttpClient:
        """As `noop`, over HTTP; with a token it is asked for and given."""
        given = [] if token is None else [token]
        command = [*_python("noop_server.py"), str(self.workspace), "--http", *given]
        # A state directory each: they run at the same time.
        environment = self.environment("-".join(["state-noop-http", *given]))
        return HttpClient(command, environment, callers=callers, token=token)

    def bare_http(self, callers: int = 1) -> HttpClient:
        """The SDK's server with naive tools, over HTTP."""
        command = [*_python("bare_server.py"), "--http"]
        return HttpClient(command, self.environment("state-unused"), callers=callers)

    def floor_http(self, callers: int = 1) -> HttpClient:
        """An HTTP server in Python that is next to nothing."""
        command = _python("http_floor.py")
        return HttpClient(command, self.environment("state-unused"), callers=callers)

    def echo(self) -> LineClient:
        """A Python process that sends each line back."""
        program = "import os\nwhile line := os.read(0, 65536): os.write(1, line)"
        return LineClient([sys.executable, "-P", "-c", program], self.environment("state-unused"))

    def new_key(self) -> dict[str, Any]:
        """`_meta` of a call that is keyed and was not made before."""
        return {meta.IDEMPOTENCY_KEY: f"bench:{next(self.keys)}", meta.ATTEMPT: 1}

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
            return client.call(tool, arguments[tool], self.new_key())
        return client.call(tool, arguments[tool])
