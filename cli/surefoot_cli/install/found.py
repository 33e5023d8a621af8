"""What is registered with the hosts of this machine, for `surefoot doctor`."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from surefoot_cli.finding import Finding
from surefoot_cli.install.edit import entries
from surefoot_cli.install.file import read
from surefoot_cli.install.hosts import HOSTS, Host, Scope
from surefoot_cli.install.jsonc import Malformed


def host_findings(project: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """One finding a host, or one for each of its files that holds surefoot."""
    for host in HOSTS.values():
        files = {scope: host.file(scope, project, environment) for scope in Scope}
        there = {scope: path for scope, path in files.items() if path and path.is_file()}
        user = files[Scope.USER]
        assert user is not None  # noqa: S101 - for the type checker: every host has one
        if not there and not (user.parent.is_dir() and user.parent != Path.home()):
            yield Finding(host.title, True, "not found on this machine")
            continue
        told = [
            finding for scope, path in there.items() for finding in _registered(host, scope, path)
        ]
        fix = f"surefoot install {host.name}"
        yield from told or [Finding(host.title, True, "found; surefoot is not registered", fix)]


def _registered(host: Host, scope: Scope, path: Path) -> Iterator[Finding]:
    try:
        found = entries(read(path).text, host.holder, host.dialect)
    except (Malformed, OSError) as e:
        fix = f"mend it by hand: {host.title} cannot read it either"
        yield Finding(host.title, True, f"{path} cannot be read: {e}", fix)
        return
    for name, entry in found.items():
        if not isinstance(entry, dict):
            continue
        command = _command(cast("dict[str, Any]", entry))
        if name != "surefoot" and not any(_names_us(word) for word in command):
            continue
        where = f"registered as {name} in {path}"
        if not command or _exists(command[0], path.parent):
            yield Finding(host.title, True, where)
            continue
        again = f"surefoot install {host.name} --scope {scope} --name {name}"
        yield Finding(host.title, False, f"{where}; there is no {command[0]}", again)


def _command(entry: dict[str, Any]) -> list[str]:
    """The words that an entry starts; none of a remote one."""
    args = entry.get("args")
    words = [entry.get("command"), *(cast("list[Any]", args) if isinstance(args, list) else [])]
    return [word for word in words if isinstance(word, str)] if "command" in entry else []


def _names_us(word: str) -> bool:
    return Path(word).name in ("surefoot", "surefoot_cli") or word.startswith("surefoot@")


def _exists(program: str, folder: Path) -> bool:
    """Whether a host finds a program; what it puts variables in for is not looked at."""
    if "${" in program:
        return True
    if os.sep in program:
        return os.access(folder / Path(program).expanduser(), os.X_OK)
    return shutil.which(program) is not None
