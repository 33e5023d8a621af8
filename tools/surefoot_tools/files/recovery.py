"""Before and after one replacement of a file: what is there, and what became of it."""

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TypeVar

from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.files.atomic import Change, open_old, sha256_state, state_of
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.os_errors import translating
from surefoot_tools.files.roots import Roots
from surefoot_tools.files.settled import confirmed
from surefoot_tools.files.text import visible_name
from surefoot_tools.files.threads import in_thread
from surefoot_tools.tool import Context, Evidence, Happened, NotBegun, Recovery, Result, Unknown

_WRITABLE = 0o222

T = TypeVar("T")


def place_of(roots: Roots, path: str) -> str:
    """The canonical path of the name that a write to `path` would replace.

    Raises:
        ToolError: as of `Roots.target`.
    """
    with roots.target(path) as target:
        return target.place


def look(roots: Roots, path: str, use: Callable[[str, int | None], T], *, reading: bool) -> T:
    """Look at the file that a write to `path` would replace; changes nothing.

    Args:
        roots: Where to look.
        path: As the caller wrote it.
        use: Gets the canonical path, and a descriptor of the file or None.
        reading: Whether the file's content will be used: then other hard links are refused.

    Raises:
        ToolError: what is there cannot be replaced.
    """
    with translating(path), ExitStack() as stack:
        target = stack.enter_context(roots.target(path))
        old = open_old(target, stack, reading=reading)
        if old is not None and not os.fstat(old).st_mode & _WRITABLE:
            raise ToolError(
                Code.PERMISSION_DENIED,
                f"'{visible_name(path)}' is read-only by its mode",
                origin=Origin.ENVIRONMENT,
                hint="ask the person, or change the mode with run_command",
            )
        return use(target.place, old)


async def locked_look(
    roots: Roots,
    locks: PathLocks,
    context: Context,
    path: str,
    use: Callable[[str, int | None], T],
    *,
    reading: bool,
) -> T:
    """`look`, under the lock of the path, which is held until the call's outcome is recorded.

    Raises:
        ToolError: as `look`; UNAVAILABLE when the lock is not to be had before the deadline.
    """
    place = await in_thread(lambda: place_of(roots, path))
    await context.held.enter_async_context(locks.hold([place], context.deadline))
    return await in_thread(lambda: look(roots, path, use, reading=reading))


def check_expected(expected: str | None, state: str | None, path: str) -> None:
    """The file is the one that the caller has read.

    Args:
        expected: SHA-256 in hexadecimal, or None for no matter which.
        state: What is there, as of `state_of`; None for no file.
        path: As the caller wrote it.

    Raises:
        ToolError: ABORTED, with the present hash.
    """
    if expected is None or state == sha256_state(expected.lower()):
        return
    shown = visible_name(path)
    if state is None:
        raise ToolError(
            Code.ABORTED,
            f"'{shown}' does not exist, expected_sha256 {expected} was asked for",
            hint="leave out expected_sha256 to create it",
        )
    kind, _, value = state.partition(":")
    present = f"its sha256 is {value}" if kind == "sha256" else "it is too large for a hash"
    raise ToolError(
        Code.ABORTED,
        f"'{shown}' is not the file that was expected: {present}, not {expected}",
        hint="read_file again, then decide",
    )


def find_out(roots: Roots, evidence: Evidence, result: type[Result]) -> Recovery:
    """What became of a replacement whose end nobody recorded; removes its temporary file.

    Args:
        roots: Where to look.
        evidence: A `Change` as JSON.
        result: What its stored result is.
    """
    change = Change.model_validate(evidence)
    shown = visible_name(change.path)
    if not confirmed(change.temporary):
        return Unknown(f"'{shown}' was written, but the device did not confirm it")
    try:
        with translating(change.path), ExitStack() as stack:
            target = stack.enter_context(roots.target(change.path))
            if target.place != change.place:
                return Unknown(f"'{shown}' leads to another file now than when the call began")
            if not target.missing:
                with suppress(FileNotFoundError):
                    os.unlink(change.temporary, dir_fd=target.parent)
            old = open_old(target, stack)
            state = None if old is None else state_of(old)
            if state == change.after:
                # The rename may not be on disk yet when only the process died.
                os.fsync(target.parent)
                return Happened(result.model_validate(change.result))
    except ToolError as error:
        return Unknown(f"'{shown}' cannot be looked at: {error.message}")
    if state == change.before:
        return NotBegun()
    return Unknown(
        f"'{shown}' is neither as before the call ({change.before or 'absent'}) nor as after it "
        f"({change.after}) but {state or 'absent'}: something else wrote to it"
    )
