"""Replace a file's content as a whole: the old one or the new one is there, never a mixture.

The new content goes to a temporary file beside the old one, is flushed, and takes over its name;
then the directory is flushed. What is there before and after is known beforehand by hash, so that
a crash at any point can be told from its traces.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from pydantic import BaseModel, ConfigDict

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files.os_errors import translated, translating
from surefoot_tools.files.renaming import rename_new
from surefoot_tools.files.roots import READING, Roots, Target
from surefoot_tools.files.settled import unconfirmed
from surefoot_tools.files.special import refuse_special, refuse_unreadable
from surefoot_tools.files.text import visible_name
from surefoot_tools.files.threads import in_thread
from surefoot_tools.tool import Context

LARGEST = 64 * 1024 * 1024
"""Bytes of the largest file that is read whole, hashed, or copied."""
CHUNK = 256 * 1024
"""Bytes read at a time."""
_NEW_MODE = 0o644
_FIELDS = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")


class Change(BaseModel):
    """The evidence of one replacement: enough to find out what became of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    """As the caller wrote it."""
    place: str
    """Canonical absolute path of the name that is replaced."""
    before: str | None
    """State before (`state_of`), None when there is no file."""
    after: str
    """State after."""
    temporary: str
    """Name of the temporary file, in the same directory."""
    result: dict[str, Any]
    """What the call answers when it has happened."""


Produce = Callable[[int | None], Iterable[bytes]]
"""The new content from a descriptor of the old file, or None: chunks in order."""


def temporary_name(context: Context) -> str:
    """The name of a call's temporary file."""
    return f".surefoot-{context.call_id}.tmp"


def sha256_state(digest: str) -> str:
    """The state of a file whose SHA-256 is `digest` (hexadecimal)."""
    return f"sha256:{digest}"


def read_chunks(descriptor: int, size: int) -> Iterable[bytes]:
    """At most `size` bytes of a file from its start."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    while size > 0 and (chunk := os.read(descriptor, min(CHUNK, size))):
        size -= len(chunk)
        yield chunk


def state_of(descriptor: int) -> str:
    """What a file holds: its hash; of a file above 64 MiB, or with other names, its identity.

    Content behind a hard link may lie outside the roots, so that not even its hash is taken.
    """
    found = os.fstat(descriptor)
    if found.st_size > LARGEST or found.st_nlink > 1:
        return f"stat:{found.st_size}:{found.st_mtime_ns}:{found.st_ino}"
    digest = hashlib.sha256()
    for chunk in read_chunks(descriptor, LARGEST + 1):
        digest.update(chunk)
    return sha256_state(digest.hexdigest())


def open_old(target: Target, stack: ExitStack, *, reading: bool = False) -> int | None:
    """The file that bears the target's name, open until `stack` closes, or None.

    Args:
        target: Where to look.
        stack: Owns the descriptor.
        reading: Whether its content will be used: then other hard links are refused.

    Raises:
        OSError: it cannot be opened.
        ToolError: it is no regular file.
    """
    found = target.inspect()
    if found is None:
        return None
    refuse_special(found, target.path)
    flags = READING | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        old = os.open(target.name, flags, dir_fd=target.parent)
    except FileNotFoundError:
        return None
    stack.callback(os.close, old)
    (refuse_unreadable if reading else refuse_special)(os.fstat(old), target.path)
    return old


async def carry_out(roots: Roots, change: Change, produce: Produce, context: Context) -> None:
    """Make the change, all or nothing; cancelled before the rename, it leaves nothing behind.

    Args:
        roots: Where the path is looked up again.
        change: The evidence of the call.
        produce: The new content.
        context: Learns what became of a cancelled call.

    Raises:
        ToolError: ABORTED when something else changed the file since; `applied` is unknown only
            when the directory could not be flushed or the rename's end is not known.
    """
    cancelled = anyio.get_cancelled_exc_class()
    try:
        staged = await in_thread(lambda: _stage(roots, change, produce))
        try:
            await checkpoint()
        except cancelled:
            with anyio.CancelScope(shield=True):
                await in_thread(staged.discard)
            raise
    except cancelled:
        shown = visible_name(change.path)
        context.interrupted = ToolError(
            Code.CANCELLED, f"cancelled before '{shown}' was changed", applied=Applied.NO
        )
        raise
    with anyio.CancelScope(shield=True):
        await in_thread(staged.commit)


def _stage(roots: Roots, change: Change, produce: Produce) -> "Staged":
    with translating(change.path), ExitStack() as stack:
        target = stack.enter_context(roots.target(change.path))
        old = open_old(target, stack)
        # Before the hash: a change that comes later shows in the times or the size.
        seen = None if old is None else os.fstat(old)
        state = None if old is None else state_of(old)
        if target.place != change.place or state != change.before:
            raise changed_since(change.path)
        staged = Staged(change, target.parent, target.name, seen, stack)
        try:
            staged.make_parents(target.missing)
            staged.write(produce(old))
        except BaseException:
            staged.discard_files()
            raise
        staged.keep(stack.pop_all())
        return staged


def changed_since(path: str) -> ToolError:
    """Something else wrote to the file between two looks."""
    return ToolError(
        Code.ABORTED,
        f"'{visible_name(path)}' was changed by something else meanwhile; it was left as it is",
        hint="read_file, then decide again",
    )


@dataclass(slots=True)
class Staged:
    """A change whose new content lies flushed beside the old one."""

    change: Change
    parent: int
    name: str
    seen: os.stat_result | None
    """The old file when it was looked at, None if there was none."""
    stack: ExitStack
    made: "Made" = field(default_factory=list[tuple[int, str]])

    def keep(self, stack: ExitStack) -> None:
        """Own the descriptors from now on."""
        self.stack = stack

    def make_parents(self, missing: Iterable[str]) -> None:
        """Make the directories that the path needs, each flushed into the one above."""
        self.parent = make_parents(self.parent, missing, self.made, self.stack)

    def write(self, chunks: Iterable[bytes]) -> None:
        """Write and flush the temporary file; its mode and owner are those of the old one."""
        descriptor = self._create()
        try:
            digest = hashlib.sha256()
            for chunk in chunks:
                digest.update(chunk)
                _write_all(descriptor, chunk)
            if sha256_state(digest.hexdigest()) != self.change.after:
                raise changed_since(self.change.path)
            if self.seen is not None:
                _copy_rights(self.seen, descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _create(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        temporary = self.change.temporary
        # What replaces a file gets that file's mode at the end, and is nobody else's until then.
        mode = _NEW_MODE if self.seen is None else 0o600
        try:
            return os.open(temporary, flags, mode, dir_fd=self.parent)
        except FileExistsError:
            # Left by an earlier attempt of this call that a crash ended; the name bears its id.
            os.unlink(temporary, dir_fd=self.parent)
            return os.open(temporary, flags, mode, dir_fd=self.parent)

    def commit(self) -> None:
        """Let the new content take the name, and flush the directory.

        Raises:
            ToolError: with `applied` honest.
        """
        with self.stack:
            try:
                self._check_name()
                self._rename()
            except ToolError:
                self.discard_files()
                raise
            except OSError as error:
                applied = Applied.NO if self._temporary_is_there() else Applied.UNKNOWN
                self.discard_files()
                raise translated(error, self.change.path, applied=applied) from error
            try:
                os.fsync(self.parent)
            except OSError as error:
                unconfirmed(self.change.temporary)
                raise translated(error, self.change.path, applied=Applied.UNKNOWN) from error

    def discard(self) -> None:
        """Leave everything as it was."""
        with self.stack:
            self.discard_files()

    def discard_files(self) -> None:
        """Remove the temporary file and the directories made for it, as far as possible."""
        with suppress(OSError):
            os.unlink(self.change.temporary, dir_fd=self.parent)
        remove_parents(self.made)

    def _check_name(self) -> None:
        """The name still bears the file that was looked at, unchanged."""
        try:
            found = os.stat(self.name, dir_fd=self.parent, follow_symlinks=False)
        except FileNotFoundError:
            found = None
        if found is None or self.seen is None:
            same = found is self.seen
        else:
            same = all(getattr(found, each) == getattr(self.seen, each) for each in _FIELDS)
        if not same:
            raise changed_since(self.change.path)

    def _rename(self) -> None:
        temporary = self.change.temporary
        if self.seen is not None:
            os.rename(temporary, self.name, src_dir_fd=self.parent, dst_dir_fd=self.parent)
            return
        try:
            rename_new(temporary, self.name, self.parent, self.parent)
        except FileExistsError as error:
            raise changed_since(self.change.path) from error

    def _temporary_is_there(self) -> bool:
        try:
            os.stat(self.change.temporary, dir_fd=self.parent, follow_symlinks=False)
        except OSError:
            return False
        return True


Made = list[tuple[int, str]]
"""Directories that were made: the parent's descriptor and the name, outermost first."""


def make_parents(parent: int, missing: Iterable[str], made: Made, stack: ExitStack) -> int:
    """Make directories one in the other, each flushed into the one above; the innermost, open.

    Args:
        parent: Descriptor of the one to begin in.
        missing: Their names, outermost first.
        made: Gets those that were not there.
        stack: Owns the descriptors.
    """
    for name in missing:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
            made.append((parent, name))
            os.fsync(parent)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        parent = os.open(name, flags, dir_fd=parent)
        stack.callback(os.close, parent)
    return parent


def remove_parents(made: Made) -> None:
    """Take back what `make_parents` made, as far as nobody uses it."""
    for parent, name in reversed(made):
        with suppress(OSError):
            os.rmdir(name, dir_fd=parent)


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _copy_rights(old: os.stat_result, descriptor: int) -> None:
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & 0o777)
