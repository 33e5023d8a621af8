"""Attempts: what the executor makes of a tool that fails, has a bug, or is changed under it."""

from pathlib import Path
from random import Random

import pytest
from pydantic import Field

from surefoot_server.accounting import Ledger, ledger
from surefoot_server.call import Answer, Request
from surefoot_server.executor import Executor
from surefoot_server.faults import Faults
from surefoot_server.journal.sqlite import SqliteJournal
from surefoot_server.policy import Policy
from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.outcome import Status
from surefoot_tools.registry import Registry
from surefoot_tools.tool import (
    Arguments,
    Context,
    Effect,
    Evidence,
    Group,
    Happened,
    NotBegun,
    Recovery,
    Result,
    Tool,
    Unknown,
)

pytestmark = pytest.mark.anyio


class Plan(Arguments):
    """What each attempt of a scripted tool does, in order."""

    steps: list[str] = Field(min_length=1)


class Done(Result):
    """How many attempts there were."""

    attempts: int

    def as_text(self) -> str:
        return f"{self.attempts} attempts"


class Scripted(Tool[Plan, Done]):
    """A real member of the tool seam whose failures are written down beforehand."""

    name = "scripted"
    title = "Scripted"
    description = "Does what it is told."
    group = Group.SHELL
    effect = Effect.VERIFIABLE
    Arguments = Plan
    Result = Done

    def __init__(self) -> None:
        self.prepared = 0
        self.ran = 0
        self.found: Recovery = Unknown("nothing")

    async def prepare(self, arguments: Plan, context: Context) -> Evidence:
        self.prepared += 1
        return {"prepared": self.prepared}

    async def run(self, arguments: Plan, evidence: Evidence, context: Context) -> Done:
        step = arguments.steps[min(self.ran, len(arguments.steps) - 1)]
        self.ran += 1
        match step:
            case "ok":
                return Done(attempts=self.ran)
            case "busy":
                raise ToolError(Code.UNAVAILABLE, "busy", retry_after=0.0)
            case "lost":
                raise ToolError(Code.UNKNOWN, "lost", applied=Applied.UNKNOWN)
            case "late":
                raise ToolError(Code.DEADLINE_EXCEEDED, "late", applied=Applied.YES)
            case _:
                raise RuntimeError(step)

    async def recover(self, evidence: Evidence) -> Recovery:
        return self.found


async def execute(tool: Scripted, folder: Path, *steps: str) -> tuple[Answer, Ledger]:
    """One keyed call of the tool, and the book after it."""
    journal = SqliteJournal(folder / "journal.db", version="test")
    executor = Executor(
        Registry([tool]),
        journal,
        roots=[],
        policy=Policy(attempts=3),
        faults=Faults(),
        random=Random(1),
    )
    request = Request(tool="scripted", arguments={"steps": list(steps)}, key="k")
    try:
        async with executor:
            answer = await executor.execute(request)
    finally:
        journal.close()
    return answer, ledger(folder / "journal.db")


async def test_what_failed_before_its_effect_is_tried_again_and_counted(tmp_path: Path) -> None:
    tool = Scripted()
    answer, book = await execute(tool, tmp_path, "busy", "busy", "ok")
    assert answer.outcome.status is Status.SUCCEEDED
    assert (tool.ran, tool.prepared) == (3, 3)
    assert [attempt.state for attempt in book.attempts] == ["failed", "failed", "succeeded"]
    assert [call.state for call in book.calls] == ["succeeded"]


async def test_attempts_end_at_the_policy_s_bound(tmp_path: Path) -> None:
    tool = Scripted()
    answer, book = await execute(tool, tmp_path, "busy")
    assert answer.outcome.error is not None
    assert (answer.outcome.error.code, tool.ran) == (Code.UNAVAILABLE, 3)
    assert [attempt.state for attempt in book.attempts] == ["failed"] * 3


async def test_what_happened_in_spite_of_an_error_is_found_out(tmp_path: Path) -> None:
    """Guard: `Execution._look`."""
    tool = Scripted()
    tool.found = Happened(Done(attempts=7))
    answer, _ = await execute(tool, tmp_path, "lost")
    assert answer.outcome.result == {"attempts": 7}


async def test_what_nobody_can_tell_is_in_doubt_and_not_tried_again(tmp_path: Path) -> None:
    tool = Scripted()
    answer, book = await execute(tool, tmp_path, "lost", "ok")
    assert (answer.outcome.status, tool.ran) == (Status.IN_DOUBT, 1)
    assert [call.state for call in book.calls] == ["in_doubt"]


async def test_a_bug_is_accounted_and_its_effect_found_out(tmp_path: Path) -> None:
    tool = Scripted()
    tool.found = NotBegun()
    answer, book = await execute(tool, tmp_path, "boom")
    error = answer.outcome.error
    assert error is not None
    assert (error.code, error.applied) == (Code.INTERNAL, Applied.NO)
    assert "RuntimeError" in error.message
    assert [call.code for call in book.calls] == ["INTERNAL"]


async def test_an_effect_that_happened_is_final(tmp_path: Path) -> None:
    tool = Scripted()
    answer, _ = await execute(tool, tmp_path, "late", "ok")
    assert (answer.outcome.status, tool.ran) == (Status.FAILED, 1)
