"""Where a command runs, for its supervisor: what ends with it."""

import os
import signal
from contextlib import suppress

from surefoot_tools.supervisor.tree import Tree


class Room:
    """Where a command runs. This one has no walls.

    Args:
        temporary: A folder to be removed with it.
    """

    def __init__(self, temporary: str | None = None) -> None:
        self._temporary = temporary

    def end(self, tree: Tree) -> bool:
        """Kill what is left in it; whether there was anything."""
        left = tree.end()
        self.remove()
        return left

    def remove(self) -> None:
        """Remove its folder."""
        if self._temporary is not None:
            with suppress(OSError):
                os.rmdir(self._temporary)
                return
            import shutil  # it makes a keeper larger

            shutil.rmtree(self._temporary, ignore_errors=True)


class BubblewrapRoom(Room):
    """A room with walls.

    Args:
        outer: Process id of bubblewrap.
        first: Process id of the room's first process, as we see it.
        stay: The writing end of the pipe that the first process waits at.
    """

    def __init__(self, outer: int, first: int, stay: int) -> None:
        super().__init__()
        # Unmounting takes milliseconds. While we have this open nobody who ends has to do it.
        with suppress(OSError):
            os.open(f"/proc/{first}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._outer = outer
        self._first = first
        self._stay = stay

    def end(self, tree: Tree) -> bool:
        """Kill bubblewrap, and the kernel all that is in the room."""
        left = self._occupied()
        with suppress(ProcessLookupError):
            os.kill(self._first, signal.SIGKILL)
        tree.end()
        os.close(self._stay)
        return left

    def _occupied(self) -> bool:
        """Whether a process is left of the command: orphans fall to the first process."""
        path = f"/proc/{self._first}/task/{self._first}/children"
        with suppress(OSError), open(path) as listing:
            return bool(listing.read().strip())
        return False
