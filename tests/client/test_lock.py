"""One driver a run: the lock on a run's directory."""

import os
import subprocess
from pathlib import Path

import pytest

from surefoot_client.lock import RunLock, StillGoing


def test_a_second_driver_is_refused_and_told_whose_run_it_is(tmp_path: Path) -> None:
    with RunLock(tmp_path), pytest.raises(StillGoing) as raised:
        RunLock(tmp_path)
    assert str(raised.value) == (
        f"this run is still going on (process {os.getpid()}); wait for it or stop it: {tmp_path}"
    )


def test_a_run_is_free_again_when_its_driver_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with RunLock(tmp_path) as lock:
            lock.release()
            RunLock(tmp_path).release()


def test_a_lock_file_that_nobody_holds_refuses_nobody(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1\n")
    RunLock(tmp_path).release()
    assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_what_a_dead_driver_left_running_does_not_hold_its_run(tmp_path: Path) -> None:
    """Guard: the descriptor of `RunLock` is not inherited (PEP 446)."""
    lock = RunLock(tmp_path)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as left:
        lock.release()
        RunLock(tmp_path).release()
        assert left.poll() is None
        left.communicate()
