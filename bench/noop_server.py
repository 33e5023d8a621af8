"""Surefoot's own App, executor, journal and stdio over one tool that does nothing.

`surefoot serve` offers no tool that does nothing; with this one what a call costs is the way of the
call alone. Usage: `noop_server.py ROOT`, with the state directory in `SUREFOOT_HOME`.
"""

import os
import sys
from pathlib import Path
from typing import ClassVar

import anyio

from surefoot_server import log
from surefoot_server.app import App
from surefoot_server.config import Config
from surefoot_server.stdio import divert, stdio
from surefoot_tools.tool import Arguments, Context, Effect, Evidence, Group, Result, Tool


class NoopArguments(Arguments):
    """None."""


class NoopResult(Result):
    """As much as the bare server's answer says."""

    result: str

    def as_text(self) -> str:
        """The empty text."""
        return self.result


class Noop(Tool[NoopArguments, NoopResult]):
    """Does nothing."""

    name: ClassVar[str] = "noop"
    title: ClassVar[str] = "Do nothing"
    description: ClassVar[str] = "Do nothing."
    group: ClassVar[Group] = Group.ACCOUNTING
    effect: ClassVar[Effect] = Effect.SAFE
    Arguments = NoopArguments
    Result = NoopResult

    async def run(
        self, arguments: NoopArguments, evidence: Evidence, context: Context
    ) -> NoopResult:
        """Return at once."""
        return NoopResult(result="")


class NoopApp(App):
    """The server's own App, with this tool for all others."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._tools = [Noop()]


async def _serve(app: App) -> None:
    wire = divert()
    app.door.exchange.tracked = True
    async with stdio(wire, app.door.exchange) as (reading, writing):
        await app.server.run(reading, writing, app.server.create_initialization_options())


if __name__ == "__main__":
    log.configure()
    state = Path(os.environ["SUREFOOT_HOME"])
    anyio.run(_serve, NoopApp(Config(roots=(Path(sys.argv[1]),), state=state)))
