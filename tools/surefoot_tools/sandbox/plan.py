"""The plan for a command: which files it gets, and how. Made by the server, carried out by `enter`.

Toolchains are read-only, the roots are as they are but for the protected paths in them, `/tmp` and
the home folder are private and empty. Nothing else of the file system is there; least of all the
state directory, also where it lies below something that is.
"""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from surefoot_tools.sandbox import protected
from surefoot_tools.sandbox.filter import AF_INET, AF_INET6, AF_NETLINK, AF_UNIX

_SYSTEM = ("/usr", "/opt", "/nix/store", "/gnu/store", "/run/current-system")
_MERGED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Folders of old; links into /usr on most systems."""
_ETC = (
    "alternatives", "gitconfig", "group", "hosts", "java", "ld.so.cache", "localtime",
    "nsswitch.conf", "os-release", "passwd", "pki/ca-trust", "pki/tls/certs",
    "profile", "services", "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf", "static", "terminfo",
)  # fmt: skip
"""Of /etc: what programs need, and nothing with a secret in it. Each costs 0.2 ms a command, so no
more than that."""
_KERNEL = ("/proc/sys", "/proc/sysrq-trigger", "/proc/acpi", "/proc/fs", "/proc/scsi")
_RESOLVING = ("/etc/resolv.conf", "/run/systemd/resolve", "/run/resolvconf")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")
TEMPORARY = 512 * 1024 * 1024
SHARED_MEMORY = 128 * 1024 * 1024
HOME = 256 * 1024 * 1024
"""Bytes of the room's own file systems, which lie in memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one command may take."""

    processes: int = 1024
    """Threads count as processes. Of a command in a room; beyond those that run else."""
    memory: int = 0
    """Bytes of data that one process may have; 0: half of the machine's memory."""
    file: int = 16 * 1024**3
    """Bytes that one file may grow to."""

    def numbers(self) -> dict[str, int]:
        """As `enter` reads it."""
        half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        return {
            "processes": self.processes,
            "memory": self.memory or max(half, 1 << 30),
            "file": self.file,
        }


@dataclass(frozen=True, slots=True)
class Place:
    """What commands of one server get to see."""

    roots: tuple[Path, ...]
    """Resolved, absolute."""
    hidden: tuple[Path, ...]
    """The state directory, and what else must not be seen."""
    path: str
    """Of the commands: PATH."""
    home: str
    network: bool
    limits: Limits
    read_only: tuple[Path, ...] = ()
    """Of the roots, or in them: what is not to be changed."""

    def narrowed(self, roots: Sequence[Path]) -> "Place":
        """The same for a caller who has fewer roots; the others are hidden from that one.

        But for one that has a root of the caller's in it: what lies beside that is as visible as
        anything of the system's is where it lies.
        """
        own = [os.path.realpath(root) for root in roots]
        others = [each for each in self.roots if not _below(str(each), own)]
        apart = [each for each in others if not any(_below(root, [str(each)]) for root in own)]
        return replace(self, roots=tuple(map(Path, own)), hidden=(*self.hidden, *apart))

    def toolchains(self) -> list[str]:
        """Folders outside of the system's that PATH leads to: virtual environments and their like.

        With the folder above where it is the toolchain's own: one with `lib` or its like beside.
        """
        known = [*_SYSTEM, *_MERGED, *map(str, self.roots)]
        found: list[str] = []
        for entry in self.path.split(os.pathsep):
            real = os.path.realpath(entry) if entry.startswith("/") else ""
            if not os.path.isdir(real) or _below(real, known) or real == "/":
                continue
            above = os.path.dirname(real)
            beside = ("lib", "libexec", "versions")
            own = any(os.path.isdir(os.path.join(above, name)) for name in beside)
            general = above in (self.home, "/", os.path.join(self.home, ".local"))
            chosen = above if own and not general and not _below(self.home, [above]) else real
            if not _below(self.home, [chosen]):
                found += [each for each in {chosen, entry} if os.path.isdir(each)]
        # What lies in another one comes with it; a mount costs 0.2 ms.
        return sorted(_outermost(set(found)))


def bubblewrap(place: Place, program: str) -> list[str]:
    """The arguments of bubblewrap that make the room."""
    share = [] if place.network else ["--unshare-net"]
    tmp = ["--size", str(TEMPORARY), "--perms", "1777", "--tmpfs"]
    lines = [
        [program, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"],
        ["--unshare-cgroup-try", *share, "--die-with-parent", "--new-session", "--as-pid-1"],
        ["--cap-drop", "ALL", "--hostname", "sandbox", "--info-fd", "3", "--seccomp", "4"],
        ["--proc", "/proc", "--dev", "/dev"],
        ["--size", str(SHARED_MEMORY), "--perms", "1777", "--tmpfs", "/dev/shm"],  # noqa: S108
        ["--remount-ro", "/dev", *tmp, "/tmp", "--symlink", "/tmp", "/var/tmp"],  # noqa: S108
    ]
    lines += [_shown(path) for path in _SYSTEM]
    etc = [f"/etc/{name}" for name in _ETC]
    lines += [_shown(path) for path in (*_MERGED, *etc)]
    for path in _RESOLVING if place.network else ():
        lines.append(["--ro-bind-try", path, path])
    if place.home.startswith("/") and place.home != "/" and not _below(place.home, _SYSTEM):
        lines.append(["--size", str(HOME), "--perms", "0700", "--tmpfs", place.home])
    for path in place.toolchains():
        lines.append(["--ro-bind-try", path, path])
    lines += _bound(place)
    for path in place.hidden:
        if path.is_dir() and _below(
            str(path), [*_SYSTEM, *place.toolchains(), *map(str, place.roots)]
        ):
            lines.append(["--perms", "0000", "--tmpfs", str(path), "--remount-ro", str(path)])
    lines.append(["--remount-ro", "/", "--chdir", "/", "--", "/bin/cat"])
    return [each for line in lines for each in line]


def _bound(place: Place) -> list[list[str]]:
    """Arguments that show the roots, outer before inner; one as an outer one needs none."""
    closed = list(map(str, place.read_only))
    roots = list(map(str, place.roots))
    modes: dict[str, str] = {}
    lines: list[list[str]] = []
    for path in sorted({*roots, *(each for each in closed if _below(each, roots))}):
        mode = "--ro-bind" if _below(path, closed) else "--bind"
        outer = max((each for each in modes if _below(path, [each])), key=len, default="")
        if modes.get(outer) != mode:
            lines.append([mode, path, path])
        modes[path] = mode
    return lines


def _shown(path: str) -> list[str]:
    """Arguments that show a path read-only; a link as a link, which costs no mount."""
    if os.path.islink(path):
        return ["--symlink", os.readlink(path), path]
    return ["--ro-bind", path, path] if os.path.exists(path) else []


def in_room(place: Place, arguments: Sequence[str]) -> dict[str, Any]:
    """The plan for a command in a room.

    Args:
        place: What it may see.
        arguments: Of `bubblewrap`.
    """
    roots = [str(root) for root in place.roots]
    held, closed = protected.listed(roots)
    families = [AF_INET, AF_INET6, AF_NETLINK, AF_UNIX]
    return {
        "kind": "bubblewrap",
        "bubblewrap": list(arguments),
        "temporary": "/tmp",  # noqa: S108 - the room's own
        "held": held,
        # To root of the machine these are writable from any namespace.
        "protected": [*_KERNEL, *closed],
        "roots": roots,
        "before": protected.marks(held, closed, changes=False),
        "network": place.network,
        # In a network of its own there are no abstract sockets of others.
        "scope": place.network,
        "families": families,
        "limits": place.limits.numbers(),
        "kernel": _kernel(),
    }


def by_landlock(place: Place, temporary: str) -> dict[str, Any]:
    """The plan for a command without a room.

    Args:
        place: What it may see.
        temporary: A folder that is made for it, and removed after it.
    """
    etc = [f"/etc/{name}" for name in _ETC]
    readable = [*_SYSTEM, *_MERGED, *etc, *place.toolchains(), "/proc", "/dev/fd"]
    readable += _RESOLVING if place.network else ()
    closed = list(map(str, place.read_only))
    readable += [str(root) for root in place.roots if _below(str(root), closed)]
    written = [str(root) for root in place.roots if not _below(str(root), closed)]
    devices = [f"/dev/{name}" for name in _DEVICES]
    # Sockets with a path are not files to landlock: without any of that kind none is reached.
    families = [AF_INET, AF_INET6, AF_NETLINK] if place.network else []
    roots = [str(root) for root in place.roots]
    held, closed = protected.listed(roots)
    return {
        "kind": "landlock",
        "roots": roots,
        "before": protected.marks(held, closed, changes=True),
        "temporary": temporary,
        "readable": readable,
        "writable": [*written, temporary, *devices],
        "network": place.network,
        "families": families,
        "limits": place.limits.numbers(),
    }


def _outermost(folders: Iterable[str]) -> list[str]:
    """The folders without those that lie in another."""
    every = list(folders)
    return [each for each in every if not _below(each, [other for other in every if other != each])]


def _below(path: str, folders: Sequence[str]) -> bool:
    """Whether a path is one of the folders, or lies in one."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _kernel() -> list[int]:
    """Version of the kernel: two numbers."""
    parts = platform.release().split(".")
    return [int("".join(filter(str.isdigit, each)) or 0) for each in parts[:2]]
