"""The standard input of a command: what it is given at its beginning, or what comes later."""

import fcntl
import os
import struct
import termios
from contextlib import suppress

BLOCK = 4096
"""Bytes taken from the FIFO at once; more waits there, so that whoever writes sees it fill up."""
END_OF_INPUT = b"\x04"
"""What a terminal takes for the end of input: termios(3), VEOF."""


class Inlet:
    """Passes on what servers write to a FIFO, as fast as the command takes it.

    Args:
        path: Of the FIFO.
        sink: The pipe or the terminal that the command reads from; owned from here on.
        terminal: Whether it is a terminal.
    """

    def __init__(self, path: str, sink: int, *, terminal: bool) -> None:
        # Also for writing: no end of file while no server has it open.
        self.source = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.sink = sink
        self._terminal = terminal
        self._held = b""
        self.ending = False
        """Whether nothing more comes after what is there now."""
        os.set_blocking(sink, False)

    @property
    def stuck(self) -> bool:
        """Whether the command has to read before more can be passed on."""
        return bool(self._held)

    def move(self) -> None:
        """Pass on what there is and what the command takes."""
        while self.sink >= 0:
            if not self._held and not self._fill():
                return
            try:
                self._held = self._held[os.write(self.sink, self._held) :]
            except BlockingIOError:
                return
            except OSError:  # it reads no more
                self._held = b""
                self._close()

    def _fill(self) -> bool:
        with suppress(BlockingIOError):
            self._held = os.read(self.source, BLOCK)
            return True
        if self.ending:
            self.ending = False
            if self._terminal:
                self._held = END_OF_INPUT
                return True
            self._close()
        return False

    def _close(self) -> None:
        os.close(self.sink)
        self.sink = -1


def given(text: str | None, folder: str) -> int:
    """The standard input of a command: a file and not a pipe, so that nobody has to feed it."""
    if text is None:
        return os.open(os.devnull, os.O_RDONLY)
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("stdin")
    else:
        path = os.path.join(folder, f".stdin.{os.getpid()}")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(path)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(text.encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def open_terminal(rows: int, columns: int) -> tuple[int, int]:
    """Both ends of a new terminal of that size: ours and the command's."""
    ours, theirs = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return ours, theirs
