"""Where programs that surefoot uses are found."""

import shutil
import sys
from pathlib import Path


def ripgrep() -> str | None:
    """`rg` on the path, else the one that the `search` extra put beside this interpreter."""
    beside = Path(sys.executable).with_name("rg")
    return shutil.which("rg") or (str(beside) if beside.is_file() else None)
