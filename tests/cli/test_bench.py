"""`make bench` runs to its end with the smallest counts, and its JSON has what it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.wire import ENVELOPE

from surefoot_server.journal.sqlite import SqliteReader

FOLDER = Path(__file__).parents[2] / "bench"
BENCH = FOLDER / "bench.py"
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
        assert flushes["write_file"]["journal"] == 2
        assert flushes["run_command"]["journal"] == 2


def test_a_count_below_one_is_refused_before_anything_runs() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH), "--rounds", "0"], capture_output=True, text=True, timeout=BOUND
    )
    assert done.returncode == 2
    assert "less than 1" in done.stderr


def test_what_the_no_op_row_times_has_its_row_in_the_journal_before_the_answer(
    tmp_path: Path,
) -> None:
    """Guard: `Execution.begin_safe` and `Outcomes.finish` spool before they go on.

    The answer is read and the server killed at once: `kill -9` keeps what the kernel was given.
    """
    (tmp_path / "workspace").mkdir()
    state = tmp_path / "state"
    script = [sys.executable, "-P", str(FOLDER / "noop_server.py"), str(tmp_path / "workspace")]
    environment = {"PATH": os.environ["PATH"], "SUREFOOT_HOME": str(state)}
    params = {"name": "noop", "arguments": {}, "_meta": ENVELOPE}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    with subprocess.Popen(
        script, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(call).encode() + b"\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        server.kill()
    about = answer["result"]["_meta"]["dev.surefoot/call"]
    reader = SqliteReader(state / "journal.db")
    (row,) = reader.rows("all_calls", {})
    (receipt,) = reader.rows("all_receipts", {})
    reader.close()
    assert (row["call_id"], row["tool"], row["state"]) == (about["call_id"], "noop", "succeeded")
    assert (receipt["call_id"], receipt["disposition"]) == (row["call_id"], "ran")
