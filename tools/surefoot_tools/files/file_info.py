"""The tool `file_info`: what bears a name, without its content."""

import os
import stat

from pydantic import Field

from surefoot_tools import tool
from surefoot_tools.files.atomic import LARGEST, state_of
from surefoot_tools.files.list_directory import Kind, kind_of_entry, time_text
from surefoot_tools.files.os_errors import translated, translating
from surefoot_tools.files.rooted import Rooted
from surefoot_tools.files.roots import READING, Roots, Target
from surefoot_tools.files.text import visible_name
from surefoot_tools.files.threads import in_thread
from surefoot_tools.tool import Context, Effect, Evidence, Group, Tool


class FileInfoArguments(tool.Arguments):
    """Arguments of `file_info`."""

    path: str = Field(description="Relative to, or inside, a root.")


class FileInfoResult(tool.Result):
    """What bears a name."""

    path: str
    """As the caller wrote it."""
    type: Kind
    size: int | None
    """Bytes, of a file."""
    modified: str | None
    """RFC 3339, UTC; None for a time that no calendar has."""
    mode: str
    """Permissions, octal."""
    sha256: str | None
    """Hexadecimal; None for what is no file, is larger than 64 MiB or has other names too."""

    def as_text(self) -> str:
        """One line."""
        parts = [f"{visible_name(self.path)}: {self.type}", f"mode {self.mode}"]
        parts += [f"{self.size} bytes"] * (self.size is not None)
        parts += [f"modified {self.modified}"] * (self.modified is not None)
        parts += [f"sha256 {self.sha256}"] * (self.sha256 is not None)
        return ", ".join(parts)


class FileInfo(Rooted, Tool[FileInfoArguments, FileInfoResult]):
    """Looks at a name; a symbolic link at its end is looked at itself."""

    name = "file_info"
    title = "File info"
    description = (
        "Type, size, time of modification, mode and sha256 of a path. A symbolic link is not "
        "followed."
    )
    group = Group.FILES
    effect = Effect.SAFE
    repeatable = True
    Arguments = FileInfoArguments
    Result = FileInfoResult

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    async def run(
        self, arguments: FileInfoArguments, evidence: Evidence, context: Context
    ) -> FileInfoResult:
        """Look, and hash a file, in a worker thread."""
        return await in_thread(lambda: _look(self._roots, arguments.path))


def _look(roots: Roots, path: str) -> FileInfoResult:
    if roots.names_root(path):
        directory = roots.open_directory(path)
        try:
            return _described(path, os.fstat(directory), None)
        finally:
            os.close(directory)
    with roots.entry(path, writing=False) as target, translating(path):
        found = target.inspect()
        if found is None:
            raise translated(FileNotFoundError(2, ""), path)
        if not stat.S_ISREG(found.st_mode):
            return _described(path, found, None)
        return _file(target)


def _file(target: Target) -> FileInfoResult:
    descriptor = os.open(target.name, READING | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target.parent)
    try:
        found = os.fstat(descriptor)
        digest = None
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_size <= LARGEST:
            digest = state_of(descriptor).removeprefix("sha256:")
        return _described(target.path, found, digest)
    finally:
        os.close(descriptor)


def _described(path: str, found: os.stat_result, digest: str | None) -> FileInfoResult:
    kind = kind_of_entry(found)
    return FileInfoResult(
        path=path,
        type=kind,
        size=found.st_size if kind == "file" else None,
        modified=time_text(found.st_mtime),
        mode=f"{stat.S_IMODE(found.st_mode):04o}",
        sha256=digest,
    )
