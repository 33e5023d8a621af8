"""The tool `delete_path`: move a file or a directory to the root's own trash."""

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from surefoot_tools import tool
from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files.atomic import changed_since
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.os_errors import translated, translating
from surefoot_tools.files.rooted import Rooted
from surefoot_tools.files.roots import DIRECTORY, Roots, Target
from surefoot_tools.files.settled import confirmed, settle_step, unconfirmed
from surefoot_tools.files.text import visible_name
from surefoot_tools.files.threads import in_thread
from surefoot_tools.files.trash import Entry, entry_of, new_entry, trash_ids
from surefoot_tools.tool import (
    Context,
    Effect,
    Evidence,
    Group,
    Happened,
    NotBegun,
    Recovery,
    Tool,
    Unknown,
)


class DeletePathArguments(tool.Arguments):
    """Arguments of `delete_path`."""

    path: str = Field(description="File, link or directory; relative to, or inside, a root.")
    recursive: bool = Field(False, description="Also a directory that is not empty.")


class DeletePathResult(tool.Result):
    """What `delete_path` did."""

    path: str
    """As the caller wrote it."""
    trash_id: str
    """Names it in the trash, for `surefoot restore`."""

    def as_text(self) -> str:
        """One line."""
        return (
            f"deleted {visible_name(self.path)}; the person gets it back with "
            f"`surefoot restore {self.trash_id}`"
        )


class Removal(BaseModel):
    """The evidence of one deletion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    """As the caller wrote it."""
    place: str
    """Canonical absolute path of the name that is taken away."""
    identity: str
    """Of what bears it (`identity.identity`)."""
    trash_id: str
    recursive: bool


class DeletePath(Rooted, Tool[DeletePathArguments, DeletePathResult]):
    """Takes a name away by a rename into the trash of its root."""

    name = "delete_path"
    title = "Delete"
    description = (
        "Delete a file, a symbolic link (not what it leads to) or a directory. It goes to a hidden "
        "trash in the root, from where the person can restore it."
    )
    group = Group.FILES
    effect = Effect.VERIFIABLE
    destructive = True
    Arguments = DeletePathArguments
    Result = DeletePathResult

    def __init__(self, roots: Roots, locks: PathLocks) -> None:
        self._roots = roots
        self._locks = locks

    async def prepare(self, arguments: DeletePathArguments, context: Context) -> Evidence:
        """Lock the path; note what bears it."""
        path = arguments.path

        def place() -> str:
            with self._roots.entry(path, writing=True) as target:
                return target.place

        where = await in_thread(place)
        await context.held.enter_async_context(self._locks.hold([where], context.deadline))

        def examine() -> Removal:
            with self._roots.entry(path, writing=True) as target, translating(path):
                return Removal(
                    path=path,
                    place=target.place,
                    identity=_looked_at(target, recursive=arguments.recursive),
                    trash_id=context.call_id,
                    recursive=arguments.recursive,
                )

        return (await in_thread(examine)).model_dump(mode="json")

    async def run(
        self, arguments: DeletePathArguments, evidence: Evidence, context: Context
    ) -> DeletePathResult:
        """Make an entry, rename into it, flush."""
        removal = Removal.model_validate(evidence)
        await settle_step(context, removal.path, lambda: _delete(self._roots, removal))
        return DeletePathResult(path=removal.path, trash_id=removal.trash_id)

    async def recover(self, evidence: Evidence) -> Recovery:
        """Look for what was deleted in its entry of the trash, else under its name."""
        return await in_thread(lambda: _find_out(self._roots, Removal.model_validate(evidence)))

    async def forget(self, before: float) -> None:
        """Empty the trashes of what was deleted before a time."""
        await in_thread(lambda: purge(self._roots.directories, before))


def _looked_at(target: Target, *, recursive: bool) -> str:
    """The identity of what bears a name, if it may be deleted.

    Raises:
        ToolError: nothing bears it, or it is a directory that is not empty.
        OSError: it cannot be looked at.
    """
    found = target.inspect()
    if found is None:
        raise translated(FileNotFoundError(errno.ENOENT, ""), target.path)
    if stat.S_ISDIR(found.st_mode) and not recursive:
        flags = DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        opened = os.open(target.name, flags, dir_fd=target.parent)
        try:
            _refuse_full(opened, target.path)
        finally:
            os.close(opened)
    return str(target.identity())


def _refuse_full(directory: int, path: str) -> None:
    with os.scandir(directory) as entries:
        if any(True for _ in entries):
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"'{visible_name(path)}' is a directory that is not empty",
                hint="set recursive to true to delete it with all that is in it",
            )


def _delete(roots: Roots, removal: Removal) -> None:
    with translating(removal.path), ExitStack() as stack:
        target = stack.enter_context(roots.entry(removal.path, writing=True))
        identity = _looked_at(target, recursive=removal.recursive)
        if target.place != removal.place or identity != removal.identity:
            raise changed_since(removal.path)
        root, below = roots.open_home(target.place)
        stack.callback(os.close, root)
        entry = stack.enter_context(new_entry(root, removal.trash_id, below))
        try:
            entry.take(target.name, target.parent)
        except OSError as error:
            entry.remove()
            if error.errno == errno.EXDEV:
                raise elsewhere(removal.path) from error
            raise
        try:
            _check_taken(entry, removal)
        except ToolError as error:
            raise _given_back(entry, target, error) from error
        try:
            entry.flush()
            os.fsync(target.parent)
        except OSError as error:
            unconfirmed(removal.trash_id)
            raise translated(error, removal.path, applied=Applied.UNKNOWN) from error


def elsewhere(path: str) -> ToolError:
    """The error of a rename that would have to copy."""
    return ToolError(
        Code.FAILED_PRECONDITION,
        f"'{visible_name(path)}' lies on another file system (a mount point), to which nothing "
        "can be moved in one step",
        hint="use run_command",
    )


def _check_taken(entry: Entry, removal: Removal) -> None:
    """What was taken is what was looked at, in the last moment too.

    Raises:
        ToolError: something else bore the name, or something was put into an empty directory.
    """
    if entry.identity() != removal.identity:
        raise changed_since(removal.path)
    if not removal.recursive and removal.identity.endswith(f":{stat.S_IFDIR:o}"):
        opened = os.open("item", DIRECTORY | os.O_NOFOLLOW, dir_fd=entry.directory)
        try:
            _refuse_full(opened, removal.path)
        finally:
            os.close(opened)


def _given_back(entry: Entry, target: Target, error: ToolError) -> ToolError:
    """The error, after what was taken by mistake has its name again."""
    try:
        entry.give_back(target.name, target.parent)
    except OSError:
        return ToolError(
            error.code,
            f"{error.message}; it lies in the trash",
            applied=Applied.YES,
            hint=f"the person gets it back with `surefoot restore {entry.trash_id}`",
        )
    entry.remove()
    return error


def _find_out(roots: Roots, removal: Removal) -> Recovery:
    """What became of a deletion whose end nobody recorded."""
    shown = visible_name(removal.path)
    if not confirmed(removal.trash_id):
        return Unknown(f"'{shown}' was deleted, but the device did not confirm it")
    try:
        with translating(removal.path), ExitStack() as stack:
            root, _ = roots.open_home(removal.place)
            stack.callback(os.close, root)
            entry = stack.enter_context(entry_of(root, removal.trash_id))
            if entry is not None:
                if entry.identity() == removal.identity or entry.restored:
                    entry.flush()
                    result = DeletePathResult(path=removal.path, trash_id=removal.trash_id)
                    return Happened(result)
                entry.remove()
            target = stack.enter_context(roots.entry(removal.place, writing=True))
            if target.identity() == removal.identity:
                return NotBegun()
    except ToolError as error:
        return Unknown(f"'{shown}' cannot be looked at: {error.message}")
    return Unknown(f"'{shown}' is not in the trash, and something else bears its name, or nothing")


def purge(directories: tuple[Path, ...], before: float) -> None:
    """Empty the trashes of these roots of what was deleted before a time."""
    for each in directories:
        try:
            root = os.open(each, DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            for trash_id in trash_ids(root):
                with entry_of(root, trash_id) as entry:
                    if entry is not None and entry.since() < before:
                        entry.purge()
        finally:
            os.close(root)
