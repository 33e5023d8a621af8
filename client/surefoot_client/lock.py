"""One driver a run: who drives a run's directory holds the lock on `.lock` in it until it ends.

The kernel's lock (flock) and not a file's existence: it goes with its process, however that ends,
and a paused driver still holds it. Taken by `run.py` before it reads or writes anything of the run.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType

FILE_NAME = ".lock"
"""Name of the locked file in a run's directory; it stays when the run has ended."""


class StillGoing(Exception):
    """This run is still going on (process N); wait for it or stop it."""


class RunLock:
    """The right to drive a run, held until `release` or the end of this process.

    Args:
        folder: The run's directory, which is there.

    Raises:
        StillGoing: another driver has it.
        OSError: the file cannot be made or locked.
    """

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        # not inheritable: a server left behind by a killed driver must not hold its run
        self._descriptor: int | None = os.open(folder / FILE_NAME, flags, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError as error:
            # empty where the other one has the lock and has not written its number yet
            number = os.pread(self._descriptor, 20, 0).strip().decode("ascii", "replace")
            self.release()
            who = f" (process {number})" if number else ""
            raise StillGoing(
                f"this run is still going on{who}; wait for it or stop it: {folder}"
            ) from error
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Let another driver have the run; once is enough."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
