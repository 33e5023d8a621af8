"""`make bench`: what surefoot costs, beside a bare SDK server and beside the raw operation.

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
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import raw
from flushes import Flushes, count
from journal_pairs import journal_row
from line_client import LineClient
from paired import Arm, Row, measure
from place import ARGV, CONTENT, Place
from table import show

START_BOUND, ROW_BOUND = 25.0, 9.0
"""Seconds that the row of starts, and each other row, may take: the whole is under two minutes."""


def start_row(place: Place, rounds: int) -> Row:
    """From the start of the process to the answer of its first `tools/list`."""

    def start(make: Callable[[], LineClient], method: str | None) -> float:
        began = perf_counter()
        with make() as client:
            if method is None:
                client.exchange(b"{}\n")
            else:
                client.ask(method)
            return perf_counter() - began

    arms = [
        Arm("surefoot serve", lambda: start(place.surefoot, "tools/list")),
        Arm("bare SDK", lambda: start(place.bare, "tools/list")),
        Arm("raw: python that echoes a line", lambda: start(place.echo, None)),
    ]
    # The first start of each finds its files cold; a single round has nothing to compare anyway.
    warm_up = int(rounds > 1)
    name = "start to first tools/list"
    return measure(name, arms, rounds=rounds, calls=1, bound=START_BOUND, warm_up=warm_up)


def call_rows(place: Place, rounds: int, calls: int) -> list[Row]:
    """The rows of single calls, one at a time on warm connections."""
    with ExitStack() as stack:
        ours = stack.enter_context(place.surefoot())
        noop = stack.enter_context(place.noop())
        bare = stack.enter_context(place.bare())
        echo = stack.enter_context(place.echo())
        log = raw.Log(place.folder / "flushes.log")
        stack.callback(log.close)
        rows = [
            *_safe_arms(place, ours, noop, bare, echo),
            *_effect_arms(place, ours, bare, log),
        ]
        return [
            measure(name, arms, rounds=rounds, calls=calls, bound=ROW_BOUND) for name, arms in rows
        ]


def _safe_arms(
    place: Place, ours: LineClient, noop: LineClient, bare: LineClient, echo: LineClient
) -> list[tuple[str, list[Arm]]]:
    empty, file = place.workspace / "empty", place.workspace / "kilobyte.txt"
    bare_noop = Arm("bare SDK: noop", lambda: bare.call("noop", {}))
    return [
        (
            "no-op call: the way of a call alone (noop_server.py)",
            [
                Arm("surefoot: noop", lambda: noop.call("noop", {})),
                bare_noop,
                Arm("raw: a line echoed by python", lambda: echo.exchange(b"{}\n")[0]),
            ],
        ),
        (
            "list_directory of an empty folder: the least that `serve` offers",
            [
                Arm("surefoot: list_directory", lambda: place.call(ours, "list_directory")),
                bare_noop,
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
) -> list[tuple[str, list[Arm]]]:
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


def machine(folder: Path) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "filesystem": _filesystem(folder),
        "python": platform.python_version(),
        "mcp": importlib.metadata.version("mcp"),
        "surefoot": importlib.metadata.version("surefoot"),
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


def run(rounds: int, calls: int) -> dict[str, Any]:
    """Run everything in a temporary folder; TMPDIR chooses the disk."""
    with tempfile.TemporaryDirectory(prefix="surefoot-bench-") as name:
        place = Place.make(Path(name))
        about = machine(place.folder)
        rows = [start_row(place, max(1, rounds // 3)), *call_rows(place, rounds, calls)]
        pairs = max(1, calls // 8)
        journal = journal_row(place.folder, rounds=rounds, pairs=pairs, bound=ROW_BOUND)
        flushes = count(place)
    return {
        "machine": about,
        "rounds": rounds,
        "calls": calls,
        "rows": [_row(row) for row in rows],
        "journal": _row(journal),
        "flushes_per_call": flushes
        if isinstance(flushes, str)
        else {each.tool: _flushes(each) for each in flushes},
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
            }
            for each in row.timings
        ],
    }


def _flushes(each: Flushes) -> dict[str, float]:
    numbers = asdict(each)
    del numbers["tool"]
    return numbers


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench.py")
    parser.add_argument("--rounds", type=_positive, default=30, help="default %(default)s")
    parser.add_argument(
        "--calls", type=_positive, default=20, help="of each arm in each round; default %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    found = run(options.rounds, options.calls)
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else show(found))


if __name__ == "__main__":
    main()
