"""`make bench`: what surefoot costs, beside bare servers of both SDKs and the raw operation.

All arms of a row run in turn in every round (see `paired`). Absolute times are as noisy as the
machine; quote the ratios.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import raw
from flushes import Flushes, count
from http_rows import http_rows
from journal_pairs import journal_row
from line_client import LineClient
from paired import COMPILED, WARM_UP, Absent, Arm, Row, measure
from peers import NAMES
from place import ARGV, CONTENT, Place
from shell_rows import shell_rows
from starts import start_rows
from table import show
from typescript import PACKAGES

ROW_BOUND = 9.0
"""Seconds that a row may take: the whole is under five minutes."""
GROUPS = ("start", "calls", "http", "shell", "journal", "flushes")
"""What can be chosen."""


def call_rows(place: Place, rounds: int, calls: int) -> list[Row]:
    """The rows of single calls, one at a time on warm connections."""
    with ExitStack() as stack:
        ours = stack.enter_context(place.surefoot())
        noop = stack.enter_context(place.noop())
        bare = stack.enter_context(place.bare())
        echo = stack.enter_context(place.echo())
        found = place.typescript
        typescript = found if isinstance(found, str) else stack.enter_context(found.stdio())
        log = raw.Log(place.folder / "flushes.log")
        stack.callback(log.close)
        rows = [
            (*_noop_arms(noop, bare, echo, typescript), COMPILED),
            *((*row, WARM_UP) for row in _safe_arms(place, ours, bare)),
            *((*row, WARM_UP) for row in _effect_arms(place, ours, bare, log)),
        ]
        return [
            measure(name, arms, rounds=rounds, calls=calls, bound=ROW_BOUND, warm_up=warm_up)
            for name, arms, warm_up in rows
        ]


def _noop_arms(
    noop: LineClient, bare: LineClient, echo: LineClient, typescript: LineClient | str
) -> tuple[str, list[Arm | Absent]]:
    name = "TypeScript SDK: noop"
    return (
        "no-op call: the way of a call alone (noop_server.py)",
        [
            Arm("surefoot: noop", lambda: noop.call("noop", {})),
            Arm("bare SDK: noop", lambda: bare.call("noop", {})),
            Arm("raw: a line echoed by python", lambda: echo.exchange(b"{}\n")[0]),
            Absent(name, typescript)
            if isinstance(typescript, str)
            else Arm(name, lambda: typescript.call("noop", {})),
        ],
    )


def _safe_arms(
    place: Place, ours: LineClient, bare: LineClient
) -> list[tuple[str, list[Arm | Absent]]]:
    empty, file = place.workspace / "empty", place.workspace / "kilobyte.txt"
    return [
        (
            "list_directory of an empty folder: the least that `serve` offers",
            [
                Arm("surefoot: list_directory", lambda: place.call(ours, "list_directory")),
                Arm("bare SDK: noop", lambda: bare.call("noop", {})),
                Arm("raw: scandir", raw.timed(lambda: raw.scan(empty))),
            ],
        ),
        (
            "read_file of 1 KiB",
            [
                Arm("surefoot: read_file", lambda: place.call(ours, "read_file")),
                Arm("bare SDK: read", lambda: bare.call("read", {"path": str(file)})),
                Arm("raw: read_text", raw.timed(file.read_text)),
            ],
        ),
    ]


def _effect_arms(
    place: Place, ours: LineClient, bare: LineClient, log: raw.Log
) -> list[tuple[str, list[Arm | Absent]]]:
    target, content = place.workspace / "raw.txt", CONTENT.encode()
    naive = {"path": str(place.workspace / "bare.txt"), "content": CONTENT}

    def atomic() -> None:
        raw.write_atomically(target, content)

    def spawn() -> None:
        raw.run(ARGV)

    return [
        (
            "write_file of 1 KiB, keyed",
            [
                Arm("surefoot: write_file", lambda: place.call(ours, "write_file")),
                Arm("bare SDK: write, plain", lambda: bare.call("write", naive)),
                Arm("raw: temp, fsync, rename, fsync", raw.timed(atomic)),
                Arm("raw: the same between 2 flushes", raw.timed(lambda: log.around(atomic))),
                Arm("raw: plain write", raw.timed(lambda: target.write_bytes(content))),
            ],
        ),
        (
            f"run_command {json.dumps(ARGV)}, keyed",
            [
                Arm("surefoot: run_command", lambda: place.call(ours, "run_command")),
                Arm("bare SDK: run", lambda: bare.call("run", {"argv": ARGV})),
                Arm("raw: spawn of the same argv", raw.timed(spawn)),
                Arm("raw: the same between 2 flushes", raw.timed(lambda: log.around(spawn))),
            ],
        ),
    ]


def machine(place: Place) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "filesystem": _filesystem(place.folder),
        "python": platform.python_version(),
        "mcp": importlib.metadata.version("mcp"),
        "surefoot": importlib.metadata.version("surefoot"),
        **({} if isinstance(place.typescript, str) else place.typescript.versions),
    }


def _filesystem(folder: Path) -> str:
    """The type of the filesystem that a folder lies on; flushes cost nothing on a tmpfs."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    place = folder.resolve()
    best, kind = Path("/"), "unknown"
    for line in mounts.read_text().splitlines():
        at, found = line.split()[1:3]
        if place.is_relative_to(at) and len(Path(at).parts) >= len(best.parts):
            best, kind = Path(at), found
    return kind


def run(
    rounds: int,
    calls: int,
    packages: Path = PACKAGES,
    groups: Collection[str] = GROUPS,
    peers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Run it in a temporary folder; TMPDIR chooses the disk.

    Args:
        rounds: Of each row, at most.
        calls: Of each arm in each round.
        packages: A `node_modules` with the TypeScript SDK.
        groups: Of rows.
        peers: Commands of other servers with a shell, by name.
    """
    rows: list[Row] = []
    more: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="surefoot-bench-") as name:
        place = Place.make(Path(name), packages)
        about = machine(place)
        if "start" in groups:
            rows += start_rows(place, max(1, rounds // 3))
        if "calls" in groups:
            rows += call_rows(place, rounds, calls)
        if "http" in groups:
            rows += http_rows(place, rounds, calls, ROW_BOUND)
        if "shell" in groups:
            rows += shell_rows(place, peers or {}, rounds, calls, ROW_BOUND)
        if "journal" in groups:
            pairs = max(1, calls // 8)
            row = journal_row(place.folder, rounds=rounds, pairs=pairs, bound=ROW_BOUND)
            more["journal"] = _row(row)
        if "flushes" in groups:
            more["flushes_per_call"] = _flushes(count(place))
    return {
        "machine": about,
        "rounds": rounds,
        "calls": calls,
        "rows": [_row(row) for row in rows],
        **more,
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "rounds": row.rounds,
        "arms": [
            {
                "name": each.arm,
                "median_us": round(each.median * 1e6, 1),
                "minimum_us": round(each.minimum * 1e6, 1),
                "ratio": round(each.ratio, 3),
                "spread": [round(bound, 3) for bound in each.spread],
            }
            for each in row.timings
        ],
        "absent": [asdict(each) for each in row.absent],
    }


def _flushes(found: list[Flushes] | str) -> dict[str, dict[str, float]] | str:
    if isinstance(found, str):
        return found
    numbers = {each.tool: asdict(each) for each in found}
    for each in numbers.values():
        del each["tool"]
    return numbers


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _peer(text: str) -> tuple[str, str]:
    name, _, command = text.partition("=")
    if name not in NAMES or not command:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=COMMAND with one of {NAMES}")
    return name, command


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench.py")
    parser.add_argument("--rounds", type=_positive, default=30, help="default %(default)s")
    parser.add_argument(
        "--calls", type=_positive, default=20, help="of each arm in each round; default %(default)s"
    )
    parser.add_argument(
        "--node-modules",
        type=Path,
        default=PACKAGES,
        help="where the TypeScript SDK is; default: where the tests have it",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=GROUPS,
        help="a group of rows; can be given several times. Default: all",
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        type=_peer,
        metavar="NAME=COMMAND",
        help=f"another server with a shell, where it is installed; NAME: {' or '.join(NAMES)}",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    found = run(
        options.rounds,
        options.calls,
        options.node_modules,
        options.only or GROUPS,
        dict(options.peer),
    )
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else show(found))


if __name__ == "__main__":
    main()
