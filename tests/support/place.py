"""A workspace with a database, and servers on it: in memory, and as real processes."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import apsw
import mcp_types as types
from mcp import Client, StdioServerParameters
from tests.support.level import level

from surefoot_server.app import App
from surefoot_server.config import Config
from surefoot_tools import meta


@dataclass(frozen=True)
class Place:
    """A workspace with a database `app`, and the state directory of its servers."""

    workspace: Path
    config: Config

    @classmethod
    def make(cls, folder: Path) -> "Place":
        """Lay one out: a table `counter` with one row 0."""
        workspace = folder / "workspace"
        workspace.mkdir()
        db = apsw.Connection(str(workspace / "app.db"))
        db.execute("CREATE TABLE counter (n INTEGER); INSERT INTO counter VALUES (0)")
        db.close()
        config = Config(
            roots=(workspace,),
            state=folder / "state",
            databases=(f"app=sqlite:///{workspace}/app.db?mode=rw",),
            environment={"PATH": os.environ["PATH"]},
            sandbox=level(),
            allow_faults=True,
        )
        return cls(workspace, config)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query of the database sees, past the server."""
        db = apsw.Connection(str(self.workspace / "app.db"))
        try:
            return list(db.execute(sql))
        finally:
            db.close()

    def client(self, *, mode: str = "auto", **changes: Any) -> Client:
        """A client of a new server in this process; an async context manager."""
        return Client(App(replace(self.config, **changes)).server, mode=mode)

    def command(self, *options: str) -> list[str]:
        """The command that serves this place."""
        serve = [sys.executable, "-P", "-m", "surefoot_cli", "serve"]
        return [
            *serve,
            *("--root", str(self.workspace), "--database", self.config.databases[0]),
            *("--sandbox", self.config.sandbox.value),
            *options,
        ]

    def environment(self) -> dict[str, str]:
        """The environment of a server process on this place that obeys faults."""
        return {
            "PATH": os.environ["PATH"],
            "SUREFOOT_HOME": str(self.config.state),
            "SUREFOOT_ALLOW_FAULTS": "1",
        }

    def process(self, *options: str) -> Client:
        """A client of a new server process; an async context manager."""
        command = self.command(*options)
        parameters = StdioServerParameters(
            command=command[0], args=command[1:], env=self.environment()
        )
        return Client(parameters, read_timeout_seconds=60)


def about(**names: Any) -> types.RequestParamsMeta:
    """`_meta` of a request; names are those of `surefoot_tools.meta`."""
    return cast(types.RequestParamsMeta, {getattr(meta, name): names[name] for name in names})


def keyed(key: Any, attempt: int = 1, fault: str | None = None) -> types.RequestParamsMeta:
    """The `_meta` of a keyed call."""
    fields = {"IDEMPOTENCY_KEY": key, "ATTEMPT": attempt}
    return about(**fields) if fault is None else about(**fields, FAULT=fault)


def body(result: types.CallToolResult) -> dict[str, Any]:
    """The structured result of a call that succeeded."""
    assert not result.is_error, result
    return result.structured_content


def disposition(result: types.CallToolResult) -> str:
    """What the server says that it did about a request."""
    return (result.meta or {})[meta.CALL]["disposition"]


def error(result: types.CallToolResult) -> dict[str, Any]:
    """The structured error of a result that is one."""
    assert result.is_error, result
    assert result.structured_content is None
    return (result.meta or {})[meta.ERROR]
