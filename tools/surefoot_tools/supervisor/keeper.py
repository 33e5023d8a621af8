"""The keeper: the process that a server starts once and that forks a supervisor for each command.

The server hands over one end of a socket for each command, the line; the request itself goes over
that, past the keeper.
"""

import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from surefoot_tools.sandbox import enter
from surefoot_tools.supervisor.supervisor import supervise, tell
from surefoot_tools.supervisor.tree import Tree


def main() -> None:
    """Serve the server at the other end of the socket whose number is the last argument."""
    channel = socket.socket(fileno=int(sys.argv[-1]))
    if os.fork():
        os._exit(0)  # nobody has to reap the keeper, and no walk down from the server finds it
    channel.set_inheritable(False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    Keeper(channel).run()


class Keeper:
    """Forks supervisors and kills what they leave.

    Args:
        channel: From the server; its end means that the server is gone.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel: socket.socket | None = channel
        self._supervisors: set[int] = set()
        self._tree = Tree()
        self._spare: socket.socket | None = None
        enter.prepare()
        gc.freeze()  # what never changes is then never copied by those that we fork

    def run(self) -> None:
        """Until the server is gone and the last supervisor has ended."""
        while self._channel is not None or self._supervisors:
            if self._spare is None and self._channel is not None:
                # A fork costs some milliseconds, most of them in the child: not while one waits.
                with suppress(OSError):
                    self._spare = self._fork(self._channel)
            watched: list[Any] = [self._tree.alarm]
            if self._channel is not None:
                watched.append(self._channel)
            ready, _, _ = select.select(watched, [], [])
            if self._tree.alarm in ready:
                self._guard()
            if self._channel is not None and self._channel in ready:
                self._take(self._channel)
        self._tree.end()

    def _guard(self) -> None:
        """Kill the orphans of a supervisor that was killed; the end of each wakes us again."""
        self._tree.reap()
        self._supervisors.difference_update(self._tree.ended)
        self._tree.ended.clear()
        self._tree.kill(but=self._supervisors)

    def _take(self, channel: socket.socket) -> None:
        """Take a line and fork its supervisor; no more lines: the server is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        except ConnectionResetError:
            data, descriptors = b"", list[int]()
        if not data:
            channel.close()
            self._channel = None
            if self._spare is not None:
                self._spare.close()
        for descriptor in descriptors:
            line = socket.socket(fileno=descriptor)
            line.set_inheritable(False)
            self._pass_on(channel, line)
            line.close()

    def _pass_on(self, channel: socket.socket, line: socket.socket) -> None:
        """Give a line to the spare supervisor, or to a new one if somebody has killed that."""
        while True:
            try:
                spare = self._spare or self._fork(channel, line)
            except OSError as e:
                return tell(line, errno=e.errno, step="fork")
            self._spare = None
            try:
                socket.send_fds(spare, [b"l"], [line.fileno()])
            except (BrokenPipeError, ConnectionResetError):
                continue
            finally:
                spare.close()
            return None

    def _fork(self, *mine: socket.socket) -> socket.socket:
        """A new supervisor that waits for a line, which is to be sent to it.

        Args:
            mine: What it must not hold on to: the ends of these are waited for elsewhere.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            pid = os.fork()
            if pid == 0:
                for each in (ours, *mine):
                    each.close()
                in_child(lambda: supervise(theirs))
        self._supervisors.add(pid)
        return ours


def in_child(work: Callable[[], None]) -> NoReturn:
    """Do the work of a forked process, which never returns into the frames of its parent."""
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)
