"""The tool `move_path`: give a file or a directory another name, in one step."""

import errno
import os
import stat
from contextlib import ExitStack

from pydantic import Field

from surefoot_tools import tool
from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.moving import Move, carry_out, find_out, into_itself
from surefoot_tools.files.os_errors import translated, translating
from surefoot_tools.files.protected import protected, rule_against_tree
from surefoot_tools.files.rooted import Rooted
from surefoot_tools.files.roots import DIRECTORY, Roots, Target
from surefoot_tools.files.settled import settle_step
from surefoot_tools.files.text import visible_name
from surefoot_tools.files.threads import in_thread
from surefoot_tools.tool import Context, Effect, Evidence, Group, Recovery, Tool


class MovePathArguments(tool.Arguments):
    """Arguments of `move_path`."""

    source: str = Field(description="Relative to, or inside, a root.")
    destination: str = Field(
        description="The whole new path, also to move into a directory. Missing parents are "
        "created."
    )
    overwrite: bool = Field(
        False, description="Replace a file at the destination; that one goes to the trash."
    )


class MovePathResult(tool.Result):
    """What `move_path` did."""

    source: str
    """As the caller wrote it."""
    destination: str
    """As the caller wrote it."""
    trash_id: str | None
    """Names the file that was replaced, for `surefoot restore`; None if there was none."""

    def as_text(self) -> str:
        """One line."""
        text = f"moved {visible_name(self.source)} to {visible_name(self.destination)}"
        if self.trash_id is None:
            return text
        return f"{text}; the person gets what it replaced with `surefoot restore {self.trash_id}`"


class MovePath(Rooted, Tool[MovePathArguments, MovePathResult]):
    """Renames; verified by the inode, which stays the same."""

    name = "move_path"
    title = "Move or rename"
    description = (
        "Move or rename a file, a symbolic link (not what it leads to) or a directory in one step, "
        "on one file system."
    )
    group = Group.FILES
    effect = Effect.VERIFIABLE
    destructive = True
    Arguments = MovePathArguments
    Result = MovePathResult

    def __init__(self, roots: Roots, locks: PathLocks) -> None:
        self._roots = roots
        self._locks = locks

    async def prepare(self, arguments: MovePathArguments, context: Context) -> Evidence:
        """Lock both paths; note what bears them."""
        roots = self._roots

        def places() -> tuple[str, str]:
            with ExitStack() as stack:
                source, target = (
                    stack.enter_context(roots.entry(path, writing=True))
                    for path in (arguments.source, arguments.destination)
                )
                return source.place, target.place

        where = await in_thread(places)
        await context.held.enter_async_context(self._locks.hold(where, context.deadline))
        move = await in_thread(lambda: _plan(roots, arguments, context.call_id))
        return move.model_dump(mode="json")

    async def run(
        self, arguments: MovePathArguments, evidence: Evidence, context: Context
    ) -> MovePathResult:
        """Rename, flush."""
        move = Move.model_validate(evidence)
        await settle_step(context, move.source, lambda: carry_out(self._roots, move))
        return _result(move)

    async def recover(self, evidence: Evidence) -> Recovery:
        """Look for what was moved, under both names."""
        move = Move.model_validate(evidence)
        return await in_thread(lambda: find_out(self._roots, move, _result(move)))


def _result(move: Move) -> MovePathResult:
    return MovePathResult(
        source=move.source,
        destination=move.destination,
        trash_id=None if move.replaced is None else move.trash_id,
    )


def _plan(roots: Roots, arguments: MovePathArguments, call_id: str) -> Move:
    path = arguments.source
    with translating(path), ExitStack() as stack:
        source = stack.enter_context(roots.entry(path, writing=True))
        target = stack.enter_context(roots.entry(arguments.destination, writing=True))
        found, there = source.inspect(), target.inspect()
        if found is None:
            raise translated(FileNotFoundError(errno.ENOENT, ""), path)
        if f"{target.place}/".startswith(f"{source.place}/"):
            raise into_itself(path)
        if stat.S_ISDIR(found.st_mode):
            _refuse_rules(source, roots.open_home(target.place), arguments.destination, stack)
        if there is not None:
            _refuse_replacing(found, there, arguments)
        return Move(
            source=path,
            destination=arguments.destination,
            place=(source.place, target.place),
            identity=str(source.identity()),
            replaced=target.identity(),
            trash_id=call_id,
        )


def _refuse_rules(source: Target, home: tuple[int, str], path: str, stack: ExitStack) -> None:
    """A directory brings its content along: none of it may become what programs obey."""
    stack.callback(os.close, home[0])
    flags = DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    directory = os.open(source.name, flags, dir_fd=source.parent)
    stack.callback(os.close, directory)
    rule = rule_against_tree(home[1].split("/"), os.listdir(directory))
    if rule is not None:
        raise protected(path, rule)


def _refuse_replacing(
    found: os.stat_result, there: os.stat_result, arguments: MovePathArguments
) -> None:
    """Only a file takes the place of a file, and only when that is asked for.

    Raises:
        ToolError: anything else bears the destination's name.
    """
    shown = visible_name(arguments.destination)
    if stat.S_ISDIR(there.st_mode):
        raise ToolError(
            Code.ALREADY_EXISTS,
            f"'{shown}' is a directory",
            hint="to move into it, give the whole new path as destination",
        )
    if not arguments.overwrite:
        raise ToolError(
            Code.ALREADY_EXISTS,
            f"'{shown}' exists already",
            hint="set overwrite to true to replace it",
        )
    if not (stat.S_ISREG(found.st_mode) and stat.S_ISREG(there.st_mode)):
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"'{shown}' is not replaced: only a regular file takes the place of one",
            hint="delete_path first",
        )
    if os.path.samestat(found, there):
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"'{visible_name(arguments.source)}' and '{shown}' are the same file by two names",
            hint="delete_path the one that is not wanted",
        )
