"""What the journal costs in flushes: counted by strace on a real server, for each kind of call."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FLUSHES = Path(__file__).parents[2] / "bench" / "flushes.py"
BOUND = 120.0
"""Seconds that a server under strace may take for some dozens of calls."""


def test_a_keyed_effect_costs_the_journal_two_flushes_and_a_safe_call_none() -> None:
    """Guard: `Writer` commits a group at once, and `Spool` takes what is safe.

    Two and not less: one before the effect and one before the answer, or a power cut loses either.
    """
    done = subprocess.run(
        [sys.executable, str(FLUSHES)], capture_output=True, text=True, timeout=BOUND
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if isinstance(found, str):
        pytest.skip(found)
    assert {each["tool"]: each["journal"] for each in found} == {
        "write_file": 2,
        "run_command": 2,
        "list_directory": 0,
    }
