"""The command that a host starts surefoot by.

A host with windows has not the PATH of a terminal, so the command is absolute. It is the
interpreter that runs now, and not the script `surefoot` beside it, because only an interpreter can
be told to leave PYTHONPATH (`-E`) and the folder that it starts in (`-P`) alone: a workspace with
a `click.py` or a `logging.py` would run its own code in our place. The same by variables in `env`
would reach every command that the server runs.

An environment that `uvx` or `pipx run` made goes away, so there it is their command that is
written, with our version, or with the place we were installed from.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

ALONE = ("-E", "-P", "-m", "surefoot_cli")
_UV_CACHE = re.compile(r"(?:archive|environments|builds)-v\d+")


class NoLauncher(Exception):
    """The program that started us cannot be found again."""


@dataclass(frozen=True, slots=True)
class Installation:
    """How this surefoot came to be on the machine."""

    prefix: Path
    """Of the environment (`sys.prefix`)."""
    interpreter: Path
    """`sys.executable`, links not followed: the link is what makes it that environment's."""
    version: str
    origin: str | None
    """`direct_url.json` of the package: where it came from, if not from a registry (PEP 610)."""


def command(found: Installation, environment: Mapping[str, str]) -> tuple[str, ...]:
    """What starts `surefoot`, arguments to follow.

    Raises:
        NoLauncher: we were started by uvx or pipx, and it is not there.
    """
    if any(_UV_CACHE.fullmatch(part) for part in found.prefix.parts):
        return _uvx(found, environment)
    if found.prefix.parent.name == ".cache" and (found.prefix / "pipx_metadata.json").exists():
        return _pipx(found)
    return (str(found.interpreter), *ALONE)


def _uvx(found: Installation, environment: Mapping[str, str]) -> tuple[str, ...]:
    uv = environment.get("UV")
    beside = Path(uv).with_name("uvx") if uv else None
    program = str(beside) if beside is not None and beside.exists() else shutil.which("uvx")
    if program is None:
        raise NoLauncher("uvx started this, and there is no uvx on the PATH")
    place = _place(found.origin)
    if place is None:
        return (program, f"surefoot@{found.version}")
    return (program, "--from", place, "surefoot")


def _pipx(found: Installation) -> tuple[str, ...]:
    program = shutil.which("pipx")
    if program is None:
        raise NoLauncher("pipx started this, and there is no pipx on the PATH")
    place = _place(found.origin)
    if place is None:
        return (program, "run", f"surefoot=={found.version}")
    return (program, "run", "--spec", place, "surefoot")


def _place(origin: str | None) -> str | None:
    """A path or URL that installers take; None for a package of a registry."""
    if origin is None:
        return None
    url: str = json.loads(origin)["url"]
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme == "file" else url
