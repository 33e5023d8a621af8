"""The server of a trial: which command it is, or whose, and how it is reached.

Above `transport.py` and `listener.py`; `run.py` asks it for the stage of each trial.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from surefoot_client.execute import Stage
from surefoot_client.listener import LISTEN, listening
from surefoot_client.manifest import ForeignEntry, Manifest
from surefoot_client.process import ServerProcess
from surefoot_client.record import Transport
from surefoot_client.streamable_http import Endpoint
from surefoot_client.suite import Sequence as WorkSequence
from surefoot_client.suite import Suite
from surefoot_client.transport import Stdio, Target
from surefoot_client.trial import Plan

DATABASES = "{databases}"
"""In a server command: `--database NAME=URL` for each database of the sequence, with write."""


class RunError(ValueError):
    """A run cannot be made as asked for."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The servers of a run."""

    manifest: Manifest
    folder: Path
    """Of the run."""
    environment: Mapping[str, str]
    """Of the servers that are started."""
    token: str | None
    """Bearer token of a foreign server."""

    def stage(self, plan: Plan) -> Stage:
        """Where a trial takes place."""
        foreign = self.manifest.foreign
        if foreign is not None:
            endpoint = Endpoint(foreign.url, self.token, foreign.token_env or "the environment")
            return Stage(Path(foreign.workspace), Transport.HTTP, partial(_as_it_is, endpoint))
        workspace = self.folder / "workspaces" / plan.name
        server = ServerProcess(
            argv=command(self.manifest.server, plan.sequence, workspace),
            cwd=workspace,
            environment=self.environment,
            log=self.folder / "server.log",
        )
        return Stage(workspace, self.manifest.transport, partial(self._serve, server))

    def _serve(self, server: ServerProcess) -> AbstractAsyncContextManager[Target]:
        if self.manifest.transport is Transport.HTTP:
            return listening(server)
        return _as_it_is(Stdio(server))


@asynccontextmanager
async def _as_it_is(target: Target) -> AsyncGenerator[Target, None]:
    yield target


def check(
    suite: Suite,
    server: Sequence[str],
    transport: Transport,
    foreign: ForeignEntry | None,
    trials: int,
) -> None:
    """Refuse what cannot be served.

    Args:
        suite: What is played.
        server: The command, with placeholders; not looked at where `foreign` is there.
        transport: How it is to be reached.
        foreign: A server that somebody else runs.
        trials: How many are to be played.

    Raises:
        RunError: a placeholder of the server command means nothing, or is missing; several drivers
            cannot share a server over stdio; a foreign server has no workspace of its own for each
            trial.
    """
    if suite.drivers > 1 and transport is Transport.STDIO:
        raise RunError(
            f"the suite {suite.name!r} has {suite.drivers} drivers that share one server, and a"
            " server over stdio has one; expected --transport http"
        )
    if foreign is not None:
        _check_foreign(foreign, trials)
        return
    for sequence in suite.sequences:
        command(server, sequence, Path("/"))
    if transport is Transport.HTTP and not any(LISTEN in part for part in server):
        raise RunError(
            f"the server command has no {LISTEN}, which stands for the HOST:PORT where it is to"
            " listen"
        )


def _check_foreign(foreign: ForeignEntry, trials: int) -> None:
    workspace = Path(foreign.workspace)
    if trials != 1:
        raise RunError(
            f"a server that runs already has one workspace, which is fresh once; expected one"
            f" trial, and these are {trials}: one sequence, one --model, --repeat 1"
        )
    if not workspace.is_dir():
        raise RunError(
            f"{workspace} is no folder; expected the root of the server at {foreign.url}"
        )
    if any(workspace.iterdir()):
        raise RunError(
            f"{workspace} is not empty; expected an empty folder, the root of the server at"
            f" {foreign.url}, to lay the fixture out in"
        )


def command(template: Sequence[str], sequence: WorkSequence, workspace: Path) -> list[str]:
    """A server command with its placeholders filled in, but for `{listen}`.

    Raises:
        RunError: a placeholder names a database that the sequence does not have.
    """
    files = {name: workspace / base.file for name, base in sequence.fixture.databases.items()}

    def file(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in files:
            known = ", ".join(files) or "none"
            raise RunError(
                f"{found.group(0)}: sequence {sequence.id!r} has no such database; it has: {known}"
            )
        return str(files[name])

    argv: list[str] = []
    for part in template:
        if part == DATABASES:
            for name, path in files.items():
                argv += ["--database", f"{name}=sqlite:///{path}?mode=rw"]
        else:
            filled = re.sub(r"\{database:([^{}]*)\}", file, part)
            argv.append(filled.replace("{workspace}", str(workspace)))
    return argv
