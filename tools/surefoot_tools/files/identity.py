"""What bears a name, told apart from everything else that ever bears one."""

import ctypes
import os
import stat
import struct
import sys

_STATX_BTIME = 0x800
_NO_FOLLOW = 0x100
_BTIME = 80
"""Where `stx_btime` lies in `struct statx` (linux/stat.h)."""
_SIZE = 256
_libc = ctypes.CDLL(None)


def look(name: str, parent: int) -> os.stat_result | None:
    """What a name in an open directory bears, a link itself, or None."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _born(name: str, parent: int, found: os.stat_result) -> str:
    """When it was made; nothing where the system or the file system does not say."""
    if sys.platform != "linux":
        return str(getattr(found, "st_birthtime", ""))
    buffer = ctypes.create_string_buffer(_SIZE)
    try:
        call = _libc.statx
    except AttributeError:
        return ""
    if call(parent, os.fsencode(name), _NO_FOLLOW, _STATX_BTIME, buffer) != 0:
        return ""
    if not struct.unpack_from("=I", buffer)[0] & _STATX_BTIME:
        return ""
    return "{}.{}".format(*struct.unpack_from("=qI", buffer, _BTIME))


def identity(name: str, parent: int) -> str | None:
    """Names what bears a name for as long as it exists, whatever it is called; None for nothing.

    The number of an inode alone is soon given to the next file; with the time of birth it is not.
    """
    found = look(name, parent)
    if found is None:
        return None
    kind = f"{stat.S_IFMT(found.st_mode):o}"
    return f"{found.st_dev}:{found.st_ino}:{_born(name, parent, found)}:{kind}"
