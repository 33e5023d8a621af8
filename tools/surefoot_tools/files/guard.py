"""What may be changed below the roots: neither what others keep, nor what is read-only."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.protected import refuse_kept, refuse_protected, refuse_reserved
from surefoot_tools.files.text import visible_name


class Guard:
    """Looks at canonical paths; whoever asks has followed all links.

    Args:
        directories: The roots.
        reserved: Canonical paths that no file tool writes, and what each is.
        read_only: Directories in which nothing is changed.
    """

    def __init__(
        self, directories: Sequence[Path], reserved: Mapping[Path, str], read_only: Collection[Path]
    ) -> None:
        self._directories = directories
        self._reserved = reserved
        self._read_only = read_only

    def refuse_write(self, place: str, below: Sequence[str], path: str) -> None:
        """Let through what a file may be written to.

        Args:
            place: The canonical path.
            below: Its components below its root.
            path: As the caller wrote it.

        Raises:
            ToolError: PERMISSION_DENIED.
        """
        refuse_kept(below, path)
        refuse_protected(below, path)
        refuse_reserved(self._reserved.get(Path(place)), path)
        for each in self._read_only:
            if Path(place).is_relative_to(os.path.realpath(each)):
                raise ToolError(
                    Code.PERMISSION_DENIED,
                    f"'{visible_name(path)}' lies in a root that is read-only",
                    hint="write in another root, or ask the person to serve this one writable",
                )

    def refuse_take(self, place: str, below: Sequence[str], path: str) -> None:
        """As `refuse_write`, for what takes all that is in it along.

        Raises:
            ToolError: PERMISSION_DENIED.
        """
        self.refuse_write(place, below, path)
        for each, what in self._reserved.items():
            if each.is_relative_to(place):
                refuse_reserved(f"the folder of {each.name}, {what}", path)
        for each in (*self._directories, *self._read_only):
            if Path(os.path.realpath(each)).is_relative_to(place):
                raise ToolError(
                    Code.PERMISSION_DENIED, f"'{visible_name(path)}' is a root, or holds one"
                )
