"""The output of a command: what it writes to each stream, and the order in which that came."""

import errno
import fcntl
import os
import struct
from contextlib import suppress

from surefoot_tools.supervisor.sink import Sink

HEAD = 32 * 1024 * 1024
"""Bytes of a stream kept on disk from its beginning."""
PIECE = 8 * 1024 * 1024
PIECES = 5
"""Of its end, 4 to 5 pieces of `PIECE` bytes."""
TURNS_HEAD = 1024 * 1024
TURNS_PIECE = 1024 * 1024
"""Bytes of the list of turns, in the same way; many only where the streams alternate."""
TURN = struct.Struct("<QQ")
"""How much had come of both streams, and of the one whose turn it is: twice that, and 1 for the
second stream. Before the first of them it is the first stream's turn."""
CHUNK = 256 * 1024
"""Bytes read at once, and what a pipe holds: each time it is empty costs a change of process."""
CAPACITY = 1024 * 1024
"""The most that a pipe holds without privilege: pipe(7), /proc/sys/fs/pipe-max-size."""
_F_SETPIPE_SZ = 1031
"""fcntl(2); not in `fcntl` on every system."""


class Turns:
    """The order in which the output of several streams came.

    Two pipes do not tell what was written first when both have something: then it is the order in
    which they were read.

    Args:
        head: Bytes of the list that are kept from its beginning.
        piece: Bytes of a piece of it; of its end 4 to 5 are kept. Both are whole turns.
    """

    def __init__(self, head: int = TURNS_HEAD, piece: int = TURNS_PIECE) -> None:
        self._sink = Sink(head, piece, PIECES)
        self._whose = 0
        self._come = 0

    def set_path(self, path: str) -> None:
        """Where the list is kept."""
        self._sink.path = path

    def take(self, whose: int, before: int, size: int) -> None:
        """Note that `size` bytes came of a stream of which `before` had come."""
        if whose != self._whose:
            self._whose = whose
            self._sink.write(TURN.pack(self._come, before * 2 + whose))
        self._come += size

    def close(self) -> None:
        """Nothing more comes."""
        self._sink.close()


class Stream:
    """Reads what a command writes to one descriptor; what it wrote is kept on disk.

    Args:
        number: 0 for the first stream, 1 for the second.
        turns: Shared by both.
    """

    def __init__(self, number: int, turns: Turns) -> None:
        self.source, self.sink = os.pipe()
        with suppress(OSError):  # no Linux, or this user's pipes hold a lot already
            fcntl.fcntl(self.source, _F_SETPIPE_SZ, CHUNK)
        os.set_blocking(self.source, False)
        self._number = number
        self._turns = turns
        self._kept = Sink(HEAD, PIECE, PIECES)

    def set_path(self, path: str) -> None:
        """The file that it goes to."""
        self._kept.path = path

    def read_from(self, source: int) -> None:
        """Read from a terminal in place of the pipe."""
        os.close(self.source)
        os.close(self.sink)
        self.source = source
        os.set_blocking(source, False)

    def take(self) -> bool | None:
        """Take what has arrived: True if something has, None if nothing, False at the end."""
        try:
            data = os.read(self.source, CHUNK)
        except BlockingIOError:
            return None
        except OSError as e:
            if e.errno != errno.EIO:
                raise
            return False  # of a terminal that nobody has open any more
        if not data:
            return False
        # First the turn: whoever reads meanwhile then never takes these bytes for the other's.
        self._turns.take(self._number, self._kept.size, len(data))
        self._kept.write(data)
        return True

    def close(self) -> dict[str, int]:
        """Take what the pipe still holds, and tell what is where."""
        for _ in range(CAPACITY // 4096 + 1):  # a terminal gives 4 KiB at once
            if not self.take():
                break
        return self._kept.close()
