"""The commands of a server by the records of their supervisors: what they say of themselves is of
no use outside of a sandbox, where process ids are others.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.until import until


def begun(jobs: Path) -> list[dict[str, Any]]:
    """The records of what has begun, as far as they are there and whole."""
    found: list[dict[str, Any]] = []
    for path in jobs.glob("[0-9a-f]*/begun.json"):
        with suppress(OSError, ValueError):
            record: dict[str, Any] = json.loads(path.read_bytes())
            if record["pid"]:
                found.append(record)
    return found


async def pid_of_the_command(state: Path, containing: str = "") -> int:
    """The process id, as this machine knows it, of the one command that a server has run.

    Args:
        state: State directory of the server.
        containing: What of all its commands only that one has.
    """
    jobs = state / "jobs"

    def those() -> list[int]:
        return [each["pid"] for each in begun(jobs) if containing in each["command"]]

    await until(lambda: len(those()) == 1)
    return those()[0]


def gone(pid: int) -> bool:
    """Whether nothing of a process is left."""
    return not Path(f"/proc/{pid}").exists()
