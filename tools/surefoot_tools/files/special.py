"""What is no regular file with a single name, and is refused where content is read or replaced."""

import os
import stat

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.text import visible_name


def refuse_special(found: os.stat_result, path: str) -> None:
    """Let regular files through.

    Raises:
        ToolError: FAILED_PRECONDITION for a directory, pipe, device or socket.
    """
    if stat.S_ISREG(found.st_mode):
        return
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFLNK: "a symbolic link",
    }
    kind = kinds.get(stat.S_IFMT(found.st_mode), "something else")
    raise ToolError(
        Code.FAILED_PRECONDITION,
        f"'{visible_name(path)}' is {kind}, not a regular file",
        hint="list_directory shows what is in it" if kind == "a directory" else None,
    )


def refuse_unreadable(found: os.stat_result, path: str) -> None:
    """Let regular files with a single name through.

    Raises:
        ToolError: as `refuse_special`; PERMISSION_DENIED for a file with further hard links, which
            may lie outside the roots and no look at the path can tell.
    """
    refuse_special(found, path)
    if found.st_nlink > 1:
        raise ToolError(
            Code.PERMISSION_DENIED,
            f"'{visible_name(path)}' is a hard link: the same file has {found.st_nlink} names, "
            "some may lie outside the roots",
            hint="make a copy of it with its own name, then use that",
        )
