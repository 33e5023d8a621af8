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
def test_the_smallest_bench_prints_every_row_beside_bare_servers_and_raw_operation() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH), "--rounds", "1", "--calls", "1", "--json"],
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert {"cores", "python", "mcp", "filesystem"} <= found["machine"].keys()
    assert [row["name"].split(":")[0] for row in found["rows"]] == [
        "start to first tools/list, over stdio",
        "start to first tools/list, over HTTP",
        "no-op call",
        "list_directory of an empty folder",
        "read_file of 1 KiB",
        "write_file of 1 KiB, keyed",
        'run_command ["true"], keyed',
        "no-op call over HTTP, 1 caller",
        "no-op call over HTTP, 16 callers at once",
    ]
    for row in found["rows"]:
        kinds = [arm["name"].split()[0].rstrip(":") for arm in row["arms"]]
        assert kinds[:3] == ["surefoot", "bare", "raw"], row["name"]
        if row["name"].startswith(("start", "no-op")):
            compared = "TypeScript" in kinds
            missing = [each["why"] for each in row["absent"]]
            assert compared == (not missing), row["name"]
            assert all("make foreign" in why for why in missing)
    for row in [*found["rows"], found["journal"]]:
        for arm in row["arms"]:
            assert 0 < arm["minimum_us"] <= arm["median_us"], arm
            lower, upper = arm["spread"]
            assert 0 < lower <= arm["ratio"] <= upper, arm
    flushes = found["flushes_per_call"]
    if not isinstance(flushes, str):
        # Intent and outcome; without these two the row would compare something else.
        assert flushes["write_file"]["journal"] == 2
        assert flushes["run_command"]["journal"] == 2


def test_a_missing_typescript_sdk_is_told_with_the_command_that_installs_it(
    tmp_path: Path,
) -> None:
    program = (
        "import sys; from pathlib import Path; from typescript import TypeScript;"
        "print(TypeScript.find(Path('kit/node_modules'), Path('nowhere')))"
    )
    environment = {"PYTHONPATH": str(FOLDER), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=BOUND,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "not installed: make foreign\n"


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
