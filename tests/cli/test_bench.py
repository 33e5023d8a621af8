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
SHELL = [
    'run_command "true"',
    '15 x run_command "sleep 0.2" at once',
    'run_command "seq 1 100000"',
    "100 MB of output",
    'run_command "true" beside a job that runs yes',
]
"""The rows of the shell, as far as their names do not explain."""
SANDBOXED = "surefoot: bubblewrap"
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
        *SHELL,
    ]
    for row in found["rows"]:
        kinds = [arm["name"].split()[0].rstrip(":") for arm in row["arms"]]
        # What no naive server can do without an end has no such arm.
        naive = [] if row["name"].split(":")[0] in SHELL[-2:] else ["bare"]
        assert kinds[: 2 + len(naive)] == ["surefoot", *naive, "raw"], row["name"]
        if row["name"].startswith(("start", "no-op")):
            compared = "TypeScript" in kinds
            missing = [each["why"] for each in row["absent"]]
            assert compared == (not missing), row["name"]
            assert all("make foreign" in why for why in missing)
    for row in found["rows"]:
        if row["name"].split(":")[0] in SHELL:
            missing = {each["name"]: each["why"] for each in row["absent"]}
            assert SANDBOXED in missing or SANDBOXED in (arm["name"] for arm in row["arms"])
            others = [name for name in missing if not name.startswith("surefoot")]
            assert all(missing[name] == f"not named: --peer {name}=COMMAND" for name in others)
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


def test_a_group_that_is_chosen_runs_alone() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH), "--rounds=1", "--calls=1", "--only=journal", "--json"],
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["rows"] == []
    assert found["journal"]["rounds"] == 1
    assert "flushes_per_call" not in found


def test_a_peer_that_the_bench_does_not_know_is_refused_with_those_that_it_knows() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH), "--peer", "nobody=true"],
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert done.returncode == 2
    assert "desktop-commander" in done.stderr
    assert "mcp-shell-server" in done.stderr


def test_the_client_of_peers_takes_the_answer_and_not_what_is_logged_before_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "chatty.py").write_text(CHATTY)
    (tmp_path / "ask.py").write_text(ASK)
    environment = {"PYTHONPATH": str(FOLDER), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "ask.py", sys.executable],
        capture_output=True,
        text=True,
        timeout=BOUND,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"one": True, "three": True, "refused": True}


CHATTY = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    print(json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {"id": 2}}))
    if "id" in message:
        failed = message["params"].get("name") == "fail"
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": {"isError": failed}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "method": "ping"}))
        print(json.dumps(answer), flush=True)
"""
"""A server that logs before each answer, and asks for something itself."""
ASK = """
import json, sys
from messages import Refused
from peers import PeerClient
with PeerClient([sys.argv[1], "chatty.py"], {}) as client:
    told = {"one": client.call("run", {}) > 0, "three": client.call("run", {}, 3) > 0}
    try:
        client.call("fail", {})
    except Refused:
        told["refused"] = True
print(json.dumps(told))
"""


@pytest.mark.slow
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
