"""What a server makes at its start of calls whose evidence says little, or whose tool has a bug."""

from dataclasses import replace
from random import Random

import anyio
import pytest
from pydantic import Field

from surefoot_server.call import Register, Request
from surefoot_server.executor import Executor
from surefoot_server.faults import Faults
from surefoot_server.journal.memory import Memory, MemoryJournal
from surefoot_server.journal.records import Entry
from surefoot_server.journal.states import Disposition, State
from surefoot_server.policy import Policy
from surefoot_server.recovery import NOTHING
from surefoot_tools.errors import Applied
from surefoot_tools.outcome import Status
from surefoot_tools.registry import Registry
from surefoot_tools.tool import Arguments, Context, Effect, Evidence, Group, Recovery, Result, Tool

pytestmark = pytest.mark.anyio


class Asked(Arguments):
    """Arguments."""

    label: str = Field(default="x")


class Done(Result):
    """Nothing to say."""

    def as_text(self) -> str:
        return "done"


class Careless(Tool[Asked, Done]):
    """A real member of the seam that reads its evidence as if it were always there."""

    name = "careless"
    title = "Careless"
    description = "Does nothing."
    group = Group.SHELL
    effect = Effect.AT_MOST_ONCE
    Arguments = Asked
    Result = Done

    async def run(self, arguments: Asked, evidence: Evidence, context: Context) -> Done:
        return Done()

    def reaches(self, evidence: Evidence) -> bool:
        return bool(evidence["needed"])

    async def recover(self, evidence: Evidence) -> Recovery:
        raise KeyError("needed")


def an_executor(journal: MemoryJournal) -> Executor:
    return Executor(
        Registry([Careless()]),
        journal,
        roots=[],
        policy=Policy(),
        faults=Faults(),
        random=Random(1),
    )


async def left_by_the_dead(memory: Memory, evidence: Evidence) -> None:
    """A call that runs under a server that died."""
    dead = MemoryJournal(memory)
    register = Register(dead.secret, [])
    request = Request(tool="careless", arguments={}, key="k")
    call = register.new_call(request, Careless(), Asked(), repeated=False, now=dead.now())
    begun = replace(call, evidence=evidence)
    receipt = register.new_receipt(request, call.call_id, Disposition.RAN, now=dead.now())
    await dead.begin(begun, receipt, durable=True)
    dead.crash()


async def settled(journal: MemoryJournal) -> Entry:
    """The call, once the server's first round is over."""
    with anyio.fail_after(20):
        while True:
            entry = await journal.find("local", "k")
            assert entry is not None
            if entry.state is not State.RUNNING:
                return entry
            await anyio.lowlevel.checkpoint()


async def test_a_call_that_was_refused_by_a_server_that_died_has_begun_nothing() -> None:
    """Guard: `NOTHING` in `look_at` and `Execution.reaches`."""
    memory = Memory()
    await left_by_the_dead(memory, NOTHING)
    journal = MemoryJournal(memory)
    async with an_executor(journal) as executor:
        entry = await settled(journal)
        assert entry.error is not None
        assert (entry.state, entry.error.applied) == (State.FAILED, Applied.NO)
        answer = await executor.execute(Request(tool="careless", arguments={}, key="k"))
    assert answer.outcome.status is Status.SUCCEEDED


@pytest.mark.parametrize("evidence", [{}, {"needed": True}], ids=["reaches", "recover"])
async def test_a_bug_in_recovery_ends_no_server_and_guesses_nothing(evidence: Evidence) -> None:
    """Guard: the last `except` of `look_at`, and that of `Housekeeping.go_on`."""
    memory = Memory()
    await left_by_the_dead(memory, evidence)
    journal = MemoryJournal(memory)
    async with an_executor(journal) as executor:
        other = await executor.execute(Request(tool="careless", arguments={}, key="other"))
        asked = await executor.execute(Request(tool="careless", arguments={}, key="k"))
    assert other.outcome.status is Status.SUCCEEDED
    assert asked.outcome.error is not None
    assert asked.outcome.error.applied is Applied.UNKNOWN
