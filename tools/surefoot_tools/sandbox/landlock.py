"""Landlock: the kernel's list of the files that a process may open (landlock(7)). Linux alone.

Rules only add: below a folder that may be written to nothing can be taken out.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress

from surefoot_tools.sandbox import kernel

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights on files there are, by the first version that has them."""
_TCP = 3
"""Bind and connect: from version 4."""
_SCOPES = 3
"""Abstract sockets and signals of processes outside: from version 6."""
_VERSION = 1
"""Flag of landlock_create_ruleset: ask for the version."""


def version() -> int:
    """Version of the interface; 0 where there is none."""
    with suppress(OSError, KeyError):
        if kernel.LINUX:
            nothing = ctypes.c_void_p(None)
            return kernel.call("landlock_create_ruleset", nothing, ctypes.c_size_t(0), _VERSION)
    return 0


def restrict(readable: Iterable[str], writable: Iterable[str], *, network: bool) -> None:
    """Leave this process, and all that comes of it, these files. no_new_privs has to be set.

    Args:
        readable: Paths to read and execute below; those that are not there are left out.
        writable: Paths below which all but devices may be made and changed.
        network: Whether TCP stays allowed.
    """
    found = version()
    files = (1 << max(number for since, number in _RIGHTS.items() if since <= found)) - 1
    tcp = 0 if network or found < 4 else _TCP
    ruleset = _ruleset(found, files, tcp, _SCOPES if found >= 6 else 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ)
        for path in writable:
            _allow(ruleset, path, files & ~(_MAKE_CHAR | _MAKE_BLOCK))
        kernel.call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def scope() -> None:
    """Leave this process no abstract sockets of others, where the kernel can say that.

    Raises:
        OSError: it cannot.
    """
    if version() < 6:
        raise OSError(95, "landlock: no scopes")
    ruleset = _ruleset(6, 0, 0, _SCOPES)
    kernel.call("landlock_restrict_self", ruleset, 0)
    os.close(ruleset)


def _ruleset(found: int, files: int, tcp: int, scopes: int) -> int:
    attributes = struct.pack("=QQQ", files, tcp, scopes)
    size = 8 if found < 4 else 16 if found < 6 else 24
    return kernel.call("landlock_create_ruleset", attributes, ctypes.c_size_t(size), 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _OF_A_FILE
        rule = struct.pack("=Qi", rights, descriptor)
        kernel.call("landlock_add_rule", ruleset, 1, rule, 0)
    finally:
        os.close(descriptor)
