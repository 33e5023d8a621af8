"""`surefoot run`: play a suite with models against a server, and record everything."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack
from urllib.parse import urlsplit

import anyio
import click
import uuid6

from surefoot_cli.confinement import Environment, confinement
from surefoot_client import faults, progress, report, serving
from surefoot_client import manifest as manifests
from surefoot_client import record as records
from surefoot_client import run as runs
from surefoot_client import suite as suites
from surefoot_client.connection import Unreachable
from surefoot_client.listener import LISTEN
from surefoot_client.lock import StillGoing
from surefoot_client.manifest import FaultsEntry, ForeignEntry
from surefoot_client.models import UnknownModel
from surefoot_client.record import Transport

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
    serving.DATABASES,
)
"""The server that is measured unless another is named after `--`."""
OVER_HTTP = ("--http", LISTEN)
"""What that server is told besides, to be reached over HTTP."""
TOKEN_ENV = "SUREFOOT_TOKEN"  # noqa: S105 - the name of a variable
PASSED_ON = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
"""Variables that servers are given; keys of model providers are not among them."""
INTERRUPTED = 130
"""Exit code of a run that can be resumed."""


class BadInput(click.ClickException):
    """What was given cannot be used."""

    exit_code = 2


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


class Asked(TypedDict):
    """What a new run is asked to be; a resumed one is what it was."""

    suite: str
    models: tuple[str, ...]
    repeat: int
    turns: int | None
    seed: int
    out: Path | None
    faults_file: Path | None
    transport: str | None
    url: str | None
    workspace: Path | None
    token_env: str


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
    "--transport",
    type=click.Choice([each.value for each in Transport]),
    help="How servers are reached. Default: stdio; http for a suite of several drivers.",
)
@click.option(
    "--http",
    "url",
    metavar="URL",
    help="Play against a server that runs already, at this endpoint; needs --workspace.",
)
@click.option(
    "--workspace",
    type=click.Path(file_okay=False, path_type=Path),
    help="The root of the server at --http on this machine, empty: the fixture is laid out, and the"
    " final state checked, there.",
)
@click.option(
    "--http-token-env",
    "token_env",
    default=TOKEN_ENV,
    show_default=True,
    metavar="NAME",
    help="Environment variable with the bearer token for --http.",
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
    concurrency: int,
    resumed: Path | None,
    as_json: bool,
    **asked: Unpack[Asked],
) -> None:
    """Play a suite with models, and record every attempt.

    Each trial has a fresh workspace and a fresh server. After `--` comes the command of another
    server to measure; {workspace} and {database:NAME} in it stand for the trial's folder and for
    the file of its database; {listen}, with --transport http, for the HOST:PORT to listen on.
    """
    server: tuple[str, ...] | None = context.meta.get(SERVER)
    if server == ():
        raise click.UsageError("after -- comes the command of the server to measure")
    try:
        if resumed is not None:
            _check_alone(context, server)
            run = runs.resume(resumed, suites.load(Path(manifests.read(resumed).suite.path)))
        else:
            run = runs.create(_order(asked, server), asked["out"] or _default_folder())
    except BAD_INPUT as error:
        raise BadInput(str(error)) from error
    except runs.FolderError as error:
        raise Environment(str(error)) from error
    interrupted = _drive(run, concurrency)
    _print(run, as_json=as_json)
    _say_struck(run, complete=not interrupted)
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
    serving.RunError,
    StillGoing,
)
"""Mistakes in what was given, each saying what would be right."""


def _check_alone(context: click.Context, server: tuple[str, ...] | None) -> None:
    """A resumed run is what it was; nothing of it can be asked for anew."""
    given = click.core.ParameterSource.COMMANDLINE
    for name in Asked.__annotations__:
        if context.get_parameter_source(name) is given:
            option = next(part for part in context.command.params if part.name == name)
            shown = option.opts[0] if isinstance(option, click.Option) else "SUITE"
            raise click.UsageError(f"--resume goes on with the run as it began, without {shown}")
    if server is not None:
        raise click.UsageError("--resume goes on with the run as it began, without a server")


def _order(asked: Asked, server: tuple[str, ...] | None) -> runs.Order:
    path = asked["faults_file"]
    suite = suites.load(suites.find(asked["suite"]))
    foreign = _foreign(asked)
    transport = _transport(asked["transport"], suite, foreign)
    own = OWN_SERVER + OVER_HTTP if transport is Transport.HTTP else OWN_SERVER
    if foreign is None and server is None:
        own += confinement(asked["models"])
    if foreign is not None and server is not None:
        raise click.UsageError("--http names a server that runs; expected no command after --")
    return runs.Order(
        suite=suite,
        models=asked["models"],
        repeat=asked["repeat"],
        turns=asked["turns"],
        seed=asked["seed"],
        server=() if foreign is not None else server or own,
        faults=FaultsEntry(name=str(path), content=faults.load(path)[0]) if path else None,
        transport=transport,
        foreign=foreign,
    )


def _transport(asked: str | None, suite: suites.Suite, foreign: ForeignEntry | None) -> Transport:
    if foreign is not None:
        if asked == Transport.STDIO:
            raise click.UsageError("--http is over HTTP; expected no --transport stdio")
        return Transport.HTTP
    if asked is not None:
        return Transport(asked)
    return Transport.HTTP if suite.drivers > 1 else Transport.STDIO


def _foreign(asked: Asked) -> ForeignEntry | None:
    """The server that `--http` names."""
    url, workspace = asked["url"], asked["workspace"]
    if url is None:
        if workspace is not None:
            raise click.UsageError("--workspace is of --http")
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("expected http://HOST:PORT/PATH", param_hint="--http")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise click.BadParameter(
            "expected no user, password, query or fragment: it is written to the manifest;"
            " a secret goes into the variable that --http-token-env names",
            param_hint="--http",
        )
    if workspace is None:
        raise click.UsageError(
            "fixtures are laid out, and the final state checked, in the root of the server: name it"
            " with --workspace DIR, a folder that this machine and the server share"
        )
    name = asked["token_env"]
    given = None if _token(name) is None else name
    return ForeignEntry(url=url, workspace=str(workspace.absolute()), token_env=given)


def _token(name: str) -> str | None:
    """The bearer token for a foreign server, which goes nowhere but there; None: none is set.

    Raises:
        Environment: it cannot be one.
    """
    token = os.environ.get(name, "").strip()
    if token and re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token) is None:
        raise Environment(f"what {name} holds is no bearer token (RFC 6750)")
    return token or None


def _default_folder() -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{stamp}-{uuid6.uuid7().hex[-6:]}"


def _drive(run: runs.Run, concurrency: int) -> bool:
    """Play it, with progress on stderr; whether it was interrupted."""
    plans = [plan for plan in runs.build(run) if plan.unit not in run.settled]
    if not plans:
        run.lock.release()
        click.echo(f"all {len(run.settled)} trials had ended; nothing to do", err=True)
        return False
    foreign = run.manifest.foreign
    token = _token(foreign.token_env) if foreign is not None and foreign.token_env else None
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment["SUREFOOT_ALLOW_FAULTS"] = "1"
    with progress.show(plans, sys.stderr) as observer:
        try:
            return anyio.run(partial(runs.drive, run, environment, concurrency, observer, token))
        except Unreachable as error:
            # with nothing played there is nothing to go on with
            if any(record.kind == "turn" for record in _records(run)):
                _say_resume(run)
            if foreign is not None:
                raise Environment(str(error)) from error
            log = run.folder / "server.log"
            raise Environment(f"{error}; its stderr is in {log}") from error
        except suites.FixtureError as error:
            raise BadInput(str(error)) from error


def _records(run: runs.Run) -> Iterator[records.Record]:
    return records.read(run.folder / records.FILE_NAME)


def _print(run: runs.Run, *, as_json: bool) -> None:
    summary = report.summarize(_records(run))
    if as_json:
        click.echo(report.render_json(summary), nl=False)
        return
    click.echo(report.render_text(summary))
    click.echo(f"records    {run.folder / records.FILE_NAME}")
    click.echo(f"report     {_called('report', run.folder)}")
    # a server that somebody else runs has its journal where they keep it
    journal = " --journal PLACE" if run.manifest.foreign is not None else ""
    click.echo(f"reconcile  {_called('reconcile', run.folder)}{journal}")


def _say_struck(run: runs.Run, *, complete: bool) -> None:
    """How often each rule of the faults file struck, over all processes of the run."""
    if run.manifest.faults is None:
        return
    name = run.manifest.faults.name
    click.echo(f"sends struck by the rules of {name}:", err=True)
    counts = faults.tally(run.faults, _records(run))
    for number, (rule, count) in enumerate(zip(run.faults, counts, strict=True), 1):
        click.echo(f"{count:>6}  {number}. {rule}", err=True)
    for number, count in enumerate(counts, 1):
        if count == 0 and complete:
            click.echo(f"warning: rule {number} of {name} struck nothing", err=True)


def _say_resume(run: runs.Run) -> None:
    click.echo(f"resume with: {_called('run', '--resume', run.folder)}", err=True)


def _called(*arguments: object) -> str:
    """A command of this program, as it was called itself, quoted for a shell."""
    return shlex.join([*_program(Path(sys.argv[0])), *(str(each) for each in arguments)])


def _program(called: Path) -> list[str]:
    """How to call this program again; `called` is what the interpreter was given."""
    if called.name == "__main__.py" and called.parent.name == "surefoot_cli":
        return [sys.executable, "-m", "surefoot_cli"]
    if called.stem != "surefoot":
        # within another program, such as a test
        return ["surefoot"]
    on_path = shutil.which("surefoot")
    found = on_path is not None and Path(on_path).resolve() == called.resolve()
    # a script that was found on the path is given to the interpreter as an absolute path
    return ["surefoot"] if found and called.is_absolute() else [str(called)]
