"""`surefoot doctor`: what of this machine surefoot can use, and how to mend what is missing."""

import json
import math
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import anyio
import apsw
import click

from surefoot_cli.finding import Finding
from surefoot_cli.health import journal_findings
from surefoot_cli.install.found import host_findings
from surefoot_cli.place import chosen, place_option
from surefoot_cli.programs import ripgrep
from surefoot_cli.state import state_directory
from surefoot_server.journal.records import JournalUnavailable
from surefoot_server.journal.sqlite import check_sqlite
from surefoot_tools.database.databases import Databases, parse_database
from surefoot_tools.database.describe_database import DescribeArguments, DescribeDatabase
from surefoot_tools.errors import ToolError
from surefoot_tools.sandbox.sandbox import DEFAULT, Reached, Sandbox
from surefoot_tools.tool import Context, Evidence

NO = 1


@click.command
@click.option("--database", "databases", multiple=True, metavar="NAME=URL")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@place_option
def command(databases: tuple[str, ...], as_json: bool, place: str | Path | None) -> int:
    """Look at this machine; exit 1 when something that surefoot needs is missing."""
    state = state_directory(os.environ)
    findings = [
        _python(),
        _platform(),
        _sqlite(),
        *journal_findings(chosen(place)),
        _state(state),
        _ripgrep(),
        _sandbox(state),
        *(_database(text) for text in databases),
        *host_findings(Path.cwd(), os.environ),
    ]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{'ok ' if finding.good else 'BAD'}  {finding.name}: {finding.found}")
            if finding.fix is not None:
                click.echo(f"       fix: {finding.fix}")
    return 0 if all(finding.good for finding in findings) else NO


def _python() -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding("python", good, platform.python_version(), None if good else "use 3.11 or newer")


def _platform() -> Finding:
    good = sys.platform != "win32"
    fix = None if good else "run surefoot inside WSL: its stdio server needs POSIX pipes"
    return Finding("platform", good, platform.platform(), fix)


def _sqlite() -> Finding:
    version = apsw.sqlite_lib_version()
    return _tried("sqlite", version, lambda: check_sqlite(version))


def _state(state: Path) -> Finding:
    parent = next(path for path in (state, *state.parents) if path.exists())
    good = parent.is_dir() and os.access(parent, os.W_OK) and _can_hold(parent, state)
    fix = None if good else "set SUREFOOT_HOME to a folder that you may write to"
    return Finding("state directory", good, str(state), fix)


def _can_hold(parent: Path, state: Path) -> bool:
    """Whether folders can really be made there; /proc and its like allow it only by their mode."""
    if parent == state:
        return True
    trial = parent / f".surefoot-doctor-{os.getpid()}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return False
    return True


def _ripgrep() -> Finding:
    found = ripgrep()
    if found is not None:
        return Finding("ripgrep", True, found)
    return Finding(
        "ripgrep",
        True,
        "not found; search_files uses its slower Python fallback",
        "pip install 'surefoot[search]', or install ripgrep",
    )


def _sandbox(state: Path) -> Finding:
    """What a server reaches here unless it is told otherwise, found by doing it."""
    sandbox = Sandbox(DEFAULT, [Path.cwd()], [state], os.environ)
    match sandbox.reached:
        case Reached.BUBBLEWRAP:
            return Finding("sandbox", True, f"bubblewrap, {sandbox.program}")
        case Reached.LANDLOCK:
            found = f"landlock, a weaker one: {sandbox.reason}"
            return Finding("sandbox", True, found, sandbox.fix)
        case Reached.OFF | Reached.REFUSED:
            found = f"none, so commands need --sandbox off: {sandbox.reason}"
            return Finding("sandbox", False, found, sandbox.fix)


def _database(text: str) -> Finding:
    def look() -> None:
        tool = DescribeDatabase(Databases([parse_database(text, os.environ)]))
        context = Context(call_id="doctor", effect_key="doctor", deadline=math.inf)
        nothing: Evidence = {}
        anyio.run(tool.run, DescribeArguments(), nothing, context)

    name = text.partition("=")[0]
    return _tried(f"database {name}", "answers", look)


def _tried(name: str, found: str, step: Callable[[], None]) -> Finding:
    try:
        step()
    except (JournalUnavailable, ToolError, ValueError) as e:
        hint: str | None = getattr(e, "hint", None)
        return Finding(name, False, str(e), hint or "see docs/reference.md for the form")
    return Finding(name, True, found)
