"""What became of calls whose server died: the tool is asked, nothing is guessed.

Part of `execution`: a call is looked at when its key comes back, and before another call changes
the same thing.
"""

import time

import anyio

from surefoot_server.answers import in_doubt, server_died
from surefoot_server.journal.records import Closing, Entry, Journal
from surefoot_tools.errors import Applied
from surefoot_tools.outcome import Outcome, Status
from surefoot_tools.registry import AnyTool, Registry
from surefoot_tools.tool import (
    PLACE,
    Effect,
    Evidence,
    Happened,
    NotBegun,
    Result,
    Running,
    Unknown,
)


class Orphans:
    """Verifiable calls whose owner died before their outcome was recorded."""

    def __init__(self, journal: Journal, registry: Registry) -> None:
        self._journal = journal
        self._registry = registry
        self._one_at_a_time = anyio.Lock()

    async def before(self, tool: AnyTool, evidence: Evidence) -> None:
        """Find out what became of calls on a thing before `tool` changes it and hides their traces.

        The locks of `prepare` are held: whoever held them before has recorded its outcome, or died.
        """
        place = evidence.get(PLACE)
        if tool.effect is not Effect.VERIFIABLE or place is None:
            return
        for seen in self._journal.orphans():
            # Calls elsewhere may be in roots that only another server can look into.
            owner = self._registry.get(seen.tool)
            if owner is not None and seen.evidence.get(PLACE) == place:
                await self.settle(owner, seen)

    async def settle(self, tool: AnyTool, seen: Entry) -> None:
        """Record what became of a call; its key finds it ended."""
        async with self._one_at_a_time:
            with anyio.CancelScope(shield=True):
                if not await self._journal.take_over(seen.standing):
                    return
                found = await tool.recover(seen.evidence)
                if isinstance(found, NotBegun):
                    outcome = Outcome.failed(server_died(Applied.NO))
                else:
                    outcome, _ = settled(found)
                closing = Closing(seen.call_id, seen.attempts, outcome, time.time())
                await self._journal.finish(closing, durable=True)


def succeeded(result: Result) -> tuple[Outcome, str]:
    """The outcome of a result, and its text for the model."""
    return Outcome(Status.SUCCEEDED, result.model_dump(mode="json")), result.as_text()


def settled(found: Happened | Running | Unknown) -> tuple[Outcome, str]:
    """The outcome of a call whose owner died, as far as its tool can tell."""
    match found:
        case Happened(result):
            return succeeded(result)
        case Running(handle):
            return Outcome.failed(in_doubt(f"the server died, {handle} may still run")), ""
        case Unknown(known):
            return Outcome.failed(in_doubt(known)), ""
