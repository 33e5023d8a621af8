"""`surefoot install`: what it takes, and the order of its steps."""

import importlib.metadata
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

import anyio
import click

from surefoot_cli.install.change import Change, Unable, planned, shared_options
from surefoot_cli.install.edit import put
from surefoot_cli.install.hosts import HOSTS, WORKSPACE, Scope
from surefoot_cli.install.launch import Installation, NoLauncher
from surefoot_cli.install.launch import command as launcher
from surefoot_server.redact import redact_text

_PASSWORD = re.compile(r"[?&]password=", re.IGNORECASE)


@click.command
@shared_options
@click.argument("options", nargs=-1, metavar="[-- OPTIONS OF SERVE...]")
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that the tools work in; several allowed. Default: the one that the host has open.",
)
@click.option("--no-check", is_flag=True, help="Do not start the server to see that it answers.")
def command(
    client: str,
    scope: str,
    name: str,
    dry_run: bool,
    as_json: bool,
    options: tuple[str, ...],
    roots: tuple[Path, ...],
    no_check: bool,
) -> int:
    """Register the server with CLIENT: claude-desktop, claude-code, vscode or cursor.

    Shows the change, starts the server once to see that it answers, keeps a backup of the file
    beside it, and writes. What follows `--` goes to `surefoot serve`.
    """
    host, where = HOSTS[client], Scope(scope)
    words = (*_launcher(), "serve", *_roots(client, where, roots), *_checked(options))
    entry = host.entry(words)
    change = planned(
        client, where, name, lambda _, text: put(text, host.holder, name, entry, host.dialect)
    )
    change.more = {"command": entry["command"], "args": entry["args"], "tools": None}
    written = False
    if change.needed:
        if not as_json:
            click.echo(change.diff, nl=False)
        if not dry_run:
            if not no_check:
                change.more["tools"] = _tools(words)
            change.write()
            written = True
    click.echo(change.told(written) if as_json else _said(change, dry_run))
    return 0


def _launcher() -> tuple[str, ...]:
    package = importlib.metadata.distribution("surefoot")
    found = Installation(
        prefix=Path(sys.prefix),
        interpreter=Path(sys.executable),
        version=package.version,
        origin=package.read_text("direct_url.json"),
    )
    try:
        return launcher(found, os.environ)
    except NoLauncher as e:
        raise Unable(str(e)) from e


def _roots(client: str, scope: Scope, roots: tuple[Path, ...]) -> list[str]:
    """The options that name the roots."""
    host = HOSTS[client]
    named = [str(root.resolve()) for root in roots]
    if not named and scope in host.opened:
        named = [host.opened[scope]]
    if not named:
        raise click.UsageError(
            f"{host.title} starts its servers in no folder of yours: name one by --root DIR"
        )
    return [word for root in named for word in ("--root", root)]


def _checked(options: tuple[str, ...]) -> tuple[str, ...]:
    for option in options:
        if redact_text(option) != option or _PASSWORD.search(option):
            raise click.UsageError(
                "this would write a secret into the host's file; leave the password out of the URL"
                " and give it by ~/.pgpass"
            )
    return options


def _tools(words: tuple[str, ...]) -> list[str]:
    # Imported here: the SDK takes a second to load, and --dry-run does without it.
    from surefoot_cli.install.answer import Silent, tools

    here = Path.cwd()
    # As the host would say it with this folder open.
    said = [str(here) if word == WORKSPACE else word for word in words]
    click.echo(f"starting {shlex.join(said)}", err=True)
    with tempfile.TemporaryDirectory(prefix="surefoot-") as folder:
        try:
            return anyio.run(tools, said, here, Path(folder) / "stderr", os.environ)
        except Silent as e:
            raise Unable(f"nothing was written, because the server does not answer: {e}") from e


def _said(change: Change, dry_run: bool) -> str:
    file, title = change.file.path, change.host.title
    if not change.needed:
        return f"{change.name} is already installed in {title}: {file}"
    if dry_run:
        return f"nothing was written ({file})"
    found = change.more["tools"]
    lines = [f"{change.name} is installed in {title}: {file}"]
    lines += [f"the server answered with {len(found)} tools"] if found is not None else []
    lines += [f"backup: {change.backup}"] if change.backup is not None else []
    return "\n".join((*lines, f"next: {change.host.then}"))
