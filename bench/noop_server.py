"""Surefoot's own App, executor, journal and transports over one tool that does nothing.

`surefoot serve` offers no tool that does nothing; with this one what a call costs is the way of the
call alone. Usage: `noop_server.py ROOT [--http [TOKEN]]`, with the state directory in
`SUREFOOT_HOME`; over HTTP it says on stderr where it listens, and with a token asks for it.
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import anyio

from surefoot_server import log
from surefoot_server.app import App
from surefoot_server.config import Config
from surefoot_server.http.tokens import SHOWN, Stored, TokenFile, hashed
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


def _holding(token: str) -> TokenFile:
    """A file with one token."""
    groups = frozenset(Group)
    file = TokenFile(Path(os.environ["SUREFOOT_HOME"]) / "tokens.json")
    now = datetime.now(UTC)
    file.revoke("bench")
    file.add(
        Stored(
            name="bench",
            id=token[:SHOWN],
            sha256=hashed(token),
            groups=groups,
            writes=groups,
            roots=None,
            created=now,
            expires=None,
        )
    )
    return file


def _serve_http(app: App, token: str | None) -> None:
    from surefoot_server.http.address import Address
    from surefoot_server.http.serving import Authority, HttpApp, serve

    bound, listening = Address("127.0.0.1", 0).bind()

    def announce() -> None:
        sys.stderr.write(json.dumps({"event": "listening", "url": bound.url}) + "\n")

    authority = None if token is None else Authority((_holding(token),))
    web = HttpApp(app.server, app.door, bound.security(), authority)
    anyio.run(serve, web, app.door, [listening], announce)


if __name__ == "__main__":
    log.configure()
    folder, *options = sys.argv[1:]
    state = Path(os.environ["SUREFOOT_HOME"])
    served = NoopApp(Config(roots=(Path(folder),), state=state))
    if options:
        _serve_http(served, options[1] if len(options) > 1 else None)
    else:
        anyio.run(_serve, served)
