"""`make bench` runs to its end with the smallest counts, and its JSON has what it promises."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "bench.py"
BOUND = 180.0
"""Seconds that the smallest bench may take; only a hang comes near."""


@pytest.mark.slow
def test_the_smallest_bench_prints_every_row_beside_bare_server_and_raw_operation() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH), "--rounds", "1", "--calls", "1", "--json"],
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert {"cores", "python", "mcp", "filesystem"} <= found["machine"].keys()
    names = [row["name"].split()[0] for row in found["rows"]]
    assert names == ["start", "no-op", "list_directory", "read_file", "write_file", "run_command"]
    for row in found["rows"]:
        kinds = [arm["name"].split()[0].rstrip(":") for arm in row["arms"]]
        assert kinds[:3] == ["surefoot", "bare", "raw"], row["name"]
    for row in [*found["rows"], found["journal"]]:
        for arm in row["arms"]:
            assert 0 < arm["minimum_us"] <= arm["median_us"], arm
            assert arm["ratio"] > 0, arm
    flushes = found["flushes_per_call"]
    if not isinstance(flushes, str):
        # Intent and outcome; without these two the row would compare something else.
        assert flushes["write_file"]["journal"] >= 2
        assert flushes["run_command"]["journal"] >= 2


def test_a_count_below_one_is_refused_before_anything_runs() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH), "--rounds", "0"], capture_output=True, text=True, timeout=BOUND
    )
    assert done.returncode == 2
    assert "less than 1" in done.stderr
