"""`surefoot token`: the bearer tokens of a server over HTTP."""

import json
import os
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from surefoot_cli.groups import ALL_GROUPS, groups
from surefoot_cli.span import SPAN
from surefoot_cli.state import state_directory
from surefoot_server.http.tokens import (
    NAME,
    SHOWN,
    Stored,
    TokenFile,
    TokensUnusable,
    hashed,
    new_token,
)
from surefoot_tools.tool import Group

NO, ENVIRONMENT = 1, 3
"""Exit codes: there is no such token; the file cannot be used."""

_FILE = click.option(
    "--tokens",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file. Default: tokens.json in the state directory.",
)


@click.group
def command() -> None:
    """Make, list and revoke the bearer tokens that `surefoot serve --http --tokens` takes."""


def _file(path: Path | None) -> TokenFile:
    return TokenFile(path or state_directory(os.environ) / "tokens.json")


class Unusable(click.ClickException):
    """The file cannot be used."""

    exit_code = ENVIRONMENT


@contextmanager
def _usable() -> Generator[None]:
    try:
        yield
    except TokensUnusable as e:
        raise Unusable(str(e)) from e


@command.command
@click.argument("name")
@click.option("--tools", default=ALL_GROUPS, show_default=True, metavar="LIST")
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Of the server's roots, or a folder in one; several allowed. Default: all of them.",
)
@click.option("--read-only", is_flag=True, help="No tools with effects.")
@click.option(
    "--expires", type=SPAN, metavar="SPAN", help="How long it is good. Default: for ever."
)
@_FILE
def add(
    name: str,
    tools: str,
    roots: tuple[Path, ...],
    read_only: bool,
    expires: float | None,
    path: Path | None,
) -> None:
    """Make a token and print it: once, and never again."""
    if not re.fullmatch(NAME, name):
        raise click.BadParameter("1 to 64 of letters, digits, '.', '_', '-'", param_hint="NAME")
    chosen, token = groups(tools), new_token()
    if expires is not None and expires <= 0:
        raise click.BadParameter("longer than 0", param_hint="--expires")
    if roots and Group.SHELL in chosen and not read_only:
        click.echo(
            "surefoot: where the server runs with --sandbox off, commands are not confined to the"
            " roots; leave 'shell' out with --tools for a token that must stay inside there",
            err=True,
        )
    with _usable():
        now = datetime.now(UTC).replace(microsecond=0)
        _file(path).add(
            Stored(
                name=name,
                id=token[:SHOWN],
                sha256=hashed(token),
                groups=chosen,
                writes=frozenset() if read_only else chosen,
                roots=tuple(root.resolve() for root in roots) or None,
                created=now,
                expires=None if expires is None else now + timedelta(seconds=expires),
            )
        )
    click.echo(token)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_FILE
def list_(as_json: bool, path: Path | None) -> None:
    """Show what tokens there are; their texts nobody has."""
    with _usable():
        tokens = _file(path).tokens()
    rows = [
        {
            "name": token.name,
            "id": token.id,
            "tools": sorted(group.value for group in token.groups),
            "read_only": not token.writes,
            "roots": None if token.roots is None else [str(root) for root in token.roots],
            "created": token.created.isoformat(),
            "expires": None if token.expires is None else token.expires.isoformat(),
            "expired": token.expired(time.time()),
        }
        for token in tokens
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row, token in zip(rows, tokens, strict=True):
        roots = "all roots" if token.roots is None else ", ".join(map(str, token.roots))
        tools = ",".join(sorted(group.value for group in token.groups))
        until = "" if row["expires"] is None else f", until {row['expires']}"
        late = " (expired)" if row["expired"] else ""
        only = ", reads only" if row["read_only"] else ""
        about = f"{tools}{only}; {roots}; since {row['created']}{until}{late}"
        click.echo(f"{token.name} ({token.id}...): {about}")


@command.command
@click.argument("name")
@_FILE
def revoke(name: str, path: Path | None) -> int:
    """Take a token back; a running server refuses it from its next request on."""
    with _usable():
        if _file(path).revoke(name):
            return 0
    click.echo(f"surefoot: there is no token {name!r}; `surefoot token list` shows them", err=True)
    return NO
