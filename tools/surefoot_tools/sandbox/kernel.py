"""System calls that Python has no function for. Linux only; each raises OSError as `os` does."""

import ctypes
import os
import sys

LINUX = sys.platform == "linux"
MACHINE = os.uname().machine
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_NOATIME, MS_NODIRATIME, MS_BIND = 32, 1024, 2048, 4096
MS_REC, MS_RELATIME = 16384, 1 << 21
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
NS_GET_USERNS = 0xB701
"""ioctl_ns(2): the user namespace that owns a namespace."""

_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CLONE_PARENT, _SIGCHLD = 0x8000, 17
_CAPABILITY_VERSION_3 = 0x20080522
_SYSTEM_CALLS = {
    "x86_64": {"clone": 56, "capset": 126},
    "aarch64": {"clone": 220, "capset": 91},
}
NUMBERS = {
    **_SYSTEM_CALLS.get(MACHINE, {}),
    # The same on every machine: added after the tables were joined.
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}
"""Numbers of system calls here; without `clone` where we do not know them."""
# PyDLL keeps the interpreter's lock: a child made by clone(2) has nobody to get it back from.
_LIBC = ctypes.PyDLL(None, use_errno=True) if LINUX else None


def call(name: str, *arguments: object) -> int:
    """A system call by its name."""
    return _checked(name, "syscall", ctypes.c_long(NUMBERS[name]), *arguments)


def prctl(option: int, *arguments: object) -> int:
    """prctl(2)."""
    filled = [*(ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments)]
    return _checked("prctl", "prctl", option, *filled, *[ctypes.c_ulong(0)] * (4 - len(filled)))


def setns(descriptor: int, kind: int) -> None:
    """setns(2)."""
    _checked("setns", "setns", descriptor, kind)


def mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    """mount(2)."""
    names = [None if each is None else os.fsencode(each) for each in (source, target, kind)]
    _checked("mount", "mount", *names, ctypes.c_ulong(flags), None)


def sibling() -> int:
    """Fork a process that is not our child but our parent's: 0 in it.

    Nothing of Python is told of this fork; the new process should do little before its exec.
    """
    nothing = [ctypes.c_long(0)] * 4
    return call("clone", ctypes.c_long(_CLONE_PARENT | _SIGCHLD), *nothing)


def give_up_capabilities() -> None:
    """No capability is left, and no exec gives one back."""
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(64):
        try:
            prctl(_PR_CAPBSET_DROP, capability)
        except OSError as e:
            # EINVAL: there are no more. EPERM: without CAP_SETPCAP; no_new_privs holds anyway.
            if not isinstance(e, PermissionError) and capability < 30:
                raise
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())


def _checked(what: str, function: str, *arguments: object) -> int:
    result: int = getattr(_LIBC, function)(*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
