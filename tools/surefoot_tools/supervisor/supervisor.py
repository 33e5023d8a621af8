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

from surefoot_tools.supervisor.stream import Stream, create
from surefoot_tools.supervisor.tree import LOOK, Tree, children

CHUNK = 65536
"""Bytes of a request read at once."""
LINGER = 0.5
"""Seconds that output may still arrive after the command itself ended."""
RESERVED = 1024
"""Bytes of disk taken before the command begins: a full disk does not cost its record."""
KILL, DEADLINE = b"K", b"D"
"""Orders: end it, since the call was cancelled, or since its caller's deadline is over."""
NEVER = float("inf")
DEFAULTS = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ", "SIGINT", "SIGTERM", "SIGHUP")]
"""Signals that a command gets back: Python ignores the first two, the keeper the others."""


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
        self._order = b""
        self._abandoned_at = NEVER
        self._out, self._err = Stream(), Stream()
        self._streams = {stream.source: stream for stream in (self._out, self._err)}
        self._poll = select.poll()
        for descriptor in (self._tree.alarm, *self._streams):
            self._poll.register(descriptor, select.POLLIN)
        signal.signal(signal.SIGTERM, self._terminated)

    def run(self, line: socket.socket, request: dict[str, Any]) -> None:
        """Begin the command, wait for its end or end it, and leave the record.

        Args:
            line: To the server that asked; its end means that this server is gone.
            request: See `surefoot_tools.shell.jobs.Jobs`.
        """
        self._request = request
        self._folder = f"{request['jobs']}/{request['job']}"
        self._out.path, self._err.path = f"{self._folder}/stdout", f"{self._folder}/stderr"
        self._attendant: int | None = line.fileno()
        self._poll.register(line.fileno(), select.POLLIN)
        try:
            stdin = _source(request["stdin"], request["jobs"])
            self._lay_out()
        except FileExistsError:
            return tell(line, taken=True)
        except OSError as e:
            return tell(line, errno=e.errno, step="prepare")
        wrong = self._begin(stdin)
        if wrong:
            self._record("not_started", **wrong)
            return tell(line, **wrong)
        tell(line, begun=self._command)
        why = self._watch()
        duration = time.monotonic() - self._started
        left = self._tree.end()
        self._record(why, duration=duration, background_killed=left and why == "exited")
        # What watches our end need not wait for that of the process.
        os.close(self._attend)
        os.close(self._ended)
        return line.close()

    def _lay_out(self) -> None:
        """Make the job's folder and give it its name.

        Raises:
            FileExistsError: recovery was here first.
        """
        draft = os.path.join(self._request["jobs"], f".{self._request['job']}.{os.getpid()}")
        os.mkdir(draft, 0o700)
        for name in ("attend", "ended"):
            os.mkfifo(os.path.join(draft, name), 0o600)
        self._attend = os.open(os.path.join(draft, "attend"), os.O_RDONLY | os.O_NONBLOCK)
        # Open until we end, so that whoever reads from it sees when that is.
        self._ended = os.open(os.path.join(draft, "ended"), os.O_RDWR | os.O_NONBLOCK)
        self._began, self._started = time.time(), time.monotonic()
        self._begun = create(os.path.join(draft, "begun.json"))
        os.write(self._begun, self._line_of_begun())
        self._reserved = create(os.path.join(draft, "status.tmp"))
        os.write(self._reserved, b" " * RESERVED)
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
        begun = {"pid": self._command, "supervisor": os.getpid(), "began": self._began}
        return json.dumps(begun).encode()

    def _begin(self, stdin: int) -> dict[str, Any]:
        """Start the command; what was wrong if it cannot be.

        Not by a fork: posix_spawn(3) copies nothing of us and tells what the exec said. The command
        has a session of its own, or a `kill 0` in it would be for us, too.
        """
        step = "cwd"
        streams = ((stdin, 0), (self._out.sink, 1), (self._err.sink, 2))
        try:
            os.chdir(self._request["cwd"])
            step = "exec"
            argv, env = self._request["argv"], self._request["env"]
            self._command = os.posix_spawn(
                _program(argv[0], env),
                argv,
                env,
                file_actions=[(os.POSIX_SPAWN_DUP2, *pair) for pair in streams],
                setsid=True,
                setsigdef=DEFAULTS,
            )
        except (OSError, ValueError) as e:
            return {"errno": getattr(e, "errno", errno.EINVAL), "step": step}
        finally:
            os.chdir("/")
            for descriptor, _ in streams:
                os.close(descriptor)
        self._tree.group = self._command
        os.pwrite(self._begun, self._line_of_begun(), 0)
        return {}

    def _watch(self) -> str:
        """Wait for the end of the command or for a reason to end it; which it was."""
        until = self._started + self._request["limit"]
        while True:
            now = time.monotonic()
            if self._command in self._tree.ended:
                self._linger(now + LINGER)
                return "exited"
            if self._order:
                return "deadline" if self._order == DEADLINE else "killed"
            if now >= until:
                return self._request["limited_by"]
            if now >= self._abandoned_at:
                return "abandoned"
            self._turn(min(until, self._abandoned_at) - now)

    def _linger(self, until: float) -> None:
        """Let what runs in the background finish its output while it holds the streams."""
        while self._streams and not self._tree.empty and not self._order:
            now = time.monotonic()
            if now >= until:
                return
            self._turn(until - now)

    def _turn(self, wait: float) -> None:
        """Wait until something happens, and take it in."""
        if self._attendant is None:
            wait = min(wait, LOOK)
        for descriptor, _ in self._poll.poll(None if wait == NEVER else int(wait * 1000) + 1):
            if descriptor == self._tree.alarm:
                self._tree.reap()
            elif descriptor == self._attendant:
                self._hear(descriptor)
            elif self._streams[descriptor].take() is False:
                self._poll.unregister(descriptor)
                del self._streams[descriptor]
        if self._attendant is None:
            self._hear(self._attend)

    def _hear(self, descriptor: int) -> None:
        """Take an order, or note that an attendant has come or gone."""
        try:
            order = os.read(descriptor, 1)
        except BlockingIOError:
            if self._attendant is None:
                self._attendant = descriptor
                self._abandoned_at = NEVER
                self._poll.register(descriptor, select.POLLIN)
            return
        except ConnectionResetError:
            order = b""
        self._order = self._order or order
        if not order and self._attendant is not None:
            self._poll.unregister(descriptor)
            self._attendant = None
            self._abandoned_at = time.monotonic() + self._request["grace"]

    def _terminated(self, *_: object) -> None:
        """SIGTERM, as when the machine goes down: end it in order."""
        self._order = self._order or KILL

    def _record(self, why: str, **more: object) -> None:
        """Write how it ended into the bytes that were reserved, and give them their name."""
        ended = {
            "why": why,
            "status": self._tree.ended.get(self._command),
            "limit": self._request["limit"],
            "grace": self._request["grace"],
            "ended": time.time(),
            "stdout": self._out.close(),
            "stderr": self._err.close(),
            "survivors": [] if self._tree.empty else children()[:8],
            **more,
        }
        os.pwrite(self._reserved, json.dumps(ended).encode(), 0)
        unnamed = os.path.join(self._folder, "status.tmp")
        os.rename(unnamed, os.path.join(self._folder, "status.json"))


def _program(name: str, env: dict[str, str]) -> str:
    """Where a program lies: as execvp(3) finds it, by the PATH that it will have."""
    if "/" in name:
        return name
    places = [os.path.join(folder or ".", name) for folder in os.get_exec_path(env)]
    there = [place for place in places if os.path.exists(place)]
    allowed = [place for place in there if os.access(place, os.X_OK) and not os.path.isdir(place)]
    return (allowed or there or [name])[0]


def _source(text: str | None, folder: str) -> int:
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
