"""What lies in the trash of roots, and the way back for it. For people: no tool comes here."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import anyio
from pydantic import BaseModel, ConfigDict

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.atomic import Made, make_parents, remove_parents
from surefoot_tools.files.identity import look
from surefoot_tools.files.list_directory import Kind, kind_of_entry, time_text
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.os_errors import translating
from surefoot_tools.files.roots import DIRECTORY, Roots
from surefoot_tools.files.text import visible_name
from surefoot_tools.files.threads import in_thread
from surefoot_tools.files.trash import ITEM, entry_of, trash_ids

WAIT = 10.0
"""Seconds to wait for a call that changes the path."""


class Deleted(BaseModel):
    """Something in the trash."""

    model_config = ConfigDict(frozen=True)

    trash_id: str
    root: Path
    path: str
    """Where it was, below the root."""
    type: Kind
    deleted: str | None
    """RFC 3339, UTC."""


def deleted(directories: Sequence[Path]) -> list[Deleted]:
    """All that lies in the trash of these roots, newest first.

    Raises:
        OSError: a root cannot be opened.
    """
    found: list[tuple[float, Deleted]] = []
    for directory in directories:
        root = os.open(directory, DIRECTORY | os.O_CLOEXEC)
        try:
            for trash_id in trash_ids(root):
                found += _one(root, directory, trash_id)
        finally:
            os.close(root)
    return [each for _, each in sorted(found, key=lambda one: -one[0])]


def _one(root: int, directory: Path, trash_id: str) -> list[tuple[float, Deleted]]:
    with entry_of(root, trash_id) as entry:
        note = None if entry is None else entry.note()
        item = None if entry is None else look(ITEM, entry.directory)
        if entry is None or note is None or item is None:
            return []
        at = entry.since()
        return [
            (
                at,
                Deleted(
                    trash_id=trash_id,
                    root=directory,
                    path=note.path,
                    type=kind_of_entry(item),
                    deleted=time_text(at),
                ),
            )
        ]


async def bring_back(what: Deleted, destination: str | None, locks: PathLocks) -> str:
    """Give something its name again, or another; where it lies now, below its root.

    Args:
        what: From `deleted`.
        destination: Another path below its root; None for the one that it had.
        locks: Of the servers' state directory: no tool changes the path meanwhile.

    Raises:
        ToolError: ALREADY_EXISTS, something bears the name; or it cannot be done.
    """
    roots = Roots([what.root])
    path = f"./{what.path}" if destination is None else destination

    def place() -> str:
        with roots.entry(path, writing=False) as target:
            return target.place

    where = await in_thread(place)
    async with locks.hold([where], anyio.current_time() + WAIT):
        await in_thread(lambda: _move(roots, what, path))
    return path.removeprefix("./")


def _move(roots: Roots, what: Deleted, path: str) -> None:
    with translating(path), ExitStack() as stack:
        target = stack.enter_context(roots.entry(path, writing=False))
        root = os.open(what.root, DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, root)
        entry = stack.enter_context(entry_of(root, what.trash_id))
        if entry is None or entry.identity() is None:
            raise ToolError(Code.NOT_FOUND, "it is not in the trash any more")
        if target.inspect() is not None:
            raise _taken(path)
        made: Made = []
        try:
            parent = make_parents(target.parent, target.missing, made, stack)
            entry.mark_restored()
            entry.give_back(target.name, parent)
        except FileExistsError as error:
            remove_parents(made)
            raise _taken(path) from error
        except BaseException:
            remove_parents(made)
            raise
        os.fsync(parent)
        entry.flush()


def _taken(path: str) -> ToolError:
    return ToolError(
        Code.ALREADY_EXISTS,
        f"'{visible_name(path)}' exists; nothing was overwritten (--to PATH takes another name)",
    )
