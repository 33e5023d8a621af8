"""The tool `list_directory`: what is in a directory, a few levels deep, within bounds."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from surefoot_tools import tool
from surefoot_tools.files.os_errors import translating
from surefoot_tools.files.path_text import join_shown
from surefoot_tools.files.protected import FOLDER
from surefoot_tools.files.rooted import Rooted
from surefoot_tools.files.roots import Roots
from surefoot_tools.files.text import TEXT_LIMIT, bounded, exact_name, visible_name
from surefoot_tools.files.threads import in_thread, stop_if_cancelled
from surefoot_tools.tool import Context, Effect, Evidence, Group, Tool

DEEPEST = 100
"""Levels walked at most: each holds a descriptor open."""
MOST_NAMES = 200_000
"""Names looked at in one call at most."""


class ListDirectoryArguments(tool.Arguments):
    """Arguments of `list_directory`."""

    path: str = Field(".", description="Relative to, or inside, a root.")
    depth: int = Field(1, ge=1, le=100_000, description="Levels; at most 100 are walked.")
    glob: str | None = Field(
        None,
        max_length=1000,
        description="Only entries whose path below the directory matches; * matches / too.",
    )
    hidden: bool = Field(False, description="Also names that begin with a dot.")
    limit: int = Field(1000, ge=1, le=100_000, description="Entries at most.")


Kind: TypeAlias = Literal["file", "directory", "symlink", "other"]


class Entry(BaseModel):
    """One entry of a directory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    r"""To be used as it is by other tools; bytes that are not UTF-8 are shown as \xNN."""
    type: Kind
    size: int | None
    """Bytes, of a file."""
    modified: str | None
    """RFC 3339, UTC; None for a time that no calendar has."""


class ListDirectoryResult(tool.Result):
    """What is in a directory."""

    path: str
    """As the caller wrote it."""
    entries: list[Entry]
    """Sorted by path."""
    truncated: bool
    """Whether a limit cut the list, or a directory could not be looked into."""

    def as_text(self) -> str:
        """A head line, then an entry a line: `path/` or `path  size`."""
        shown, count = bounded(map(_line, self.entries), TEXT_LIMIT)
        head = f"{visible_name(self.path)}: {len(self.entries)} entries"
        if self.truncated:
            head += ", and there are more: narrow it by path or glob, or raise limit"
        if count < len(self.entries):
            head += f"; the first {count} are shown, narrow it by path or glob"
        return f"{head}\n{shown}" if shown else head


class ListDirectory(Rooted, Tool[ListDirectoryArguments, ListDirectoryResult]):
    """Lists a directory; symbolic links are listed, never followed."""

    name = "list_directory"
    title = "List directory"
    description = (
        "List a directory: path, type, size and time of modification of each entry, down to depth "
        "levels, filtered by glob (*.py). Hidden names only if asked for. To look into files use "
        "search_files or read_file."
    )
    group = Group.FILES
    effect = Effect.SAFE
    repeatable = True
    Arguments = ListDirectoryArguments
    Result = ListDirectoryResult

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    async def run(
        self, arguments: ListDirectoryArguments, evidence: Evidence, context: Context
    ) -> ListDirectoryResult:
        """Walk in a worker thread; stops between two directories when cancelled."""
        return await in_thread(lambda: _list(self._roots, arguments))


def _list(roots: Roots, arguments: ListDirectoryArguments) -> ListDirectoryResult:
    with translating(arguments.path), ExitStack() as stack:
        walk = _Walk(arguments, stack)
        walk.go(roots.open_directory(arguments.path))
        return ListDirectoryResult(
            path=arguments.path,
            entries=sorted(walk.entries, key=lambda entry: entry.path),
            truncated=walk.truncated,
        )


@dataclass(slots=True)
class _Level:
    descriptor: int
    below: str
    """Path from where the walk began, with a slash at its end unless empty."""
    names: Iterator[str]


@dataclass(slots=True)
class _Walk:
    """A walk in order of names, with a stack of its own instead of the interpreter's."""

    arguments: ListDirectoryArguments
    stack: ExitStack
    entries: list[Entry] = field(default_factory=list[Entry])
    truncated: bool = False
    looked_at: int = 0

    def go(self, descriptor: int) -> None:
        """Gather the entries; owns and closes the descriptor."""
        depth = min(self.arguments.depth, DEEPEST)
        levels: list[_Level] = []
        self.stack.callback(_close_all, levels)
        levels.append(_Level(descriptor, "", iter(())))
        levels[0].names = self._names(descriptor)
        while levels and not (self.truncated and self._enough()):
            level = levels[-1]
            name = next(level.names, None)
            if name is None:
                os.close(levels.pop().descriptor)
                continue
            if not self._visit(level, name):
                continue
            if len(levels) < depth:
                self._descend(levels, name)
            elif depth < self.arguments.depth:
                self.truncated = True

    def _enough(self) -> bool:
        return len(self.entries) >= self.arguments.limit or self.looked_at >= MOST_NAMES

    def _names(self, descriptor: int) -> Iterator[str]:
        stop_if_cancelled()
        names: list[str] = []
        with os.scandir(descriptor) as found:
            for each in found:
                if self.looked_at >= MOST_NAMES:
                    self.truncated = True
                    break
                self.looked_at += 1
                if each.name.casefold() == FOLDER:
                    continue
                if self.arguments.hidden or not each.name.startswith("."):
                    names.append(each.name)
        return iter(sorted(names))

    def _visit(self, level: _Level, name: str) -> bool:
        """Take the entry if it is wanted; whether it is a directory."""
        try:
            found = os.stat(name, dir_fd=level.descriptor, follow_symlinks=False)
        except OSError:
            return False
        below = level.below + name
        if matches(below, self.arguments.glob):
            if len(self.entries) >= self.arguments.limit:
                self.truncated = True
                return False
            self.entries.append(_entry(join_shown(self.arguments.path, below), found))
        return stat.S_ISDIR(found.st_mode)

    def _descend(self, levels: list[_Level], name: str) -> None:
        above = levels[-1]
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=above.descriptor)
        except OSError:
            self.truncated = True
            return
        levels.append(_Level(descriptor, f"{above.below}{name}/", iter(())))
        levels[-1].names = self._names(descriptor)


def _close_all(levels: list[_Level]) -> None:
    for level in levels:
        os.close(level.descriptor)


def matches(below: str, glob: str | None) -> bool:
    """Whether a path below the directory matches; `**/` at the head also matches nothing."""
    if glob is None or fnmatchcase(below, glob):
        return True
    return glob.startswith("**/") and fnmatchcase(below, glob[3:])


def kind_of_entry(found: os.stat_result) -> Kind:
    """What bears a name, a link itself."""
    kinds: dict[int, Kind] = {
        stat.S_IFREG: "file",
        stat.S_IFDIR: "directory",
        stat.S_IFLNK: "symlink",
    }
    return kinds.get(stat.S_IFMT(found.st_mode), "other")


def _entry(path: str, found: os.stat_result) -> Entry:
    kind = kind_of_entry(found)
    size = found.st_size if kind == "file" else None
    return Entry(path=exact_name(path), type=kind, size=size, modified=time_text(found.st_mtime))


def time_text(seconds: float) -> str | None:
    """A time of modification as RFC 3339, UTC; None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return None


def _line(entry: Entry) -> str:
    shown = visible_name(entry.path)
    if entry.type == "directory":
        return f"{shown}/"
    note = f"{entry.size} bytes" if entry.type == "file" else entry.type
    return f"{shown}  {note}"
