"""One change of a host's file, from reading it to the backup: what install and uninstall share."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from surefoot_cli.install.diff import difference
from surefoot_cli.install.file import PRIVATE, SHARED, Changed, HostFile, read, replace
from surefoot_cli.install.hosts import HOSTS, Host, Scope
from surefoot_cli.install.jsonc import Malformed
from surefoot_cli.place import Refused

USAGE, ENVIRONMENT = 2, 3
"""Exit codes: the file is not what its host can read; it cannot be read or written."""


class Unfit(Refused):
    """The file is not what its host can read."""

    exit_code = USAGE


class Unable(Refused):
    """The file cannot be read or written, or the server does not answer."""

    exit_code = ENVIRONMENT


@dataclass
class Change:
    """What is to become of a host's file."""

    host: Host
    scope: Scope
    name: str
    """Of the entry."""
    file: HostFile
    before: str
    after: str
    backup: Path | None = None
    more: dict[str, Any] = field(default_factory=dict[str, Any])
    """What else `--json` tells."""

    @property
    def needed(self) -> bool:
        """Whether the file does not say so already."""
        return self.after != self.before

    @property
    def diff(self) -> str:
        """The change as it is shown."""
        return difference(str(self.file.path), self.before, self.after)

    def write(self) -> None:
        """Replace the file.

        Raises:
            Refused: someone else wrote it in the meantime.
            Unable: it cannot be written.
        """
        mode = PRIVATE if self.scope is Scope.USER else SHARED
        try:
            self.backup = replace(self.file, self.file.encoded(self.after), mode)
        except Changed as e:
            raise Refused(str(e)) from e
        except OSError as e:
            raise Unable(f"{self.file.path} cannot be written: {e.strerror}") from e

    def told(self, written: bool) -> str:
        """What `--json` prints."""
        return json.dumps(
            {
                "client": self.host.name,
                "scope": self.scope,
                "name": self.name,
                "file": str(self.file.path),
                "changed": self.needed,
                "written": written,
                "backup": str(self.backup) if self.backup is not None else None,
                "diff": self.diff,
                **self.more,
            },
            indent=2,
        )


def planned(client: str, scope: Scope, name: str, edited: Callable[[Host, str], str]) -> Change:
    """Read the file of a host, and see what it would become.

    Args:
        client: The host's name.
        scope: Which of its files; that of the project is the one in the current folder.
        name: Of the entry.
        edited: The new text, by the host and the old one.

    Raises:
        UsageError: the host has no such scope.
        Unfit: the file is not what the host can read.
        Unable: it cannot be read.
    """
    host = HOSTS[client]
    path = host.file(scope, Path.cwd(), os.environ)
    if path is None:
        raise click.UsageError(f"{host.title} has no files of projects; it knows --scope user")
    try:
        file = read(path)
        return Change(host, scope, name, file, file.text, edited(host, file.text))
    except Malformed as e:
        kind = host.dialect
        raise Unfit(f"{path} is not {kind} that {host.title} can read; left as it is. {e}") from e
    except OSError as e:
        raise Unable(f"{path} cannot be read: {e.strerror}") from e


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments that install and uninstall share."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--dry-run", is_flag=True, help="Show the change and write nothing."),
        click.option(
            "--name",
            default="surefoot",
            show_default=True,
            callback=_checked_name,
            help="The name of the server in the host.",
        ),
        click.option(
            "--scope",
            type=click.Choice([scope.value for scope in Scope]),
            default=Scope.USER.value,
            show_default=True,
            help="For the user in every folder, or for whoever opens the current folder.",
        ),
        click.argument("client", type=click.Choice(list(HOSTS)), metavar="CLIENT"),
    ):
        command = option(command)
    return command


def _checked_name(context: click.Context, parameter: click.Parameter, name: str) -> str:
    del context
    if 1 <= len(name) <= 40 and name.replace("-", "").replace("_", "").isalnum() and name.isascii():
        return name
    raise click.BadParameter("1 to 40 letters, digits, '-' and '_'", param=parameter)
