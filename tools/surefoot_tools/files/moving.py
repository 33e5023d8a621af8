"""A rename as evidence, carried out, and found out about after a crash: by inode, on both names."""

import errno
import os
from contextlib import ExitStack
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files.atomic import Made, changed_since, make_parents, remove_parents
from surefoot_tools.files.delete_path import elsewhere
from surefoot_tools.files.identity import identity
from surefoot_tools.files.os_errors import translated, translating
from surefoot_tools.files.renaming import rename_new, swap
from surefoot_tools.files.roots import Roots, Target
from surefoot_tools.files.settled import confirmed, unconfirmed
from surefoot_tools.files.text import visible_name
from surefoot_tools.files.trash import Entry, entry_of, new_entry
from surefoot_tools.tool import Happened, NotBegun, Recovery, Result, Unknown


class Move(BaseModel):
    """The evidence of one move."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """As the caller wrote it."""
    destination: str
    """As the caller wrote it."""
    place: tuple[str, str]
    """Canonical absolute paths of both names."""
    identity: str
    """Of what is moved."""
    replaced: str | None
    """Identity of the file at the destination; None for no file."""
    trash_id: str
    """Names the entry of the trash that what is replaced goes to."""


def carry_out(roots: Roots, move: Move) -> None:
    """Rename, and flush both directories.

    Raises:
        ToolError: with `applied` honest.
    """
    with translating(move.source), ExitStack() as stack:
        source = stack.enter_context(roots.entry(move.source, writing=True))
        target = stack.enter_context(roots.entry(move.destination, writing=True))
        _check(move, source, target)
        made: Made = []
        entry: Entry | None = None
        try:
            parent = make_parents(target.parent, target.missing, made, stack)
            step = _Step(move, source, target.name, parent)
            if move.replaced is None:
                step.to_a_free_name()
            else:
                root, below = roots.open_home(target.place)
                stack.callback(os.close, root)
                entry = stack.enter_context(new_entry(root, move.trash_id, below))
                step.over_a_file(entry)
        except BaseException:
            remove_parents(made)
            raise
        try:
            if entry is not None:
                entry.flush()
            os.fsync(parent)
            os.fsync(source.parent)
        except OSError as error:
            unconfirmed(move.trash_id)
            raise translated(error, move.source, applied=Applied.UNKNOWN) from error


def _check(move: Move, source: Target, target: Target) -> None:
    """Both names are as they were when the evidence was taken.

    Raises:
        ToolError: ABORTED.
    """
    if source.place != move.place[0] or source.identity() != move.identity:
        raise changed_since(move.source)
    if target.place != move.place[1] or target.identity() != move.replaced:
        raise changed_since(move.destination)


@dataclass(frozen=True, slots=True)
class _Step:
    """The rename itself; when something else bore a name in the last moment, it is taken back."""

    move: Move
    source: Target
    name: str
    parent: int

    def to_a_free_name(self) -> None:
        """Raises: ToolError, OSError."""
        self._rename()
        if identity(self.name, self.parent) != self.move.identity:
            self._rename_back()
            raise changed_since(self.move.source)

    def over_a_file(self, entry: Entry) -> None:
        """Swap both names, then move what was replaced to the trash.

        Where names cannot be swapped, the destination is free for a moment.
        """
        try:
            self._replace(entry)
        except BaseException:
            entry.remove()
            raise

    def _replace(self, entry: Entry) -> None:
        try:
            swapped = swap(self.source.name, self.name, self.source.parent, self.parent)
        except OSError as error:
            raise self._meaning(error) from error
        if not swapped:
            entry.take(self.name, self.parent)
            try:
                if entry.identity() != self.move.replaced:
                    raise changed_since(self.move.destination)
                self.to_a_free_name()
            except BaseException:
                entry.give_back(self.name, self.parent)
                raise
            return
        try:
            if (self._at_destination(), self._at_source()) != (
                self.move.identity,
                self.move.replaced,
            ):
                raise changed_since(self.move.destination)
            entry.take(self.source.name, self.source.parent)
        except BaseException:
            swap(self.source.name, self.name, self.source.parent, self.parent)
            raise

    def _at_source(self) -> str | None:
        return identity(self.source.name, self.source.parent)

    def _at_destination(self) -> str | None:
        return identity(self.name, self.parent)

    def _rename(self) -> None:
        try:
            rename_new(self.source.name, self.name, self.source.parent, self.parent)
        except FileExistsError as error:
            raise changed_since(self.move.destination) from error
        except OSError as error:
            raise self._meaning(error) from error

    def _rename_back(self) -> None:
        try:
            rename_new(self.name, self.source.name, self.parent, self.source.parent)
        except OSError as error:
            raise translated(error, self.move.source, applied=Applied.UNKNOWN) from error

    def _meaning(self, error: OSError) -> ToolError | OSError:
        if error.errno == errno.EXDEV:
            return elsewhere(self.move.source)
        if error.errno == errno.EINVAL:
            return into_itself(self.move.source)
        return error


def into_itself(path: str) -> ToolError:
    """The error of a directory that is to be moved below itself."""
    return ToolError(
        Code.INVALID_ARGUMENT, f"'{visible_name(path)}' cannot be moved into itself or onto itself"
    )


def find_out(roots: Roots, move: Move, result: Result) -> Recovery:
    """What became of a move whose end nobody recorded; one that was cut half-way is ended."""
    shown = visible_name(move.source)
    if not confirmed(move.trash_id):
        return Unknown(f"'{shown}' was moved, but the device did not confirm it")
    try:
        with translating(move.source), ExitStack() as stack:
            source = stack.enter_context(roots.entry(move.place[0], writing=True))
            target = stack.enter_context(roots.entry(move.place[1], writing=True))
            root, _ = roots.open_home(move.place[1])
            stack.callback(os.close, root)
            entry = stack.enter_context(entry_of(root, move.trash_id))
            there, moved = source.identity(), target.identity()
            if moved == move.identity != there:
                return _ended(move, source, target, entry, result)
            if there == move.identity and _is_as_before(move, moved, target, entry):
                return NotBegun()
    except ToolError as error:
        return Unknown(f"'{shown}' cannot be looked at: {error.message}")
    return Unknown(
        f"'{shown}' and '{visible_name(move.destination)}' are neither as before the move nor as "
        "after it: something else changed them"
    )


def _ended(
    move: Move, source: Target, target: Target, entry: Entry | None, result: Result
) -> Recovery:
    if move.replaced is not None and entry is not None:
        if source.identity() == move.replaced:
            entry.take(source.name, source.parent)
        entry.flush()
    os.fsync(target.parent)
    os.fsync(source.parent)
    return Happened(result)


def _is_as_before(move: Move, moved: str | None, target: Target, entry: Entry | None) -> bool:
    if entry is not None:
        if moved is None and move.replaced is not None and entry.identity() == move.replaced:
            entry.give_back(target.name, target.parent)
            moved = move.replaced
        entry.remove()
    return moved == move.replaced
