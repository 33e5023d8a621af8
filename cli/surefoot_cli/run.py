"""`surefoot run`: play a suite with models against a server, and record everything."""

import os
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import click
import uuid6

from surefoot_client import faults, progress, report
from surefoot_client import manifest as manifests
from surefoot_client import record as records
from surefoot_client import run as runs
from surefoot_client import suite as suites
from surefoot_client.connection import Unreachable
from surefoot_client.manifest import FaultsEntry
from surefoot_client.models import UnknownModel

DEFAULT_MODELS = ("sim:steady", "sim:hasty")
OWN_SERVER = (
    sys.executable,
    # not the workspace's own modules: a folder may hold a `logging.py`
    "-P",
    "-m",
    "surefoot_cli",
    "serve",
    "--root",
    "{workspace}",
    runs.DATABASES,
    "--sandbox",
    "off",
)
"""The server that is measured unless another is named after `--`."""
PASSED_ON = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
"""Variables that servers are given; keys of model providers are not among them."""
INTERRUPTED = 130
"""Exit code of a run that can be resumed."""


class BadInput(click.ClickException):
    """What was given cannot be used."""

    exit_code = 2


class NoServer(click.ClickException):
    """The server under measurement does not start."""

    exit_code = 3


class RunCommand(click.Command):
    """Keeps what comes after `--` apart: click would not say where it stood."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Cut off the server command."""
        if "--" in args:
            at = args.index("--")
            ctx.meta[SERVER] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)


SERVER = "surefoot_cli.run.server"
SETTLED_BY_RESUME = ("suite", "models", "repeat", "turns", "seed", "out", "faults_file")


@click.command(cls=RunCommand, options_metavar="[OPTIONS]")
@click.argument("suite", default="standard", metavar="[SUITE] [-- SERVER COMMAND]")
@click.option(
    "--model",
    "models",
    multiple=True,
    default=DEFAULT_MODELS,
    show_default=True,
    metavar="M",
    help="scripted, sim:NAME or sim:PROFILE.toml; several allowed.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Trials of each sequence with each model.",
)
@click.option("--turns", type=click.IntRange(min=1), help="Only so many turns of each sequence.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Trials at the same time, each with a server of its own.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of slips, faults and waits.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the run. Default: runs/ and a time stamp.",
)
@click.option(
    "--faults",
    "faults_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file of faults to inject between driver and server.",
)
@click.option(
    "--resume",
    "resumed",
    type=click.Path(file_okay=False, path_type=Path),
    help="Go on with an interrupted run: its directory. The rest is taken from there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def command(
    context: click.Context,
    suite: str,
    models: tuple[str, ...],
    repeat: int,
    turns: int | None,
    concurrency: int,
    seed: int,
    out: Path | None,
    faults_file: Path | None,
    resumed: Path | None,
    as_json: bool,
) -> None:
    """Play a suite with models, and record every attempt.

    Each trial has a fresh workspace and a fresh server. After `--` comes the command of another
    server to measure; {workspace} and {database:NAME} in it stand for the trial's folder and for
    the file of its database.
    """
    server: tuple[str, ...] | None = context.meta.get(SERVER)
    if server == ():
        raise click.UsageError("after -- comes the command of the server to measure")
    try:
        if resumed is not None:
            _check_alone(context, server)
            run = runs.resume(resumed, suites.load(Path(manifests.read(resumed).suite.path)))
        else:
            order = runs.Order(
                suite=suites.load(suites.find(suite)),
                models=models,
                repeat=repeat,
                turns=turns,
                seed=seed,
                server=server or OWN_SERVER,
                faults=_faults(faults_file),
            )
            run = runs.create(order, out or _default_folder())
    except BAD_INPUT as error:
        raise BadInput(str(error)) from error
    interrupted = _drive(run, concurrency)
    _print(run, as_json=as_json)
    if interrupted:
        _say_resume(run)
        context.exit(INTERRUPTED)


BAD_INPUT = (
    suites.SuiteError,
    suites.FixtureError,
    UnknownModel,
    faults.FaultsError,
    manifests.ManifestError,
    records.RecordError,
    runs.RunError,
)
"""Mistakes in what was given, each saying what would be right."""


def _check_alone(context: click.Context, server: tuple[str, ...] | None) -> None:
    """A resumed run is what it was; nothing of it can be asked for anew."""
    given = click.core.ParameterSource.COMMANDLINE
    for name in SETTLED_BY_RESUME:
        if context.get_parameter_source(name) is given:
            option = next(part for part in context.command.params if part.name == name)
            shown = option.opts[0] if isinstance(option, click.Option) else "SUITE"
            raise click.UsageError(f"--resume goes on with the run as it began, without {shown}")
    if server is not None:
        raise click.UsageError("--resume goes on with the run as it began, without a server")


def _faults(path: Path | None) -> FaultsEntry | None:
    if path is None:
        return None
    faults.load(path)
    return FaultsEntry(name=str(path), content=path.read_text(encoding="utf-8"))


def _default_folder() -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{stamp}-{uuid6.uuid7().hex[-6:]}"


def _drive(run: runs.Run, concurrency: int) -> bool:
    """Play it, with progress on stderr; whether it was interrupted."""
    plans = [plan for plan in runs.build(run) if plan.unit not in run.settled]
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment["SUREFOOT_ALLOW_FAULTS"] = "1"
    with progress.show(plans, sys.stderr) as observer:
        try:
            return anyio.run(partial(runs.drive, run, environment, concurrency, observer))
        except Unreachable as error:
            _say_resume(run)
            raise NoServer(f"{error}; its stderr is in {run.folder / 'server.log'}") from error
        except suites.FixtureError as error:
            raise BadInput(str(error)) from error


def _print(run: runs.Run, *, as_json: bool) -> None:
    summary = report.summarize(records.read(run.folder / records.FILE_NAME))
    if as_json:
        click.echo(report.render_json(summary), nl=False)
        return
    click.echo(report.render_text(summary))
    click.echo(f"records    {run.folder / records.FILE_NAME}")
    click.echo(f"report     surefoot report {run.folder}")
    click.echo(f"reconcile  surefoot reconcile {run.folder}")


def _say_resume(run: runs.Run) -> None:
    click.echo(f"resume with: surefoot run --resume {run.folder}", err=True)
