"""The directories that the file tools may touch, and how a caller's path is opened beneath them."""

import errno
import os
import stat
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.files.beneath import (
    MAX_LINKS,
    O_PATH,
    canonical,
    has_openat2,
    open_beneath,
    split,
)
from surefoot_tools.files.guard import Guard
from surefoot_tools.files.identity import identity, look
from surefoot_tools.files.os_errors import translating
from surefoot_tools.files.path_text import check_text, leaves
from surefoot_tools.files.protected import refuse_kept, refuse_protected
from surefoot_tools.files.special import refuse_unreadable
from surefoot_tools.files.text import visible_name

READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
"""How a file is opened: a pipe does not block, a terminal does not become ours."""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
"""How a directory is opened."""
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

    def identity(self) -> str | None:
        """Names what the name bears (never a followed link), or None; raises `OSError`."""
        return None if self.missing else identity(self.name, self.parent)

    def inspect(self) -> os.stat_result | None:
        """What the name bears (never a followed link), or None.

        Raises:
            OSError: it cannot be looked at.
        """
        return None if self.missing else look(self.name, self.parent)


class Roots:
    """Opens callers' paths beneath a few directories, and nothing outside of them.

    A relative path is looked for in each root in turn; what does not exist yet belongs to the
    first. An absolute path must lie in a root by its own text. Symbolic links that stay inside
    are followed. Directories are opened anew for each path, so that one that was replaced is seen.

    Args:
        directories: The roots, at least one.
        openat2: Whether to use openat2(2); None finds out.
        reserved: Canonical paths that no file tool writes, and what each is.
        names: Some of the directories by name: a relative path that begins with a name means that
            one.
        read_only: Directories in which nothing is changed, roots or inside of one.

    Raises:
        ValueError: there is no root.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        *,
        openat2: bool | None = None,
        reserved: Mapping[Path, str] | None = None,
        names: Mapping[str, Path] | None = None,
        read_only: Collection[Path] = (),
    ) -> None:
        if not directories:
            raise ValueError("at least one root is needed")
        self.directories = tuple(Path(os.path.abspath(each)) for each in directories)
        self._given = openat2, reserved, tuple(read_only)
        self._openat2 = has_openat2() if openat2 is None else openat2
        self._guard = Guard(self.directories, reserved or {}, tuple(read_only))
        self._names = {
            name: self.directories.index(Path(os.path.abspath(directory)))
            for name, directory in (names or {}).items()
            if Path(os.path.abspath(directory)) in self.directories
        }
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
        openat2, reserved, read_only = self._given
        names = {name: self.directories[index] for name, index in self._names.items()}
        return Roots(
            directories, openat2=openat2, reserved=reserved, names=names, read_only=read_only
        )

    def open_file(self, path: str) -> int:
        """Open a regular file with one name for reading; the caller owns the descriptor.

        Raises:
            ToolError: it is not there, leads out, is something else, or has other names too.
        """
        with translating(path):
            descriptor = self._open(path, READING)
        try:
            refuse_unreadable(os.fstat(descriptor), path)
            self._refuse_kept(descriptor, path)
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
            descriptor = self._open(path, DIRECTORY)
        try:
            self._refuse_kept(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

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
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                return False
            self._refuse_kept(descriptor, path)
        except ToolError:
            return False
        finally:
            os.close(descriptor)
        return True

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

    @contextmanager
    def entry(self, path: str, *, writing: bool) -> Generator[Target, None, None]:
        """A name itself, held open for the block; a link that bears it is not followed.

        Args:
            path: As the caller wrote it.
            writing: Whether the name is to be taken away or given to something else.

        Raises:
            ToolError: it leads out, is a root, or may not be written.
        """
        with ExitStack() as stack:
            with translating(path):
                found = self._find_entry(path, stack)
                below = self._home(found.place)[1]
                refuse_kept(below, path)
                if writing:
                    self._guard.refuse_take(found.place, below, path)
            yield found

    def names_root(self, path: str) -> bool:
        """Whether the text of a path names a root itself (ToolError: it lies outside of all)."""
        return not any(split(rest) for _, rest in self._candidates(path))

    def open_home(self, place: str) -> tuple[int, str]:
        """Open the root that a canonical path lies in, and the rest of the path below it.

        Raises:
            OSError: EXDEV, it lies in none.
        """
        index, below = self._home(place)
        return self._open_root(index, os.O_RDONLY), "/".join(below)

    def _candidates(self, path: str) -> list[tuple[int, str]]:
        """The roots in which a path may lie, and its rest beneath each."""
        check_text(path)
        if not path.startswith("/"):
            head, _, rest = path.removeprefix("./").partition("/")
            named = self._names.get(head)
            found = [(index, path) for index in range(len(self.directories))]
            if named is not None and not path.startswith("./"):
                found = [(named, rest)]
        else:
            located = self._locate(path)
            found = [located] if located is not None else []
        if not found or leaves(found[0][1]):
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
            hint=f"paths are relative to, or inside: {', '.join(self._shown_roots())}",
        )

    def _shown_roots(self) -> list[str]:
        names = {
            index: f"{name}/ ({self.directories[index]})" for name, index in self._names.items()
        }
        return [names.get(index, str(each)) for index, each in enumerate(self.directories)]

    def _open_root(self, index: int, how: int = O_PATH) -> int:
        root = self.directories[index]
        try:
            return os.open(root, how | os.O_DIRECTORY | os.O_CLOEXEC)
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
        return cast(Target, first)  # a path has at least one candidate

    def _find_entry(self, path: str, stack: ExitStack) -> Target:
        first: Target | None = None
        for index, rest in self._candidates(path):
            parts = split(rest)
            if not parts or parts[-1] == "..":
                raise ToolError(
                    Code.INVALID_ARGUMENT,
                    f"'{visible_name(path)}' is a root, or ends in '..'",
                    hint="name a file or a directory below the root",
                )
            parent, missing = self._open_parent(index, parts[:-1])
            stack.callback(os.close, parent)
            place = "/".join((canonical(parent).rstrip("/"), *missing, parts[-1]))
            target = Target(path, parent, missing, parts[-1], place)
            if target.inspect() is not None:
                return target
            first = first or target
        return cast(Target, first)

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
                self._guard.refuse_write(place, self._home(place)[1], path)
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
                return self._open_in(index, "/".join(parts[:count]), DIRECTORY), missing
            except FileNotFoundError:
                continue
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _home(self, place: str) -> tuple[int, list[str]]:
        """The root that a canonical path lies in, and its components below that root.

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
                return index, parts[len(above) :]
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def _refuse_kept(self, descriptor: int, path: str) -> None:
        """Whatever way led there: a link, another spelling, a root of its own."""
        place = split(canonical(descriptor))
        for _, root in self._texts:
            if place[: len(root)] == root:
                return refuse_kept(place[len(root) :], path)
        return None
