"""How often a call flushes, and which files: counted by strace, not by our own word.

Run by itself it prints the counts as JSON, or a text that says why there are none.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from line_client import LineClient
from place import Place

CALLS = 10
"""Of each tool; few, so that no checkpoint of the journal falls in."""
_FLUSH = re.compile(r"\b(?:fsync|fdatasync|sync_file_range|msync|sync|syncfs)\(\d*<?([^>,)]*)")


@dataclass(frozen=True, slots=True)
class Flushes:
    """Flushes a call: of the journal's files, and of all others."""

    tool: str
    journal: float
    others: float


def count(place: Place) -> list[Flushes] | str:
    """Count the flushes of each keyed tool, and of a safe one; or say why that cannot be done.

    Lines and not `strace -c`: a table of totals cannot tell whose flush it was, nor the calls'
    from the start's.
    """
    strace = shutil.which("strace")
    if strace is None:
        return "strace not installed"
    if not _works(strace):
        return "strace may not trace here"
    trace = place.folder / "flushes.trace"
    calls = "trace=fsync,fdatasync,sync_file_range,msync,sync,syncfs"
    command = [strace, "-f", "-y", "-qq", "-e", calls, "-o", str(trace), *place.command()]
    found: list[Flushes] = []
    with LineClient(command, place.environment("state-traced")) as client:
        for tool in ("write_file", "run_command", "list_directory"):
            place.call(client, tool)
            before = _flushed(trace)
            for _ in range(CALLS):
                place.call(client, tool)
            # strace writes a line before it lets the server go on, so before the answer.
            paths = _flushed(trace)[len(before) :]
            journal = sum("journal.db" in os.path.basename(path) for path in paths)
            found.append(Flushes(tool, journal / CALLS, (len(paths) - journal) / CALLS))
    return found


def _works(strace: str) -> bool:
    """Whether this process may trace at all; many containers forbid it."""
    tried = subprocess.run(
        [strace, "-qq", "-e", "trace=none", "-o", os.devnull, "true"], capture_output=True
    )
    return tried.returncode == 0


def _flushed(trace: Path) -> list[str]:
    return [match.group(1) for match in _FLUSH.finditer(trace.read_text())]


def main() -> None:
    """Count in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="surefoot-bench-") as folder:
        found = count(Place.make(Path(folder)))
    counts = found if isinstance(found, str) else [asdict(each) for each in found]
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main()
