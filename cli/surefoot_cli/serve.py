"""`surefoot serve`: the MCP server, over stdio or HTTP."""

import gc
import importlib.metadata
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from surefoot_cli.groups import ALL_GROUPS, groups
from surefoot_cli.listen import HttpChoice, http_options
from surefoot_cli.programs import ripgrep
from surefoot_cli.recording import recording_options, retention
from surefoot_cli.root import ROOT, Root, names_of
from surefoot_cli.settings import SETTINGS, check_outside
from surefoot_cli.span import FOREVER
from surefoot_cli.state import state_directory
from surefoot_server import log
from surefoot_server.config import Config
from surefoot_tools.commandline.rules import Rules
from surefoot_tools.sandbox.sandbox import DEFAULT, Level

if TYPE_CHECKING:
    from surefoot_server.app import App


@click.command
@click.option(
    "--config",
    "commands",
    type=SETTINGS,
    is_eager=True,
    help="A TOML file with these options, and rules on commands. The command line wins.",
)
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=ROOT,
    metavar="[NAME=]DIR[?mode=ro]",
    help="Folder that the tools work in; several allowed. Default: the current folder.",
)
@click.option("--database", "databases", multiple=True, metavar="NAME=URL")
@click.option(
    "--job-grace",
    type=FOREVER,
    default="30",
    show_default=True,
    metavar="SECONDS|forever",
    help="How long a job lives on when its server is gone.",
)
@click.option("--read-only", is_flag=True, help="Refuse every tool that has effects.")
@click.option("--tools", default=ALL_GROUPS, show_default=True, metavar="LIST")
@click.option(
    "--sandbox",
    type=click.Choice([level.value for level in Level]),
    default=DEFAULT.value,
    show_default=True,
    help="How commands are confined. strict: by bubblewrap, or refused; auto: by bubblewrap, else"
    " by landlock, or refused; off: not at all.",
)
@click.option("--network", is_flag=True, help="Let commands that are confined use the network.")
@http_options
@recording_options
@click.pass_context
def command(
    ctx: click.Context,
    commands: Rules | None,
    roots: tuple[Root, ...],
    databases: tuple[str, ...],
    journal: str | Path | None,
    store_arguments: str,
    grace: float,
    job_grace: float,
    keep_results: float | None,
    keep_keys: float | None,
    read_only: bool,
    tools: str,
    sandbox: str,
    network: bool,
    log_level: str,
    **http: Any,
) -> None:
    """Offer the tools over MCP, on stdin and stdout or with --http.

    An IDE or a desktop app starts this; `surefoot install` registers it there.
    """
    listen = HttpChoice(**http)
    if sys.platform == "win32":
        raise click.ClickException(
            "surefoot serve runs on Linux and macOS; on Windows start it inside WSL"
        )
    places = tuple(root.path for root in roots) or (Path.cwd(),)
    check_outside(ctx, places)
    config = Config(
        roots=places,
        root_names=names_of(roots),
        read_only_roots=tuple(root.path for root in roots if root.read_only),
        commands=commands,
        state=state_directory(os.environ),
        databases=databases,
        journal=journal,
        store_arguments=store_arguments,
        grace=grace,
        job_grace=None if job_grace == math.inf else job_grace,
        retention=retention(keep_results, keep_keys),
        read_only=read_only,
        groups=groups(tools),
        environment=dict(os.environ),
        sandbox=Level(sandbox),
        network=network,
        ripgrep=ripgrep(),
        allow_faults=os.environ.get("SUREFOOT_ALLOW_FAULTS") == "1",
        version=importlib.metadata.version("surefoot"),
    )
    log.configure(log_level)
    app = _made(config)
    if isinstance(journal, Path) and not journal.parent.is_dir():
        raise click.UsageError(f"--journal: there is no folder {journal.parent}")
    if listen.address is not None:
        listen.serve(app)
    else:
        from surefoot_cli import over_stdio

        listen.observe(app)
        anyio.run(over_stdio.serve, app.server, app.door)


def _made(config: Config) -> "App":
    """The server, ready to be run.

    The SDK's modules make a million objects that live for ever. The collector would look through
    them several times while they come, and once more in an early call, for a tenth of a second.

    Raises:
        UsageError: a database or a root is not what it should be.
    """
    gc.disable()
    try:
        # Imported here and not above: `surefoot serve --help` need not load the SDK.
        from surefoot_server.app import App

        return App(config)
    except ValueError as e:
        raise click.UsageError(str(e)) from e
    finally:
        gc.freeze()
        gc.enable()
