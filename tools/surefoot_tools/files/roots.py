"""The directories that the file tools may touch, and how a caller's path is opened beneath them."""

import errno
import os
import stat
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.files.beneath import (
    MAX_LINKS,
    O_PATH,
    has_openat2,
    open_beneath,
    split,
)
from surefoot_tools.files.os_errors import translating
from surefoot_tools.files.path_text import check_text
from surefoot_tools.files.protected import refuse_protected, refuse_reserved
from surefoot_tools.files.text import visible_name

READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
"""How a file is opened: a pipe does not block, a terminal does not become ours."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class Target:
    """A name in an open directory beneath a root, whether or not something bears it."""

    path: str
    """As the caller wrote it."""
    parent: int
    """Descriptor of the nearest directory above that exists; open as long as the target is."""
    missing: tuple[str, ...]
    """Directories to make between that one and the name, outermost first."""
    name: str
    place: str
    """Absolute path without symbolic links: the same for every spelling of one name."""

    def inspect(self) -> os.stat_result | None:
        """What the name bears (never a followed link), or None.

        Raises:
            OSError: it cannot be looked at.
        """
        if self.missing:
            return None
        try:
            return os.stat(self.name, dir_fd=self.parent, follow_symlinks=False)
        except FileNotFoundError:
            return None


class Roots:
    """Opens callers' paths beneath a few directories, and nothing outside of them.

    A relative path is looked for in each root in turn; what does not exist yet belongs to the
    first. An absolute path must lie in a root by its own text. Symbolic links that stay inside
    are followed. Directories are opened anew for each path, so that one that was replaced is seen.

    Args:
        directories: The roots, at least one.
        openat2: Whether to use openat2(2); None finds out.
        reserved: Canonical paths that no file tool writes, and what each is.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        *,
        openat2: bool | None = None,
        reserved: Mapping[Path, str] | None = None,
    ) -> None:
        if not directories:
            raise ValueError("at least one root is needed")
        self.directories = tuple(Path(os.path.abspath(each)) for each in directories)
        self._given = openat2, reserved
        self._openat2 = has_openat2() if openat2 is None else openat2
        self._reserved = {str(path): what for path, what in (reserved or {}).items()}
        self._texts = [
            (index, split(text))
            for index, root in enumerate(self.directories)
            for text in dict.fromkeys((str(root), os.path.realpath(root)))
        ]

    def narrowed(self, directories: Sequence[Path]) -> "Roots":
        """Fewer roots: these, each the same as one of ours or a folder inside of it.

        Raises:
            ValueError: one lies outside.
        """
        for each in directories:
            if self._locate(str(each)) is None:
                raise ValueError(f"{each} lies outside the roots")
        openat2, reserved = self._given
        return Roots(directories, openat2=openat2, reserved=reserved)

    def open_file(self, path: str) -> int:
        """Open a regular file with one name for reading; the caller owns the descriptor.

        Raises:
            ToolError: it is not there, leads out, is something else, or has other names too.
        """
        with translating(path):
            descriptor = self._open(path, READING)
        try:
            refuse_unreadable(os.fstat(descriptor), path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def open_directory(self, path: str) -> int:
        """Open a directory for listing; the caller owns the descriptor.

        Raises:
            ToolError: it is not there, leads out, or is something else.
        """
        with translating(path):
            return self._open(path, _DIRECTORY)

    def is_directory(self, path: str) -> bool:
        """Whether the path leads to a directory.

        Raises:
            ToolError: it is not there or leads out.
        """
        with translating(path):
            descriptor = self._open(path, READING)
        try:
            return stat.S_ISDIR(os.fstat(descriptor).st_mode)
        finally:
            os.close(descriptor)

    def is_plain(self, directory: int, path: str) -> bool:
        """Whether a path below an open directory leads, inside of it, to a file `open_file` takes.

        Args:
            directory: Descriptor of a directory.
            path: Relative path, exact.
        """
        try:
            descriptor = open_beneath(
                directory, path, READING, openat2=self._openat2, relocate=lambda _: None
            )
        except OSError:
            return False
        try:
            found = os.fstat(descriptor)
            return stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        finally:
            os.close(descriptor)

    @contextmanager
    def target(self, path: str) -> Generator[Target, None, None]:
        """The name that a write to `path` would replace, held open for the block.

        Raises:
            ToolError: it leads out, is protected, or names a directory by its form.
        """
        with ExitStack() as stack:
            with translating(path):
                found = self._find_target(path, stack)
            yield found

    def _candidates(self, path: str) -> list[tuple[int, str]]:
        """The roots in which a path may lie, and its rest beneath each."""
        check_text(path)
        if not path.startswith("/"):
            found = [(index, path) for index in range(len(self.directories))]
        else:
            located = self._locate(path)
            found = [located] if located is not None else []
        if not found or _leaves(found[0][1]):
            raise self._outside(path)
        return found

    def _locate(self, path: str) -> tuple[int, str] | None:
        parts = split(path)
        for index, text in self._texts:
            if parts[: len(text)] == text:
                return index, "/".join(parts[len(text) :])
        return None

    def _outside(self, path: str) -> ToolError:
        return ToolError(
            Code.PERMISSION_DENIED,
            f"'{visible_name(path)}' lies outside the roots",
            hint=f"paths are relative to, or inside: {', '.join(map(str, self.directories))}",
        )

    def _open_root(self, index: int) -> int:
        root = self.directories[index]
        try:
            return os.open(root, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"the root '{root}' cannot be opened: {error.strerror}",
                origin=Origin.ENVIRONMENT,
            ) from error

    def _relocate(self, target: str) -> tuple[int, str] | None:
        located = self._locate(target)
        return None if located is None else (self._open_root(located[0]), located[1])

    def _open_in(self, index: int, rest: str, flags: int) -> int:
        root = self._open_root(index)
        try:
            return open_beneath(root, rest, flags, openat2=self._openat2, relocate=self._relocate)
        finally:
            os.close(root)

    def _open(self, path: str, flags: int) -> int:
        absent: OSError | None = None
        for index, rest in self._candidates(path):
            try:
                return self._open_in(index, rest, flags)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = absent or error
        raise absent or OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _find_target(self, path: str, stack: ExitStack) -> Target:
        candidates = self._candidates(path)
        if path.endswith("/"):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        first: Target | None = None
        for index, rest in candidates:
            target = self._resolve(index, rest, path, stack)
            if target.inspect() is not None:
                return target
            first = first or target
        assert first is not None, "a path has at least one candidate"  # noqa: S101 - for the types
        return first

    def _resolve(self, index: int, rest: str, path: str, stack: ExitStack) -> Target:
        """Follow the links that the name itself may be, to the name that is to be replaced."""
        refuse_protected(split(rest), path)
        for _ in range(MAX_LINKS):
            parts = split(rest)
            if not parts or parts[-1] == "..":
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            parent, missing = self._open_parent(index, parts[:-1])
            stack.callback(os.close, parent)
            above = canonical(parent)
            place = "/".join((above.rstrip("/"), *missing, parts[-1]))
            target = Target(path, parent, missing, parts[-1], place)
            found = target.inspect()
            if found is None or not stat.S_ISLNK(found.st_mode):
                refuse_protected(self._below_root(place), path)
                refuse_reserved(self._reserved.get(place), path)
                return target
            link = os.readlink(target.name, dir_fd=parent)
            if not link.startswith("/"):
                rest = "/".join((*parts[:-1], link))
                continue
            located = self._locate(link)
            if located is None:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            index, rest = located
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _open_parent(self, index: int, parts: list[str]) -> tuple[int, tuple[str, ...]]:
        """The nearest directory of a path that exists, and the names that do not."""
        for count in range(len(parts), -1, -1):
            missing = tuple(parts[count:])
            if ".." in missing:
                break
            try:
                return self._open_in(index, "/".join(parts[:count]), _DIRECTORY), missing
            except FileNotFoundError:
                continue
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _below_root(self, place: str) -> list[str]:
        """The components of a canonical path below its root.

        Raises:
            OSError: EXDEV, a directory was moved out of the roots just now.
        """
        parts = split(place)
        for index, _ in enumerate(self.directories):
            root = self._open_root(index)
            try:
                above = split(canonical(root))
            finally:
                os.close(root)
            if parts[: len(above)] == above:
                return parts[len(above) :]
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def _leaves(rest: str) -> bool:
    """Whether the text of a relative path, links aside, climbs above its start."""
    depth = 0
    for part in split(rest):
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def refuse_special(found: os.stat_result, path: str) -> None:
    """Let regular files through.

    Raises:
        ToolError: FAILED_PRECONDITION for a directory, pipe, device or socket.
    """
    if stat.S_ISREG(found.st_mode):
        return
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFLNK: "a symbolic link",
    }
    kind = kinds.get(stat.S_IFMT(found.st_mode), "something else")
    raise ToolError(
        Code.FAILED_PRECONDITION,
        f"'{visible_name(path)}' is {kind}, not a regular file",
        hint="list_directory shows what is in it" if kind == "a directory" else None,
    )


def refuse_unreadable(found: os.stat_result, path: str) -> None:
    """Let regular files with a single name through.

    Raises:
        ToolError: as `refuse_special`; PERMISSION_DENIED for a file with further hard links, which
            may lie outside the roots and no look at the path can tell.
    """
    refuse_special(found, path)
    if found.st_nlink > 1:
        raise ToolError(
            Code.PERMISSION_DENIED,
            f"'{visible_name(path)}' is a hard link: the same file has {found.st_nlink} names, "
            "some may lie outside the roots",
            hint="make a copy of it with its own name, then use that",
        )


def canonical(directory: int) -> str:
    """The absolute path of an open directory, without symbolic links.

    Raises:
        OSError: the system does not say.
    """
    if sys.platform == "darwin":
        import fcntl

        get_path = 50  # F_GETPATH of fcntl.h, which Python 3.11 does not name everywhere
        return os.fsdecode(fcntl.fcntl(directory, get_path, bytes(1024)).rstrip(b"\0"))
    return os.readlink(f"/proc/self/fd/{directory}")


def join_shown(path: str, below: str) -> str:
    """A path below one that the caller wrote, in a form that the caller can use again."""
    start = "/".join(split(path))
    if path.startswith("/"):
        start = "/" + start
    if not below:
        return start or "."
    return f"{start.rstrip('/')}/{below}" if start else below
