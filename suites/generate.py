"""Writes the shipped suites: plays each draft with the real tools and keeps what it leads to.

Usage: `python suites/generate.py` rewrites the files; with `--check` it changes nothing and exits 1
if they differ from what it would write.
"""

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import apsw
import yaml

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from suites.drafting import Draft, JsonMap  # noqa: E402 - the checkout must be on the path first
from suites.reference import Player, calls_of  # noqa: E402
from suites.sequences import SHARED, STANDARD  # noqa: E402
from suites.sequences.share_shop import DRIVERS  # noqa: E402

from surefoot_client.check import matches  # noqa: E402
from surefoot_client.suite import FILE_NAME, Sequence, lay_out  # noqa: E402

MEMORY = "/dev/shm"
"""Files here are in memory, on Linux."""

HEADER = "# Written by suites/generate.py from suites/sequences/; change those instead.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and everything out, without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(_dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


@dataclass(frozen=True, slots=True)
class Shipped:
    """A suite that comes with surefoot."""

    name: str
    version: str
    drafts: tuple[Callable[[], Draft], ...]
    drivers: int = 1

    @property
    def target(self) -> Path:
        """Its folder."""
        return ROOT / "suites" / self.name

    def there(self) -> dict[str, str]:
        """Its files as they are: name to text."""
        return {path.name: path.read_text("utf-8") for path in self.target.glob("*.yaml")}


SHIPPED = (
    Shipped("standard", "1.1.0", STANDARD),
    Shipped("shared", "1.0.0", SHARED, drivers=DRIVERS),
)


def written(data: JsonMap) -> str:
    """The data as it is kept in a file."""
    return HEADER + yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def generate(suite: Shipped) -> dict[str, str]:
    """The files of a suite: name to text."""
    files: dict[str, str] = {}
    for make in suite.drafts:
        draft = make()
        if draft.drivers != suite.drivers:
            sys.exit(f"{draft.id} is for {draft.drivers} drivers, {suite.name} for {suite.drivers}")
        tree, rows = anyio.run(_lead, draft)
        files[f"{draft.id}.yaml"] = written(draft.data(tree, rows))
    head: JsonMap = {"surefoot": 1, "name": suite.name, "version": suite.version}
    if suite.drivers > 1:
        head["drivers"] = suite.drivers
    return {FILE_NAME: written({**head, "sequences": list(files)}), **files}


async def _lead(draft: Draft) -> tuple[dict[str, str], dict[str, list[list[Any]]]]:
    """What the reference calls lead to: the tree by hash, and the rows by query."""
    sequence = draft.sequence({}, {})
    # in memory where there is a place for that: hundreds of flushes, and nothing is to last
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="surefoot-suite-", dir=memory) as folder:
        workspace = Path(folder) / "workspace"
        lay_out(sequence.fixture, workspace)
        for driver in range(draft.drivers):
            part = sequence.for_driver(driver) if draft.drivers > 1 else sequence
            await _play(part, workspace, Path(folder) / "state")
        tree = {
            path.relative_to(workspace).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(workspace.rglob("*"))
            if path.is_file() and not _excluded(path, draft)
        }
        database = workspace / sequence.fixture.databases["app"].file
        return tree, {
            check.rows.sql: _rows(database, check.rows.sql)
            for check in sequence.checks
            if check.rows is not None
        }


async def _play(sequence: Sequence, workspace: Path, state: Path) -> None:
    for number, played in enumerate(
        await Player(sequence, workspace, state).play(calls_of(sequence)), 1
    ):
        call = played.call
        where = f"{sequence.id}, call {number}, {call.tool} {call.arguments}"
        if played.error is not None:
            sys.exit(f"{where}: {played.error.code}: {played.error}")
        if call.expect is not None and not matches(call.expect, played.result):
            sys.exit(f"{where}: expected {call.expect}, got {played.result}")


def _excluded(path: Path, draft: Draft) -> bool:
    return (
        "__pycache__" in path.parts
        or path.name.startswith("app.db")
        or path.name in draft.unordered
    )


def _rows(database: Path, sql: str) -> list[list[Any]]:
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [list(row) for row in connection.execute(sql)]
    finally:
        connection.close()


def main() -> int:
    """Rewrite the suites, or compare them."""
    parser = argparse.ArgumentParser(description="Write the shipped suites.")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 on a difference"
    )
    check = parser.parse_args().check
    return max(_write(suite, check=check) for suite in SHIPPED)


def _write(suite: Shipped, *, check: bool) -> int:
    files, there = generate(suite), suite.there()
    stale = sorted(name for name in files | there if files.get(name) != there.get(name))
    if check:
        for name in stale:
            print(f"{suite.name}/{name} differs; run python suites/generate.py", file=sys.stderr)
        return 1 if stale else 0
    suite.target.mkdir(exist_ok=True)
    for name in stale:
        if name in files:
            (suite.target / name).write_text(files[name], "utf-8", newline="\n")
        else:
            (suite.target / name).unlink()
    print(f"{suite.name}: {len(files)} files, {len(stale)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
