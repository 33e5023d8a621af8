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
from place import ARGV, CONTENT, Place
from starts import start_rows
from table import show
from typescript import PACKAGES

ROW_BOUND = 9.0
"""Seconds that a row may take: the whole is under four minutes."""


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


def run(rounds: int, calls: int, packages: Path = PACKAGES) -> dict[str, Any]:
    """Run everything in a temporary folder; TMPDIR chooses the disk."""
    with tempfile.TemporaryDirectory(prefix="surefoot-bench-") as name:
        place = Place.make(Path(name), packages)
        about = machine(place)
        rows = [
            *start_rows(place, max(1, rounds // 3)),
            *call_rows(place, rounds, calls),
            *http_rows(place, rounds, calls, ROW_BOUND),
        ]
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
                "spread": [round(bound, 3) for bound in each.spread],
            }
            for each in row.timings
        ],
        "absent": [asdict(each) for each in row.absent],
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
    parser.add_argument(
        "--node-modules",
        type=Path,
        default=PACKAGES,
        help="where the TypeScript SDK is; default: where the tests have it",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    found = run(options.rounds, options.calls, options.node_modules)
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else show(found))


if __name__ == "__main__":
    main()
