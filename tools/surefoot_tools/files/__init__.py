"""The file tools: confined to the roots, atomic, and verifiable after a crash."""

from pathlib import Path
from typing import Any

from surefoot_tools.files.delete_path import DeletePath
from surefoot_tools.files.edit_file import EditFile
from surefoot_tools.files.file_info import FileInfo
from surefoot_tools.files.list_directory import ListDirectory
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.move_path import MovePath
from surefoot_tools.files.read_file import ReadFile
from surefoot_tools.files.roots import Roots
from surefoot_tools.files.search_files import SearchFiles
from surefoot_tools.files.write_file import WriteFile
from surefoot_tools.tool import Tool


def file_tools(roots: Roots, locks: PathLocks, ripgrep: str | None) -> list[Tool[Any, Any]]:
    """All file tools.

    Args:
        roots: What they may touch.
        locks: Shared by all servers of one state directory.
        ripgrep: Path of the program `rg`; None searches with Python.
    """
    return [
        ReadFile(roots),
        WriteFile(roots, locks),
        EditFile(roots, locks),
        MovePath(roots, locks),
        DeletePath(roots, locks),
        FileInfo(roots),
        ListDirectory(roots),
        SearchFiles(roots, None if ripgrep is None else Path(ripgrep)),
    ]
