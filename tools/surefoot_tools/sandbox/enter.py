"""Starting a command confined: the part that runs in its supervisor and in the child of that.

With bubblewrap: the supervisor spawns bubblewrap, which makes a room with one process in it that
only stays, and forks a child, the porter. The porter enters the room's namespaces, makes protected
paths read-only there, and clones a sibling: a child of the supervisor, inside the room's PID
namespace. That gives up its rights and becomes the command. Paths below a root may be swapped by a
command that runs beside; so they are only looked up inside the room, where nothing else can be met.
"""

import errno
import fcntl
import json
import os
import resource
import signal
import stat
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from surefoot_tools.sandbox import filter as seccomp
from surefoot_tools.sandbox import kernel, landlock
from surefoot_tools.sandbox.room import BubblewrapRoom, Room
from surefoot_tools.supervisor.start import DEFAULTS, NotStarted, program

INFORM = 3
"""The descriptor on which bubblewrap tells the process id of the room's first process."""
FILTER = 4
"""The descriptor from which bubblewrap takes the seccomp filter of the first process. Whoever is in
the room may write to that one's memory, so it must not be able to do more than they."""
_KINDS = {
    "net": kernel.CLONE_NEWNET,
    "ipc": kernel.CLONE_NEWIPC,
    "uts": kernel.CLONE_NEWUTS,
    "cgroup": kernel.CLONE_NEWCGROUP,
    "pid": kernel.CLONE_NEWPID,
    "mnt": kernel.CLONE_NEWNS,
}
"""The namespaces to enter. That of files comes last: before it our own /proc is still there."""
_FLAGS = {
    os.ST_NOSUID: kernel.MS_NOSUID,
    os.ST_NODEV: kernel.MS_NODEV,
    os.ST_NOEXEC: kernel.MS_NOEXEC,
    os.ST_NOATIME: kernel.MS_NOATIME,
    os.ST_NODIRATIME: kernel.MS_NODIRATIME,
    os.ST_RELATIME: kernel.MS_RELATIME,
}
"""What a mount that came from outside must keep: mount_namespaces(7)."""
_FILTERS: dict[tuple[int, ...], bytes] = {}
"""Made before the keeper forks: `prepare`."""

Plan = Mapping[str, Any]
"""How to confine a command; see `surefoot_tools.sandbox.plan`."""


def prepare() -> None:
    """Make the filters once, before anything is forked."""
    if seccomp.supported():
        for families in ([], [1], [1, 2, 10, 16], [2, 10, 16]):
            _filter(families)


def _filter(families: Sequence[int]) -> bytes:
    key = tuple(families)
    if key not in _FILTERS:
        _FILTERS[key] = seccomp.program(key)
    return _FILTERS[key]


def start(
    request: Mapping[str, Any], streams: Sequence[int], terminal: str | None, plan: Plan
) -> tuple[int, Room]:
    """Start a command as a plan says; its process id, and where it runs.

    Args:
        request: As of `surefoot_tools.supervisor.start.start`.
        streams: Descriptors to be its 0, 1 and 2, or one that is to be all three.
        terminal: The path of the terminal that they are, which is to be its own.
        plan: How to confine it.

    Raises:
        NotStarted: it cannot be started.
    """
    command = _Command(request, list(streams), terminal is not None, plan)
    if plan["kind"] == "bubblewrap":
        return _start_in_room(command, _with_terminal(plan["bubblewrap"], terminal))
    temporary: str = plan["temporary"]
    with suppress(FileExistsError):
        os.mkdir(temporary, 0o700)
    room = Room(temporary)
    try:
        return _hear(_fork(command))["pid"], room
    except NotStarted:
        room.remove()
        raise


class _Command:
    """The last steps of a child on its way to a command. `become` does not return."""

    def __init__(
        self, request: Mapping[str, Any], streams: list[int], terminal: bool, plan: Plan
    ) -> None:
        self.request = request
        self.plan = plan
        self._streams = streams * 3 if len(streams) == 1 else streams
        self._terminal = terminal

    def become(self, report: int, proc: int = -1) -> NoReturn:
        """Give up what it must not have, and execute it; errors go to `report`.

        Args:
            report: A descriptor that an exec closes.
            proc: The folder /proc of outside, or -1.
        """
        step = "sandbox"
        try:
            os.setsid()
            if self._terminal:
                fcntl.ioctl(self._streams[0], termios.TIOCSCTTY, 0)
            for to, each in enumerate(self._streams):
                os.dup2(each, to)
            if proc >= 0:
                self._bound_namespace(proc)
            os.closerange(3, report)
            os.closerange(report + 1, 1 << 20)
            signal.set_wakeup_fd(-1)
            for number in (*DEFAULTS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            self._give_up()
            step = "cwd"
            os.chdir(self.request["cwd"])
            step = "exec"
            argv = self.request["argv"]
            env = dict(self.request["env"])
            if self.plan["kind"] == "landlock" or not os.path.isdir(env.get("TMPDIR", "")):
                env["TMPDIR"] = self.plan["temporary"]
            os.execve(program(argv[0], env), argv, env)  # noqa: S606 - the command
        except (OSError, ValueError) as e:
            _tell(report, errno=getattr(e, "errno", errno.EINVAL), step=step)
        finally:
            os._exit(1)

    def _give_up(self) -> None:
        limits: Mapping[str, int] = self.plan["limits"]
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        processes = limits["processes"]
        if self.plan["kind"] == "landlock":
            # All of this user's count. All tasks of the machine are no less than that.
            with open("/proc/loadavg") as file:
                processes += int(file.read().split()[3].partition("/")[2])
        if hard != resource.RLIM_INFINITY:
            processes = min(processes, hard)
        for kind, most in (*_limits(limits), (resource.RLIMIT_NPROC, processes)):
            resource.setrlimit(kind, (most, most))
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if self.plan["kind"] == "landlock":
            plan = self.plan
            landlock.restrict(plan["readable"], plan["writable"], network=plan["network"])
        elif self.plan["scope"]:
            landlock.scope()
        kernel.give_up_capabilities()
        seccomp.install(_filter(self.plan["families"]))

    def _bound_namespace(self, proc: int) -> None:
        """Bound process ids where they have a bound of their own: root has no RLIMIT_NPROC.

        Before Linux 6.14 there is one bound for the whole machine, which only its root may set;
        opened from outside by root itself that would be set, so it is compared first.
        """
        with suppress(OSError):
            file = os.open("sys/kernel/pid_max", os.O_RDWR | os.O_CLOEXEC, dir_fd=proc)
            if tuple(self.plan["kernel"]) >= (6, 14):
                os.write(file, str(self.plan["limits"]["processes"] + 301).encode())


def _with_terminal(argv: list[str], terminal: str | None) -> list[str]:
    """Show the terminal in the room, where ttyname(3) finds it: its other ones are its own."""
    if terminal is None:
        return argv
    at = argv.index("--remount-ro")
    return [*argv[:at], "--dev-bind", terminal, "/dev/console", *argv[at:]]


def _start_in_room(command: _Command, argv: list[str]) -> tuple[int, Room]:
    stay_read, stay = os.pipe()
    ready, ready_write = os.pipe()
    inform, inform_write = os.pipe()
    os.write(stay, b".")
    code = os.memfd_create("filter")
    os.write(code, _filter([]))
    os.lseek(code, 0, os.SEEK_SET)
    above: list[int] = []
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        # The first process reaps what falls to it if it inherits that it ignores SIGCHLD.
        moved: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_DUP2, each, to) for to, each in enumerate((stay_read, ready_write))
        ]
        if stat.S_ISREG(os.fstat(2).st_mode):
            # The keeper's log, in the state directory: whoever is in the room could open it.
            moved.append((os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0))
        # Above what they are to be: none is overwritten before it is copied.
        above = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in (inform_write, code)]
        moved += [
            (os.POSIX_SPAWN_DUP2, each, to)
            for each, to in zip(above, (INFORM, FILTER), strict=True)
        ]
        outer = os.posix_spawn(argv[0], argv, {}, file_actions=moved, setsid=True)
    except OSError as e:
        for each in (stay, ready, inform):
            os.close(each)
        raise NotStarted(e.errno or errno.EIO, "sandbox") from e
    finally:
        signal.signal(signal.SIGCHLD, before)
        for each in (stay_read, ready_write, inform_write, code, *above):
            os.close(each)
    try:
        heard = _hear(_fork(command, (inform, ready)))
    except NotStarted:
        os.close(stay)
        with suppress(ProcessLookupError):
            os.kill(outer, signal.SIGKILL)
        raise
    finally:
        os.close(ready)
        os.close(inform)
    return heard["pid"], BubblewrapRoom(outer, heard["first"], stay)


def _fork(command: _Command, room: tuple[int, int] | None = None) -> int:
    """Fork the child that becomes the command, or the porter; what it reports comes here."""
    report, report_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if room is None:
                _tell(report_write, pid=os.getpid())
                command.become(report_write)
            _carry(command, report_write, *room)
        except OSError as e:
            _tell(report_write, errno=e.errno, step="sandbox")
        finally:
            os._exit(0)
    os.close(report_write)
    return report


def _carry(command: _Command, report: int, inform: int, ready: int) -> None:
    """The porter: enter the room, and clone what becomes the command."""
    told = bytearray()
    while b"}" not in told:
        part = os.read(inform, 4096)
        if not part:
            raise OSError(errno.EIO, "bubblewrap made no room")
        told += part
    first: int = json.loads(told)["child-pid"]
    for kind, most in (*_limits(command.plan["limits"]), (resource.RLIMIT_NPROC, 1)):
        resource.prlimit(first, kind, (most, most))
    spaces = f"/proc/{first}/ns"
    found = {name: os.open(f"{spaces}/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in _KINDS}
    found = {name: each for name, each in found.items() if not _ours(name, each)}
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if not os.read(ready, 1):
        raise OSError(errno.EIO, "bubblewrap made no room")
    inner = os.open(f"{spaces}/user", os.O_RDONLY | os.O_CLOEXEC)
    owner = fcntl.ioctl(found["mnt"], kernel.NS_GET_USERNS)
    nested = not _same(owner, inner)
    kernel.setns(owner, kernel.CLONE_NEWUSER)
    for name, descriptor in found.items():
        kernel.setns(descriptor, _KINDS[name])
    for path in command.plan["held"]:
        _hold(path)
    for path in command.plan["protected"]:
        _protect(path)
    if nested:
        kernel.setns(inner, kernel.CLONE_NEWUSER)
    pid = kernel.sibling()
    if pid == 0:
        command.become(report, proc)
    _tell(report, pid=pid, first=first)


def _hold(path: str) -> None:
    """Make a path a mount of its own: what is one cannot be renamed, nor be removed."""
    if _there(path):
        kernel.mount(path, path, None, kernel.MS_BIND | kernel.MS_REC)


def _protect(path: str) -> None:
    """Make a path read-only."""
    if _there(path):
        kernel.mount(path, path, None, kernel.MS_BIND)
        keep = os.statvfs(path).f_flag
        flags = kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY
        for theirs, ours in _FLAGS.items():
            flags |= ours if keep & theirs else 0
        kernel.mount(None, path, None, flags)


def _there(path: str) -> bool:
    """Whether it is there and no link: a link leads only to what the room has anyway."""
    return os.path.exists(path) and not os.path.islink(path)


def _ours(name: str, descriptor: int) -> bool:
    """Whether a namespace is the one that we are in."""
    there, here = os.fstat(descriptor), os.stat(f"/proc/self/ns/{name}")
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _same(one: int, other: int) -> bool:
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _limits(numbers: Mapping[str, int]) -> list[tuple[int, int]]:
    """Resource limits but that of processes; a lower one that is there already stays."""
    wanted = {
        resource.RLIMIT_DATA: numbers["memory"],
        resource.RLIMIT_FSIZE: numbers["file"],
        resource.RLIMIT_CORE: 0,
    }
    found = {kind: resource.getrlimit(kind)[1] for kind in wanted}
    return [
        (kind, most if found[kind] == resource.RLIM_INFINITY else min(most, found[kind]))
        for kind, most in wanted.items()
    ]


def _tell(report: int, **what: object) -> None:
    os.write(report, json.dumps(what).encode() + b"\n")


def _hear(report: int) -> dict[str, Any]:
    """What the children report until the exec.

    Raises:
        NotStarted: one of them could not go on.
    """
    with os.fdopen(report, "rb") as file:
        heard: dict[str, Any] = {}
        for line in file:
            heard |= json.loads(line)
    if "errno" in heard:
        raise NotStarted(heard["errno"], heard["step"])
    if "pid" not in heard:
        raise NotStarted(errno.EIO, "sandbox")
    return heard
