"""`surefoot wrap`: keys, receipts and accounting for a server that knows nothing of them."""

import importlib.metadata
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import anyio
import click

from surefoot_cli.recording import recording_options, retention
from surefoot_cli.state import state_directory
from surefoot_server import log
from surefoot_tools.tool import Effect

if TYPE_CHECKING:
    from surefoot_server.wrap.target import Target

DECLARED = (Effect.SAFE, Effect.IDEMPOTENT, Effect.AT_MOST_ONCE)
"""The effects that a tool which is not ours can have."""


@click.command
@click.argument("words", metavar="[-- COMMAND [ARGS]...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--http", "url", metavar="URL", help="A server over Streamable HTTP, not a command.")
@click.option(
    "--header-env",
    "headers",
    multiple=True,
    metavar="NAME=VARIABLE",
    help="With --http: a header whose value is in an environment variable; several allowed.",
)
@click.option(
    "--effect",
    "effects",
    multiple=True,
    metavar="TOOL=EFFECT",
    help=f"What a tool does: {', '.join(DECLARED)}; several allowed. Default: its annotations.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file with a table [effects]; --effect wins over it.",
)
@recording_options
def command(
    words: tuple[str, ...],
    url: str | None,
    headers: tuple[str, ...],
    effects: tuple[str, ...],
    config: Path | None,
    journal: str | Path | None,
    store_arguments: str,
    grace: float,
    keep_results: float | None,
    keep_keys: float | None,
    log_level: str,
) -> None:
    """Stand before one MCP server, over stdio, and make its calls safe to repeat.

    Its tools, resources and prompts pass through unchanged.
    """
    if sys.platform == "win32":
        raise click.ClickException("surefoot wrap runs on Linux and macOS; on Windows inside WSL")
    if isinstance(journal, Path) and not journal.parent.is_dir():
        raise click.UsageError(f"--journal: there is no folder {journal.parent}")
    declared = {**_configured(config), **_effects(effects)}
    values = _headers(headers, os.environ)
    log.configure(log_level)
    # Imported here and not above: `surefoot wrap --help` need not load the SDK.
    from surefoot_cli import over_stdio
    from surefoot_server.call import StoreArguments
    from surefoot_server.policy import Policy
    from surefoot_server.wrap.proxy import Proxy, Settings

    state = state_directory(os.environ)
    settings = Settings(
        state=state,
        journal=journal if journal is not None else state / "journal.db",
        version=importlib.metadata.version("surefoot"),
        effects=declared,
        policy=Policy(grace=grace, retention=retention(keep_results, keep_keys)),
        store=StoreArguments(store_arguments),
        allow_faults=os.environ.get("SUREFOOT_ALLOW_FAULTS") == "1",
    )
    proxy = Proxy(_target(words, url, values), settings)
    anyio.run(over_stdio.serve, proxy.server, proxy.door)


def _target(words: tuple[str, ...], url: str | None, headers: Mapping[str, str]) -> "Target":
    """The server that is meant.

    Raises:
        UsageError: it is named twice, not at all, or by no URL.
    """
    if bool(words) == (url is not None):
        raise click.UsageError("name one server: --http URL, or -- COMMAND")
    if url is None:
        if headers:
            raise click.UsageError("--header-env goes with --http")
        from surefoot_server.wrap.child import Child

        return Child(words, Path.cwd())
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise click.UsageError(f"--http: {url} is no http:// or https:// URL")
    from surefoot_server.wrap.remote import Remote

    return Remote(url, headers)


def _effects(pairs: Iterable[str]) -> dict[str, Effect]:
    found: dict[str, Effect] = {}
    for pair in pairs:
        name, equals, effect = pair.rpartition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair} is not TOOL=EFFECT", param_hint="--effect")
        found[name] = _effect(name, effect, "--effect")
    return found


def _effect(name: str, value: object, where: str) -> Effect:
    if isinstance(value, str) and value in DECLARED:
        return Effect(value)
    choice = ", ".join(DECLARED)
    raise click.BadParameter(f"{name} = {value!r}: there is {choice}", param_hint=where)


def _configured(file: Path | None) -> dict[str, Effect]:
    """The effects that a configuration declares.

    Raises:
        BadParameter: it is no TOML, or holds something else.
    """
    if file is None:
        return {}
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as e:
        raise click.BadParameter(f"{file}: {e}", param_hint="--config") from e
    table: Any = found.pop("effects", {})
    if found or not isinstance(table, dict):
        what = ", ".join(found) or "effects"
        raise click.BadParameter(f"{file}: {what}: only a table [effects]", param_hint="--config")
    effects = cast("dict[str, Any]", table)
    return {name: _effect(name, value, "--config") for name, value in effects.items()}


def _headers(pairs: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, variable = pair.partition("=")
        if not equals or not name or variable not in environment:
            hint = "--header-env"
            raise click.BadParameter(f"{pair}: NAME=VARIABLE, of one that is set", param_hint=hint)
        found[name] = environment[variable]
    return found
