"""Roots on the command line: `DIR`, `NAME=DIR`, `DIR?mode=ro`."""

import re
from dataclasses import dataclass
from pathlib import Path

import click

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_MODES = {"": False, "mode=rw": False, "mode=ro": True}


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that the tools work in."""

    path: Path
    """Absolute, without links."""
    name: str | None = None
    """Paths that begin with it mean this root."""
    read_only: bool = False


class RootType(click.ParamType[Root]):
    """The type of `--root`. A folder whose own name looks like more is taken for what it is."""

    name = "[NAME=]DIR[?mode=ro]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Root:
        """The folder, if there is one."""
        if isinstance(value, Root):
            return value
        name, folder, mode = split(str(value))
        if mode not in _MODES:
            self.fail(f"{mode!r} after the '?' is neither mode=ro nor mode=rw", param, ctx)
        path = Path(folder)
        if not path.is_dir():
            self.fail(f"folder {folder!r} does not exist", param, ctx)
        return Root(path.resolve(), name, _MODES[mode])


ROOT = RootType()


def split(text: str, above: Path = Path()) -> tuple[str | None, str, str]:
    """Name, folder and what follows the '?' of a root.

    Args:
        text: As it was given.
        above: What its folder is relative to.
    """
    if (above / text).is_dir():
        return None, text, ""
    folder, _, mode = text.partition("?")
    name, equals, rest = folder.partition("=")
    if equals and _NAME.fullmatch(name) and not (above / folder).is_dir():
        return name, rest, mode
    return None, folder, mode


def beside(above: Path, text: str) -> str:
    """The same root, its folder absolute."""
    name, folder, mode = split(text, above)
    placed = f"{above / folder}" + (f"?{mode}" if mode else "")
    return placed if name is None else f"{name}={placed}"


def names_of(roots: tuple[Root, ...]) -> dict[str, Path]:
    """The folders that have a name.

    Raises:
        UsageError: two have the same.
    """
    names: dict[str, Path] = {}
    for root in roots:
        if root.name is not None and names.setdefault(root.name, root.path) != root.path:
            raise click.UsageError(f"--root: {root.name!r} names two folders")
    return names
