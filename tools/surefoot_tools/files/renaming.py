"""Renames that ordinary rename(2) cannot promise: onto a free name only, and two names swapped."""

import ctypes
import errno
import os
import sys

_FREE_ONLY, _SWAP = (1, 2) if sys.platform == "linux" else (4, 2)
"""RENAME_NOREPLACE and RENAME_EXCHANGE of renameat2(2); RENAME_EXCL and RENAME_SWAP of macOS."""
_CALL = "renameat2" if sys.platform == "linux" else "renameatx_np"
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ENOTSUP)


def _rename(source: str, name: str, source_parent: int, parent: int, flag: int) -> bool:
    """Whether it was renamed; False where the system or the file system cannot promise it.

    Raises:
        OSError: as of renameat2(2).
    """
    try:
        call = getattr(ctypes.CDLL(None, use_errno=True), _CALL)
    except AttributeError:
        return False
    names = os.fsencode(source), os.fsencode(name)
    if call(source_parent, names[0], parent, names[1], ctypes.c_uint(flag)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number))


def rename_new(source: str, name: str, source_parent: int, parent: int) -> None:
    """Rename onto a name that nobody bears.

    Where the system cannot promise that, it is looked at first: another program that takes the name
    in between loses what it put there.

    Args:
        source: Name of what is renamed, in the directory `source_parent`.
        name: Its new name, in the directory `parent`.
        source_parent: Descriptor.
        parent: Descriptor.

    Raises:
        FileExistsError: somebody bears it.
        OSError: as of rename(2).
    """
    if _rename(source, name, source_parent, parent, _FREE_ONLY):
        return
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(source, name, src_dir_fd=source_parent, dst_dir_fd=parent)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def swap(one: str, other: str, one_parent: int, other_parent: int) -> bool:
    """Swap two names in one step; False where the system cannot.

    Raises:
        OSError: as of rename(2).
    """
    return _rename(one, other, one_parent, other_parent, _SWAP)
