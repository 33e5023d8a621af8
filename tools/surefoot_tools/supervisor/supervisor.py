"""The supervisor of one command; forked by the keeper.

A job's folder gets its name by one rename, complete, just before the command begins. If recovery
has put a folder there first, the command never begins; so whoever looks later knows which it was.
"""

import errno
import json
import os
import select
import signal
import socket
import time
from contextlib import suppress
from typing import Any

from surefoot_tools.sandbox import enter, protected
from surefoot_tools.sandbox.room import Room
from surefoot_tools.supervisor import orders
from surefoot_tools.supervisor.inlet import Inlet, given, open_terminal
from surefoot_tools.supervisor.sink import create
from surefoot_tools.supervisor.start import NotStarted, start
from surefoot_tools.supervisor.stream import Stream, Turns
from surefoot_tools.supervisor.tree import LINUX, LOOK, Tree, children
from surefoot_tools.supervisor.waiting import UNKNOWN, descendants, waits

CHUNK = 65536
"""Bytes of a request read at once."""
LINGER = 0.5
"""Seconds that output may still arrive after the command itself ended."""
RESERVED = 1024
"""Bytes of disk taken before the command begins: a full disk does not cost its record."""
NEVER = float("inf")
SOON = 60.0
"""Seconds without anybody, after which we look less often for somebody who comes."""
LONG = 3600.0
"""Seconds that one wait lasts at most; poll(2) counts milliseconds in an int."""
NOTHING = {"size": 0, "head": 0, "since": 0}
"""What is kept of a stream that was not there."""


def supervise(spare: socket.socket) -> None:
    """Wait for a line, read a request from it, and carry it out.

    Args:
        spare: From the keeper; over it comes the line. Its end means that there will be none.
    """
    supervisor = Supervisor()
    data, descriptors, _, _ = socket.recv_fds(spare, 1, 1)
    spare.close()
    if not data:
        return
    line = socket.socket(fileno=descriptors[0])
    line.set_inheritable(False)
    received = bytearray()
    while not received.endswith(b"\n"):
        data = line.recv(CHUNK)
        if not data:
            return  # the server died before it had asked
        received += data
    supervisor.run(line, json.loads(received))


def tell(line: socket.socket, **answer: object) -> None:
    """Answer the server, if it is still there."""
    with suppress(OSError):
        line.sendall(json.dumps(answer).encode() + b"\n")


class Supervisor:
    """Owns one command from before its beginning until nothing of it is left."""

    def __init__(self) -> None:
        os.setsid()
        self._tree = Tree()
        self._command = 0
        self._room = Room()
        self._why = ""
        self._stopping = False
        self._adopted = False
        self._abandoned_at = NEVER
        self._alone_since = 0.0
        turns = Turns()
        self._turns = turns
        self._out, self._err = Stream(0, turns), Stream(1, turns)
        self._terminal: int | None = None
        self._inlet: Inlet | None = None
        self._poll = select.poll()
        self._poll.register(self._tree.alarm, select.POLLIN)
        signal.signal(signal.SIGTERM, self._terminated)

    def run(self, line: socket.socket, request: dict[str, Any]) -> None:
        """Begin the command, wait for its end or end it, and leave the record.

        Args:
            line: To the server that asked; its end means that this server is gone.
            request: See `surefoot_tools.shell.jobs.Jobs`.
        """
        self._request = request
        self._folder = f"{request['jobs']}/{request['job']}"
        self._handed_over = bool(request["handed_over"])
        self._line: int | None = line.fileno()
        self._poll.register(line.fileno(), select.POLLIN)
        try:
            streams, terminal = self._connect()
            self._lay_out()
        except FileExistsError:
            return tell(line, taken=True)
        except OSError as e:
            return tell(line, errno=e.errno, step="prepare")
        wrong = self._begin(streams, terminal)
        if wrong:
            self._record("not_started", **wrong)
            return tell(line, **wrong)
        tell(line, begun=self._command)
        why = self._watch()
        duration = time.monotonic() - self._started
        left = self._room.end(self._tree)
        touched = protected.touched(request["confinement"])
        self._record(
            why, duration=duration, background_killed=left and why == "exited", touched=touched
        )
        # What watches our end need not wait for that of the process.
        os.close(self._attend)
        os.close(self._ended)
        return line.close()

    def _connect(self) -> tuple[list[int], str | None]:
        """What the command's descriptors 0, 1 and 2 are to be, and its terminal's path."""
        if self._request["terminal"]:
            rows, columns = self._request["terminal"]
            ours, theirs = open_terminal(rows, columns)
            self._terminal = ours
            self._out.read_from(ours)
            self._input = os.dup(ours)
            self._streams = {ours: self._out}
            streams, path = [theirs], os.ttyname(theirs)
        else:
            if self._request["input"]:
                source, self._input = os.pipe()
            else:
                source = given(self._request["stdin"], self._request["jobs"])
            streams, path = [source, self._out.sink, self._err.sink], None
            self._streams = {each.source: each for each in (self._out, self._err)}
        for descriptor in self._streams:
            self._poll.register(descriptor, select.POLLIN)
        return streams, path

    def _lay_out(self) -> None:
        """Make the job's folder and give it its name.

        Raises:
            FileExistsError: recovery was here first.
        """
        draft = os.path.join(self._request["jobs"], f".{self._request['job']}.{os.getpid()}")
        os.mkdir(draft, 0o700)
        takes = self._request["input"] or self._request["terminal"]
        for name in ("attend", "ended", "input") if takes else ("attend", "ended"):
            os.mkfifo(os.path.join(draft, name), 0o600)
        self._attend = os.open(os.path.join(draft, "attend"), os.O_RDONLY | os.O_NONBLOCK)
        if LINUX:  # elsewhere poll(2) does not rest at a FIFO without writers
            self._poll.register(self._attend, select.POLLIN)
        # Open until we end, so that whoever reads from it sees when that is.
        self._ended = os.open(os.path.join(draft, "ended"), os.O_RDWR | os.O_NONBLOCK)
        if takes:
            terminal = self._terminal is not None
            path = os.path.join(draft, "input")
            self._inlet = Inlet(path, self._input, terminal=terminal)
            self._poll.register(self._inlet.source, select.POLLIN)
        self._began, self._started = time.time(), time.monotonic()
        self._begun = create(os.path.join(draft, "begun.json"))
        os.write(self._begun, self._line_of_begun())
        self._reserved = create(os.path.join(draft, "status.tmp"))
        os.write(self._reserved, b" " * RESERVED)
        self._out.set_path(f"{self._folder}/stdout")
        self._err.set_path(f"{self._folder}/stderr")
        self._turns.set_path(f"{self._folder}/turns")
        try:
            os.rename(draft, self._folder)
        except OSError as e:
            for name in os.listdir(draft):
                os.unlink(os.path.join(draft, name))
            os.rmdir(draft)
            if e.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise FileExistsError(*e.args) from e
            raise

    def _line_of_begun(self) -> bytes:
        """What is known of it so far; never shorter than before, so that it can be overwritten."""
        begun = {
            "pid": self._command,
            "supervisor": os.getpid(),
            "began": self._began,
            "handed_over": int(self._handed_over),
            **self._request["about"],
        }
        return json.dumps(begun).encode()

    def _begin(self, streams: list[int], terminal: str | None) -> dict[str, Any]:
        """Start the command; what was wrong if it cannot be."""
        try:
            plan: enter.Plan | None = self._request["confinement"]
            if plan is None:
                self._command = start(self._request, streams, terminal)
            else:
                started = enter.start(self._request, streams, terminal, plan)
                self._command, self._room = started
        except NotStarted as e:
            return {"errno": e.number, "step": e.step}
        finally:
            for descriptor in streams:
                os.close(descriptor)
        self._tree.group = self._command
        os.pwrite(self._begun, self._line_of_begun(), 0)
        return {}

    def _watch(self) -> str:
        """Wait for the end of the command or for a reason to end it; which it was."""
        limit, rest = self._request["limit"], self._request["rest"]
        until = NEVER if limit is None else self._started + limit
        deadline = NEVER if rest is None else self._started + rest
        while True:
            now = time.monotonic()
            if self._command in self._tree.ended:
                self._linger(now + LINGER)
                return "stopped" if self._stopping else "exited"
            if self._why:
                return self._why
            if now >= until:
                return "timed_out"
            if self._handed_over:
                deadline = NEVER
            if now >= deadline:
                return "deadline"
            if now >= self._abandoned_at:
                return "abandoned"
            self._turn(min(until, deadline, self._abandoned_at) - now)

    def _linger(self, until: float) -> None:
        """Let what runs in the background finish its output while it holds the streams."""
        while self._streams and not self._tree.empty and not self._why:
            now = time.monotonic()
            if now >= until:
                return
            self._turn(until - now)

    def _turn(self, wait: float) -> None:
        """Wait until something happens, and take it in."""
        if self._alone or not LINUX:
            # Nothing wakes us when somebody comes; who comes late may wait a second.
            since = time.monotonic() - self._alone_since
            wait = min(wait, LOOK if since < SOON or not LINUX else 1.0)
        for descriptor, _ in self._poll.poll(int(min(wait, LONG) * 1000) + 1):
            if descriptor == self._tree.alarm:
                self._tree.reap()
            elif descriptor == self._line:
                self._hear_line(descriptor)
            elif descriptor == self._attend:
                self._hear_adopters(woken=True)
            elif descriptor in self._streams:
                if self._streams[descriptor].take() is False:
                    self._poll.unregister(descriptor)
                    del self._streams[descriptor]
            else:
                self._pass_on()
        if self._alone or not LINUX:
            self._hear_adopters()

    @property
    def _alone(self) -> bool:
        return self._line is None and not self._adopted

    def _pass_on(self) -> None:
        """Pass input on; while the command takes none, wait for that and not for more."""
        inlet = self._inlet
        if inlet is None or inlet.sink < 0:
            return
        sink, stuck = inlet.sink, inlet.stuck
        inlet.move()
        if inlet.sink < 0:
            self._poll.unregister(sink if stuck else inlet.source)
            with suppress(OSError):  # so that no server writes what nobody reads
                os.unlink(os.path.join(self._folder, "input"))
        elif inlet.stuck and not stuck:
            self._poll.unregister(inlet.source)
            self._poll.register(sink, select.POLLOUT)
        elif stuck and not inlet.stuck:
            self._poll.unregister(sink)
            self._poll.register(inlet.source, select.POLLIN)

    def _hear_line(self, line: int) -> None:
        """Take an order of the server that began this, or note that it has gone."""
        try:
            order = os.read(line, 1)
        except ConnectionResetError:
            order = b""
        if order:
            return self._obey(order, line)
        self._poll.unregister(line)
        self._line = None
        return self._left()

    def _hear_adopters(self, *, woken: bool = False) -> None:
        """Take an order of another server, or note that one has come or that all have gone."""
        order = None
        with suppress(BlockingIOError):
            order = os.read(self._attend, 1)
        if order != b"":
            self._adopted, self._abandoned_at = True, NEVER
            if order is not None:
                self._obey(order, self._attend)
            return
        if woken:
            self._reopen()
        if self._adopted:
            self._adopted = False
            if self._line is None:
                self._left()

    def _reopen(self) -> None:
        """At the end of the file poll(2) would not wait any more; opened anew, it does."""
        with suppress(OSError):
            fresh = os.open(f"{self._folder}/attend", os.O_RDONLY | os.O_NONBLOCK)
            os.dup2(fresh, self._attend, inheritable=False)
            os.close(fresh)

    def _left(self) -> None:
        """Nobody is there any more."""
        self._alone_since = time.monotonic()
        grace = self._request["job_grace" if self._handed_over else "grace"]
        self._abandoned_at = NEVER if grace is None else self._alone_since + grace

    def _obey(self, order: bytes, descriptor: int) -> None:
        """Carry out an order."""
        if order == orders.HAND_OVER:
            self._handed_over = True
            os.pwrite(self._begun, self._line_of_begun(), 0)
        elif order == orders.SIGNAL:
            self._stopping = True
            self._send(os.read(descriptor, 1)[0])
        elif order == orders.END_INPUT and self._inlet is not None:
            self._inlet.ending = True
            self._pass_on()
        elif order == orders.LOOK_FOR_WAITING:
            self._look_for_waiting()
        else:
            self._why = self._why or orders.ENDS.get(order, "")

    def _send(self, number: int) -> None:
        """Send a signal to the command's process group."""
        groups = {self._command: [number]}
        if self._terminal is not None:
            with suppress(OSError):
                groups.setdefault(os.tcgetpgrp(self._terminal), [number])
            if number == signal.SIGTERM:  # which shells ignore; a terminal that goes hangs up
                groups = {group: [number, signal.SIGHUP] for group in groups}
        for group, numbers in groups.items():
            for each in numbers:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, each)

    def _look_for_waiting(self) -> None:
        """Say whether it waits for input, in a file that appears whole."""
        answer = UNKNOWN
        terminal, inlet = self._terminal, self._inlet
        with suppress(OSError):
            pids = [self._command, *descendants(self._command)]
            if terminal is not None:
                answer = waits(terminal, pids, os.tcgetpgrp(terminal))
            elif inlet is not None and inlet.sink >= 0:
                answer = waits(inlet.sink, pids, None)
            draft = os.path.join(self._folder, "waiting.tmp")
            with suppress(FileNotFoundError):
                os.unlink(draft)
            file = create(draft)
            os.write(file, answer.encode())
            os.close(file)
            os.rename(draft, os.path.join(self._folder, "waiting"))

    def _terminated(self, *_: object) -> None:
        """SIGTERM, as when the machine goes down: end it in order."""
        self._why = self._why or orders.ENDS[orders.KILL]

    def _record(self, why: str, **more: object) -> None:
        """Write how it ended into the bytes that were reserved, and give them their name."""
        ended = {
            "why": why,
            "status": self._tree.ended.get(self._command),
            "limit": self._request["limit"],
            "grace": self._request["job_grace" if self._handed_over else "grace"],
            "ended": time.time(),
            "stdout": self._out.close(),
            "stderr": self._err.close() if self._terminal is None else NOTHING,
            "survivors": [] if self._tree.empty else children()[:8],
            **more,
        }
        self._turns.close()
        os.pwrite(self._reserved, json.dumps(ended).encode(), 0)
        unnamed = os.path.join(self._folder, "status.tmp")
        os.rename(unnamed, os.path.join(self._folder, "status.json"))
