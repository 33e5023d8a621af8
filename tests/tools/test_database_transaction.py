"""`execute_sql` cut short: cancelled, out of time, killed, or twice at once."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import apsw
import pytest
from tests.support.execute import ENDLESS, INSERT, Hook, a_context, execute, rows

from surefoot_tools.database.execute_sql import ExecuteResult
from surefoot_tools.errors import Applied, Code, ToolError

pytestmark = pytest.mark.anyio


async def test_cancelled_before_commit_is_rolled_back_and_said_so(
    path: Path, hook: Callable[[Hook], None]
) -> None:
    """Guard: `run_interruptibly`'s interrupt; without it the statement runs to its timeout."""
    begun = threading.Event()

    def mark(*_: object) -> int:
        begun.set()
        return 1

    hook(lambda connection: connection.create_scalar_function("mark", mark, 0))
    context = a_context()
    async with anyio.create_task_group() as group:
        group.start_soon(
            lambda: execute(path, INSERT, f"select mark(), ({ENDLESS})", context=context)
        )
        assert await anyio.to_thread.run_sync(begun.wait, 30)
        group.cancel_scope.cancel()
    assert context.interrupted is not None
    assert (context.interrupted.code, context.interrupted.applied) == (Code.CANCELLED, Applied.NO)
    assert rows(path) == []
    assert (await execute(path, INSERT)).committed


async def test_cancelled_during_commit_finishes_and_gives_the_result(
    path: Path, hook: Callable[[Hook], None]
) -> None:
    """Guard: `Interruption.begin_final_step`."""
    committing, go_on = threading.Event(), threading.Event()

    def commit() -> bool:
        committing.set()
        go_on.wait(30)
        return False

    hook(lambda connection: connection.set_commit_hook(commit))
    context = a_context()
    results: list[ExecuteResult] = []

    async def one() -> None:
        results.append(await execute(path, INSERT, context=context))

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        assert await anyio.to_thread.run_sync(committing.wait, 30)
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for _ in range(3):  # lets the cancellation reach the task
                await anyio.lowlevel.checkpoint()
        go_on.set()
    assert [result.committed for result in results] == [True]
    assert context.interrupted is None
    assert rows(path) == [("a",)]


async def test_the_callers_deadline_rolls_back(path: Path) -> None:
    context = a_context()
    context.deadline = anyio.current_time() + 0.1
    with pytest.raises(ToolError) as caught:
        await execute(path, INSERT, ENDLESS, context=context)
    assert (caught.value.code, caught.value.applied) == (Code.DEADLINE_EXCEEDED, Applied.NO)
    assert rows(path) == []


class Troubled(apsw.VFSFile):
    """A file that cannot be flushed once `broken` is set, and gives no exclusive lock at first."""

    broken = threading.Event()
    refusals: ClassVar[list[int]] = []
    """An entry for each time that the lock is to be refused; taken away by the refusal."""

    def xLock(self, level: int) -> None:
        if level == apsw.SQLITE_LOCK_EXCLUSIVE and self.refusals:
            self.refusals.pop()
            raise apsw.exception_for(apsw.SQLITE_BUSY)
        super().xLock(level)

    def xSync(self, flags: int) -> None:
        if self.broken.is_set():
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)


class Disk(apsw.VFS):
    """The default file system, with files of `Troubled`, and a list of what is deleted."""

    def __init__(self) -> None:
        # By name: "" would mean the default, which this one becomes.
        self._below = apsw.vfs_names()[0]
        super().__init__("flush-fails", self._below, makedefault=True)
        self.deletions: list[tuple[str, bool]] = []
        """Names of files removed, and whether their folder was flushed after."""

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return Troubled(self._below, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.deletions.append((Path(filename).name, syncdir))
        super().xDelete(filename, syncdir)


async def test_the_end_of_a_commit_is_flushed_to_disk(path: Path) -> None:
    """Guard: `synchronous = EXTRA`; a rollback journal that comes back undoes the COMMIT."""
    disk = Disk()
    try:
        await execute(path, INSERT)
    finally:
        disk.unregister()
    assert disk.deletions == [("main.db-journal", True)]


async def test_a_commit_that_was_busy_once_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `COMMIT_TRIES`. In a rollback-journal file it is COMMIT that takes this lock."""
    monkeypatch.setattr("surefoot_tools.database.sqlite_connection.BUSY_TIMEOUT", 0.0)
    disk = Disk()
    Troubled.refusals.append(1)
    try:
        assert (await execute(path, INSERT)).committed
    finally:
        disk.unregister()
    assert not Troubled.refusals
    assert rows(path) == [("a",)]


async def test_a_flush_that_fails_at_commit_is_in_doubt_and_the_inbox_tells(path: Path) -> None:
    """Guard: `commit_error`; before COMMIT nothing is flushed, so the failure is COMMIT's."""
    disk = Disk()
    Troubled.broken.set()
    try:
        with pytest.raises(ToolError) as caught:
            await execute(path, INSERT)
    finally:
        Troubled.broken.clear()
        disk.unregister()
    assert (caught.value.code, caught.value.applied) == (Code.DATA_LOSS, Applied.UNKNOWN)
    assert (await execute(path, INSERT)).committed
    assert rows(path) == [("a",)]


CHILD = """
import math, os, signal, sys
import anyio, apsw
from surefoot_tools.database.databases import Database, Databases
from surefoot_tools.database.execute_sql import ExecuteArguments, ExecuteSql
from surefoot_tools.tool import Context

path, sql = sys.argv[1:]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if sql == "die at commit":
    sql = "insert into t(name) values('killed')"
    apsw.connection_hooks.append(lambda connection: connection.set_commit_hook(die))
else:
    apsw.connection_hooks.append(lambda c: c.create_scalar_function("die", die, 0))
tool = ExecuteSql(Databases([Database("main", "sqlite:///" + path, writable=True)]))
statements = [{"sql": "insert into t(name) values('first')"}, {"sql": sql}]
arguments = ExecuteArguments.model_validate({"statements": statements})
context = Context(call_id="0" * 32, effect_key="key", deadline=math.inf)
print("ready", flush=True)
sys.stdin.readline()
print(anyio.run(tool.run, arguments, {}, context).model_dump_json())
"""


def a_process(path: Path, sql: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), sql],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("sql", ["select die()", "die at commit"])
async def test_a_process_killed_before_its_commit_leaves_nothing(path: Path, sql: str) -> None:
    with a_process(path, sql) as process:
        process.communicate("go\n", timeout=60)
    assert process.returncode == -9
    assert rows(path) == []
    assert rows(path, "select count(*) from sqlite_schema where name = 'surefoot_inbox'") == [(0,)]
    assert (await execute(path, INSERT)).committed


async def test_the_same_key_in_two_processes_at_once_runs_once(path: Path) -> None:
    sql = "insert into t(name) values(hex(randomblob(8))) returning name"
    with a_process(path, sql) as first, a_process(path, sql) as second:
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert json.loads(answers[0]) == json.loads(answers[1])
    assert len(rows(path)) == 2
