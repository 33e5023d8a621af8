"""Where what was deleted is kept: a folder in each root, on the same file system, one entry a call.

    ROOT/.surefoot/.gitignore         everything in here is ignored
    ROOT/.surefoot/trash/CALL_ID/item        what bore the name
    ROOT/.surefoot/trash/CALL_ID/entry.json  its name
    ROOT/.surefoot/trash/CALL_ID/restored    it was brought back

To delete is to rename into an entry. No tool looks into it; `surefoot restore` brings things back.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress

from pydantic import BaseModel, ConfigDict, ValidationError

from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.files.identity import identity, look
from surefoot_tools.files.protected import FOLDER
from surefoot_tools.files.renaming import rename_new

ITEM = "item"
_ENTRY = "entry.json"
_RESTORED = "restored"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LARGEST_NOTE = 64 * 1024
"""Bytes of an `entry.json` that is read."""


class Note(BaseModel):
    """What an entry says of itself."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Below the root."""


def _folder(root: int, stack: ExitStack, *, make: bool) -> int:
    """The trash of an open root, open until `stack` closes.

    Raises:
        FileNotFoundError: there is none, and none was to be made.
        ToolError: something else bears its name.
    """
    opened = root
    for name in (FOLDER, "trash"):
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=opened)
                os.fsync(opened)
        try:
            below = os.open(name, _OPEN, dir_fd=opened)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"the trash cannot be used: {FOLDER} in the root is not surefoot's own folder "
                f"({error.strerror})",
                origin=Origin.ENVIRONMENT,
                hint="ask the person to look at it",
            ) from error
        stack.callback(os.close, below)
        if name == FOLDER and make:
            _write(below, ".gitignore", b"*\n", os.O_EXCL)
        opened = below
    return opened


def _write(directory: int, name: str, content: bytes, how: int) -> None:
    """Write and flush a small file; with O_EXCL one that is there stays."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | how
    try:
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    except FileExistsError:
        return
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Entry:
    """One entry of a trash, held open.

    Args:
        folder: Descriptor of the trash.
        trash_id: The id of the call that deletes.
        directory: Descriptor of the entry's own folder.
    """

    def __init__(self, folder: int, trash_id: str, directory: int) -> None:
        self._folder = folder
        self.trash_id = trash_id
        self.directory = directory

    def identity(self) -> str | None:
        """Of what lies in it."""
        return identity(ITEM, self.directory)

    def note(self) -> Note | None:
        """What it says of itself; None if that cannot be read."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(_ENTRY, flags, dir_fd=self.directory)
        except OSError:
            return None
        try:
            return Note.model_validate_json(os.read(descriptor, _LARGEST_NOTE))
        except (OSError, ValidationError):
            return None
        finally:
            os.close(descriptor)

    def take(self, name: str, parent: int) -> None:
        """Move what bears a name into it; not flushed yet.

        Raises:
            OSError: as of rename(2).
        """
        rename_new(name, ITEM, parent, self.directory)

    def give_back(self, name: str, parent: int) -> None:
        """Move what lies in it to a name that nobody bears; not flushed yet.

        Raises:
            OSError: as of rename(2).
        """
        rename_new(ITEM, name, self.directory, parent)

    def flush(self) -> None:
        """Make sure that it is on the device.

        Raises:
            OSError: as of fsync(2).
        """
        os.fsync(self.directory)
        os.fsync(self._folder)

    @property
    def restored(self) -> bool:
        """Whether it was brought back, or is about to be."""
        return look(_RESTORED, self.directory) is not None

    def mark_restored(self) -> None:
        """Remember that it is brought back: a call whose end is not recorded did happen."""
        _write(self.directory, _RESTORED, b"", os.O_EXCL)

    def remove(self) -> None:
        """Remove an entry in which nothing lies, as far as possible."""
        if self.identity() is not None:
            return
        for name in (_ENTRY, _RESTORED):
            with suppress(OSError):
                os.unlink(name, dir_fd=self.directory)
        with suppress(OSError):
            os.rmdir(self.trash_id, dir_fd=self._folder)

    def purge(self) -> None:
        """Remove it with all that lies in it, for good; what cannot be removed stays."""
        shutil.rmtree(self.trash_id, ignore_errors=True, dir_fd=self._folder)

    def since(self) -> float:
        """When it was made: seconds since the epoch."""
        found = look(_ENTRY, self.directory) or os.fstat(self.directory)
        return found.st_mtime


@contextmanager
def new_entry(root: int, trash_id: str, path: str) -> Generator[Entry, None, None]:
    """An entry for what is about to be deleted, flushed, open for the block.

    Args:
        root: Descriptor of the root.
        trash_id: The id of the call; an entry that an attempt before it left is used again.
        path: What is deleted, below the root.

    Raises:
        OSError: it cannot be made.
        ToolError: something else bears the trash's name.
    """
    with ExitStack() as stack:
        folder = _folder(root, stack, make=True)
        with suppress(FileExistsError):
            os.mkdir(trash_id, 0o700, dir_fd=folder)
        directory = os.open(trash_id, _OPEN, dir_fd=folder)
        stack.callback(os.close, directory)
        _write(directory, _ENTRY, Note(path=path).model_dump_json().encode(), os.O_TRUNC)
        yield Entry(folder, trash_id, directory)


@contextmanager
def entry_of(root: int, trash_id: str) -> Generator[Entry | None, None, None]:
    """The entry of a call, open for the block, or None."""
    with ExitStack() as stack:
        try:
            folder = _folder(root, stack, make=False)
            directory = os.open(trash_id, _OPEN, dir_fd=folder)
        except OSError:
            yield None
            return
        stack.callback(os.close, directory)
        yield Entry(folder, trash_id, directory)


def trash_ids(root: int) -> list[str]:
    """The entries in the trash of an open root, in no order."""
    with ExitStack() as stack:
        try:
            return os.listdir(_folder(root, stack, make=False))
        except OSError:
            return []
