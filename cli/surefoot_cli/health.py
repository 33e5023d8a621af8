"""The health of a journal, for `surefoot doctor`."""

import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import click

from surefoot_cli.finding import Finding
from surefoot_cli.moment import moment
from surefoot_cli.place import opened, shown
from surefoot_server.config import Retention
from surefoot_server.journal.owners import is_held
from surefoot_server.journal.snapshot import Snapshot
from surefoot_server.journal.sqlite import connect

CHECK_BOUND = 5.0
"""Seconds that the check of a file's pages may take."""
STEPS = 10_000
"""Instructions of SQLite between two looks at the clock."""
DAY = 86_400.0


def journal_findings(place: str | Path) -> Iterator[Finding]:
    """What there is to say of the journal at a place, one thing at a time."""
    if isinstance(place, Path) and not place.exists():
        yield Finding("journal", True, f"none yet; `surefoot serve` makes {place}")
        return
    try:
        with opened(place) as snapshot:
            schema = next(snapshot.rows("get_setting", {"name": "schema"}))["value"]
            schema = schema.decode() if isinstance(schema, bytes) else schema
            yield Finding("journal", True, f"readable, schema version {schema}: {shown(place)}")
            yield _in_doubt(snapshot)
            yield _retention(snapshot)
    except click.ClickException as e:
        yield Finding("journal", False, e.message, "move it away, or use another SUREFOOT_HOME")
        return
    if isinstance(place, Path):
        yield _pages(place)
        yield _size(place)
        yield _reserve(place.parent / "instances")


def _in_doubt(snapshot: Snapshot) -> Finding:
    count = next(snapshot.rows("count_in_doubt"))["n"]
    if not count:
        return Finding("calls in doubt", True, "none")
    fix = "surefoot failures lists them; surefoot journal resolve KEY happened|not-happened"
    return Finding("calls in doubt", True, f"{count}", f"{fix} --reason '...'")


def _retention(snapshot: Snapshot) -> Finding:
    oldest = next(snapshot.rows("oldest_call"))
    if oldest["at"] is None:
        return Finding("retention", True, "no calls yet")
    limits = Retention()
    found = f"{oldest['n']} calls, the oldest of {moment(oldest['at'])}"
    if time.time() - oldest["at"] <= limits.keys + DAY:
        return Finding("retention", True, found)
    # The servers may have been told to keep more, so this is no fault.
    fix = f"servers drop them after {limits.keys / DAY:.0f} days unless told otherwise: start one"
    return Finding("retention", True, found, fix)


def _pages(path: Path) -> Finding:
    """Whether SQLite finds the file whole."""
    end = time.monotonic() + CHECK_BOUND
    connection = connect(path, read_only=True)
    try:
        connection.set_progress_handler(lambda: time.monotonic() > end, STEPS)
        said = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    except apsw.InterruptError:
        return Finding("journal pages", True, f"no damage found within {CHECK_BOUND:.0f} s")
    except apsw.Error as e:
        said = [str(e)]
    finally:
        connection.close()
    if said == ["ok"]:
        return Finding("journal pages", True, "whole")
    fix = "stop the servers, keep a copy, and recover it by the program sqlite3: .recover"
    return Finding("journal pages", False, "; ".join(said), fix)


def _size(path: Path) -> Finding:
    parts = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]
    size = sum(part.stat().st_size for part in parts if part.exists())
    loose = path.stat().st_mode & 0o077
    found = f"{size / 1e6:.1f} MB, mode {path.stat().st_mode & 0o777:04o}"
    return Finding("journal file", not loose, found, f"chmod 600 {path}" if loose else None)


def _reserve(instances: Path) -> Finding:
    """Whether each living server holds room back for when the disk is full."""
    living = [path for path in instances.glob("*.lock") if is_held(path)]
    without = [path.stem for path in living if not path.with_suffix(".ballast").exists()]
    found = f"{len(living)} servers, {len(living) - len(without)} with ballast"
    fix = "the disk is full, or was: free some space, and the next commit takes it again"
    return Finding("reserve", not without, found, fix if without else None)
