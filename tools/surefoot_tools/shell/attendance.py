"""Attending a running command: while somebody does, it is not ended for want of a server."""

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio

from surefoot_tools.supervisor.orders import KILL


class Attendance:
    """A hold on a supervisor. Closing it starts the grace after which the command is killed.

    Args:
        orders: Where orders are written to; owned from here on, like `ended`.
        ended: What is at its end when the supervisor has ended.
    """

    def __init__(self, orders: int, ended: int) -> None:
        self._orders = orders
        self._ended = ended
        self._received = b""
        self._over = False

    @classmethod
    def of_line(cls, line: socket.socket) -> Self:
        """The hold of the server that began the command."""
        line.setblocking(False)
        descriptor = line.detach()
        return cls(descriptor, descriptor)

    @classmethod
    def adopt(cls, folder: Path) -> Self | None:
        """A hold on what another server began; None if its supervisor has ended."""
        try:
            # fifo(7): with nobody who reads, that is without a supervisor, this is ENXIO.
            orders = os.open(folder / "attend", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            return cls(orders, os.open(folder / "ended", os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            os.close(orders)
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def ask(self, request: bytes) -> dict[str, Any] | None:
        """Send the request and wait for the answer; None if there is none and will be none."""
        rest = memoryview(request)
        try:
            while rest:
                try:
                    rest = rest[os.write(self._orders, rest) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._orders)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered all the same
        while b"\n" not in self._received and not self._over:
            await self._receive()
        line, found, _ = self._received.partition(b"\n")
        return json.loads(line) if found else None

    async def wait(self) -> None:
        """Wait until the supervisor has ended."""
        while not self._over:
            await self._receive()

    async def _receive(self) -> None:
        if not self._take():
            await anyio.wait_readable(self._ended)

    def _take(self) -> bool:
        """Take what has arrived, if only its end; whether something had."""
        try:
            data = os.read(self._ended, 4096)
        except BlockingIOError:
            return False
        except ConnectionResetError:  # it went without having read all that we wrote
            data = b""
        self._over = not data
        self._received += data
        return True

    def order(self, order: bytes) -> None:
        """Give an order; one that has ended takes none."""
        with suppress(BrokenPipeError, ConnectionResetError):
            os.write(self._orders, order)

    async def end(self, order: bytes = KILL) -> None:
        """Order that the tree is killed, and wait for it."""
        self.order(order)
        await self.wait()

    @property
    def over(self) -> bool:
        """Whether the supervisor has ended, as far as can be told without waiting."""
        while not self._over:
            if not self._take():
                return False
        return True

    def moved(self) -> Self:
        """The same hold for somebody else, who closes it; there is nothing left here."""
        held = type(self)(self._orders, self._ended)
        held._received, held._over = self._received, self._over
        self._orders = self._ended = -1
        return held

    def close(self) -> None:
        """Let go."""
        for descriptor in {self._orders, self._ended} - {-1}:
            os.close(descriptor)
        self._orders = self._ended = -1
