"""How a job ended, for who accounts for it: a look that does not keep the job alive."""

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import anyio
from pydantic import ValidationError

from surefoot_tools.jobs import JobEnd, JobState
from surefoot_tools.shell.ending import status_of
from surefoot_tools.shell.record import Ended

LOST = JobEnd(JobState.LOST)


def end_of(folder: Path) -> JobEnd | None:
    """How a job ended; None while it runs, or if nobody can look now.

    Args:
        folder: The job's. One that is gone, or without a readable end, is of a job that is lost.
    """
    try:
        if _runs(folder):
            return None
        # Written before the supervisor ends, so it is there by now, or never will be.
        ended = Ended.model_validate_json((folder / "status.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return LOST
    except OSError:  # such as no descriptor left
        return None
    exit_code, name = status_of(ended)
    return JobEnd(ended.state, exit_code, name, ended.ended)


async def wait_for_end(folder: Path) -> None:
    """Wait until the supervisor of a job has ended.

    Raises:
        OSError: nobody can look now.
    """
    try:
        descriptor = _open(folder)
    except FileNotFoundError:
        return
    try:
        while not _at_end(descriptor):
            await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)


def _runs(folder: Path) -> bool:
    try:
        descriptor = _open(folder)
    except FileNotFoundError:
        return False
    try:
        return not _at_end(descriptor)
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    # Not `attend`, whose opening and closing starts the grace anew.
    return os.open(folder / "ended", os.O_RDONLY | os.O_NONBLOCK)


def _at_end(descriptor: int) -> bool:
    """Whether nobody holds the other end any more; nothing is ever written to it."""
    try:
        return not os.read(descriptor, 1)
    except BlockingIOError:
        return False


def place_of(jobs: Path) -> str:
    """The name of a folder of jobs, made up when it is first asked for; empty if that fails.

    It lies beside the folder, so that jobs whose folders somebody cleared away are still of it.
    """
    path = jobs.with_name(f"{jobs.name}.place")
    with suppress(OSError):
        if not path.exists():
            draft = path.with_name(f".{uuid4().hex}")
            with open(draft, "x", encoding="ascii", opener=_private) as file:
                file.write(uuid4().hex)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another server was faster
                os.link(draft, path)
            draft.unlink()
        return path.read_text(encoding="ascii")
    return ""


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
