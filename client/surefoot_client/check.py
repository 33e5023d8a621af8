"""Checks of what came of a sequence. They trust neither the model nor the server: they look.

Before it: `suite.py` (what is to hold), `trial.py` (which played the sequence). A check runs when
the server has ended, so that nobody writes while it looks.
"""

import base64
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, cast

import anyio
import anyio.to_thread
import apsw
from anyio.abc import Process

from surefoot_client.suite import Check, CommandCheck, Fixture, RowsCheck, Sequence, TreeCheck

BOUND = 60.0
"""Seconds that a command, or a query, may take."""

_SHOWN = 5
"""Paths, or rows, of each kind that a detail names."""
_TAIL = 1000
"""Bytes of a command's output that a detail shows."""
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""Variables that a command is given; keys of model providers are not among them."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one look found."""

    kind: str
    """tree, rows or command"""
    passed: bool
    detail: str
    """What was seen, and where it differs from what was expected."""


async def run_checks(sequence: Sequence, workspace: Path) -> list[CheckResult]:
    """Look at the final state.

    Args:
        sequence: Whose checks to carry out.
        workspace: Where it was played; not changed, but for what a suite's own command does.

    Returns:
        One result a check, in the suite's order. What cannot be looked at has not passed.
    """
    return [await _run(check, sequence.fixture, workspace) for check in sequence.checks]


async def _run(check: Check, fixture: Fixture, workspace: Path) -> CheckResult:
    if check.tree is not None:
        return await anyio.to_thread.run_sync(_look_at_tree, check.tree, workspace)
    if check.rows is not None:
        file = workspace / fixture.databases[check.rows.database].file
        return await anyio.to_thread.run_sync(_look_at_rows, check.rows, file)
    assert check.command is not None  # noqa: S101 - a check is one of the three
    return await _look_with_command(check.command, workspace)


def matches(expect: Any, result: Any) -> bool:
    """Whether `result` contains `expect`: a mapping does if it has each key with a value that
    contains the expected one; anything else if it is equal as JSON (1 is 1.0, but is not true).
    """
    if isinstance(expect, Mapping) and isinstance(result, Mapping):
        wanted = cast(Mapping[str, Any], expect)
        found = cast(Mapping[str, Any], result)
        return all(key in found and matches(value, found[key]) for key, value in wanted.items())
    return _equal(expect, result)


def _equal(one: Any, other: Any) -> bool:
    """Equal as JSON values. Python takes True for 1, JSON does not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        left = cast("list[Any]", one)
        right = cast("list[Any]", other)
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(one, dict) and isinstance(other, dict):
        left_map = cast(dict[str, Any], one)
        right_map = cast(dict[str, Any], other)
        return left_map.keys() == right_map.keys() and all(
            _equal(value, right_map[key]) for key, value in left_map.items()
        )
    return bool(one == other)


def _look_at_tree(check: TreeCheck, workspace: Path) -> CheckResult:
    missing = set(check.files)
    extra: list[str] = []
    other: list[str] = []
    for path, entry in _walk(workspace, ""):
        if any(_glob(pattern.split("/"), path.split("/")) for pattern in check.exclude):
            missing.discard(path)
            continue
        if path not in check.files:
            extra.append(path)
            continue
        missing.discard(path)
        if _sha256(entry) != check.files[path]:
            other.append(path)
    found = {"missing": sorted(missing), "not expected": extra, "with other content": other}
    said = "; ".join(f"{what}: {_some(paths)}" for what, paths in found.items() if paths)
    return CheckResult("tree", not said, said or f"all {len(check.files)} files as expected")


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """Everything below a folder but the folders, by name. Symbolic links are not followed."""
    with suppress(FileNotFoundError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), path + "/")
            else:
                yield path, Path(entry.path)


def _glob(pattern: list[str], path: list[str]) -> bool:
    """Whether the segments of a path match those of a glob; `**` matches any number of them."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return _glob(pattern[1:], path) or (bool(path) and _glob(pattern, path[1:]))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _glob(pattern[1:], path[1:])


def _sha256(path: Path) -> str | None:
    """The hash of a regular file's content; None for what is none, which is not even opened."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return None
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def _some(paths: list[str]) -> str:
    rest = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _look_at_rows(check: RowsCheck, file: Path) -> CheckResult:
    try:
        rows = _query(file, check.sql, len(check.equals) + 1)
    except (OSError, apsw.Error) as error:
        return CheckResult("rows", False, f"{check.database} cannot be asked: {error}")
    if _equal(rows, check.equals):
        return CheckResult("rows", True, f"{len(rows)} rows as expected")
    if len(rows) > len(check.equals):
        return CheckResult("rows", False, f"more than the {len(check.equals)} rows expected")
    wrong = [
        f"row {number} is {found}, expected {list(wanted)}"
        for number, (found, wanted) in enumerate(zip(rows, check.equals, strict=False), 1)
        if not _equal(found, wanted)
    ]
    if len(rows) < len(check.equals):
        wrong.insert(0, f"{len(rows)} rows, expected {len(check.equals)}")
    return CheckResult("rows", False, "; ".join(wrong[:_SHOWN]))


def _query(file: Path, sql: str, most: int) -> list[list[Any]]:
    """At most `most` rows, as JSON values.

    Asks a copy: a read-only connection could not roll back what a killed writer left half done,
    and any other would change the workspace.
    """
    with tempfile.TemporaryDirectory(prefix="surefoot-check-") as folder:
        copy = Path(folder) / "copy.db"
        for suffix in ("", "-wal", "-journal"):
            source = file.with_name(file.name + suffix)
            if suffix == "" or source.exists():
                if not stat.S_ISREG(source.lstat().st_mode):
                    raise OSError(f"{source.name} is not a regular file")
                shutil.copyfile(source, copy.with_name(copy.name + suffix))
        connection = apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
            connection.pragma("query_only", True)
            end = time.monotonic() + BOUND
            connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
            cursor = connection.execute(sql)
            return [[_json(value) for value in row] for row, _ in zip(cursor, range(most))]  # noqa: B905 - the shorter ends it
        finally:
            connection.close()


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    return value


async def _look_with_command(check: CommandCheck, workspace: Path) -> CheckResult:
    program = sys.executable if check.argv[0] == "python3" else check.argv[0]
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory() as caches:
        # compiled modules that lie in the workspace may be stale, or planted
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": caches}
        try:
            process = await anyio.open_process(
                [program, *check.argv[1:]],
                cwd=workspace,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return CheckResult("command", False, f"{check.argv[0]} cannot be started: {error}")
        status = await _bounded(process)
        tail = _tail(output)
    if status is None:
        said = f"killed after {BOUND:g} s"
    else:
        said = f"exit code {status}" if status >= 0 else f"ended by signal {-status}"
    if status == check.exit_code:
        return CheckResult("command", True, said)
    detail = f"{said}, expected exit code {check.exit_code}" + (f"\n{tail}" if tail else "")
    return CheckResult("command", False, detail)


async def _bounded(process: Process) -> int | None:
    """Its status; None if it had to be killed. Nothing of its process group is left."""
    try:
        with anyio.move_on_after(BOUND):
            return await process.wait()
        return None
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.wait()


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL))
    return output.read().decode(errors="replace").strip()
