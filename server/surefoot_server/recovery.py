"""What became of calls whose server died: the tool is asked, nothing is guessed.

Part of `execution`: a call is looked at when a server starts, when its key comes back, and before
another call changes the same thing.
"""

import math
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import anyio

from surefoot_server import log
from surefoot_server.answers import in_doubt, server_died
from surefoot_server.jobs import JobRows
from surefoot_server.journal.records import Closing, Entry, Journal
from surefoot_server.work import Unsettled, effect_key
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.outcome import Error, Outcome, Status
from surefoot_tools.registry import AnyTool, Registry
from surefoot_tools.tool import (
    PLACE,
    Context,
    Effect,
    Evidence,
    Happened,
    NotBegun,
    Result,
    Running,
    Unknown,
    meet,
)

_log = log.get("recovery")


NOTHING: Evidence = {"nothing": "begun"}
"""In the place of the evidence of a call that was refused or cancelled before its effect: if its
server dies before it says so, nothing has begun."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found."""

    outcome: Outcome
    text: str = ""
    """The result for the model; empty when there is none."""
    not_begun: bool = False
    """The effect did not happen and cannot happen any more by itself: the call may run again."""
    adopted: bool = False
    """It still ran, and was waited for."""


def succeeded(result: Result) -> tuple[Outcome, str]:
    """The outcome of a result, and its text for the model."""
    return Outcome(Status.SUCCEEDED, result.model_dump(mode="json")), result.as_text()


def died(applied: Applied) -> Outcome:
    """The outcome of an attempt whose server died."""
    return Outcome.failed(server_died(applied))


def bug(tool: AnyTool, call_id: str, error: Exception, applied: Applied) -> Error:
    """The error of a tool that raised something else than `ToolError`."""
    _log.error("bug in a tool", tool=tool.name, call=call_id, exc_info=error)
    return Error(
        Code.INTERNAL,
        Origin.SERVER,
        applied,
        f"{tool.name} has a bug: {type(error).__name__}; the server's log has the trace",
        hint="Please report it; the same call will fail again.",
    )


async def look_at(
    tool: AnyTool, seen: Entry, context: Context, adopted: anyio.Event | None = None
) -> Found:
    """Ask a tool what became of a call; what still runs is adopted and waited for.

    Args:
        tool: The call's.
        seen: The call; its owner is dead, and this server has taken it over.
        context: Lent to the tool; a cancel while it waits ends what runs, and is recorded there.
        adopted: Set when it still runs.

    Raises:
        Unsettled: it cannot be told just now, for instance because a database does not answer.
    """
    if seen.evidence == NOTHING:
        return Found(died(Applied.NO), not_begun=True)
    try:
        found = await tool.recover(seen.evidence)
    except ToolError as e:
        if e.applied is Applied.UNKNOWN:
            raise Unsettled(f"what became of call {seen.call_id}: {e.message}") from e
        return Found(Outcome.failed(Error.of(e)))
    except Exception as e:
        known = bug(tool, seen.call_id, e, Applied.UNKNOWN)
        raise Unsettled(f"what became of call {seen.call_id}: {known.message}") from e
    match found:
        case Happened(result):
            return Found(*succeeded(result))
        case NotBegun():
            return Found(died(Applied.NO), not_begun=True)
        case Unknown(known):
            return Found(Outcome.failed(in_doubt(known, seen, tool)))
        case Running():
            if adopted is not None:
                adopted.set()
            return await _attend(found, context)


async def _attend(found: Running, context: Context) -> Found:
    try:
        return Found(*succeeded(await found.attend(context)), adopted=True)
    except ToolError as e:
        return Found(Outcome.failed(Error.of(e)), adopted=True)


def interrupted(seen: Entry, tool: AnyTool, context: Context) -> Found:
    """What is known of an adopted call that was cancelled."""
    if context.interrupted is not None:
        return Found(Outcome.failed(Error.of(context.interrupted)), adopted=True)
    known = "it was stopped after its server had died"
    return Found(Outcome.failed(in_doubt(known, seen, tool)), adopted=True)


class Orphans:
    """Calls whose owner died before their outcome was recorded."""

    def __init__(self, journal: Journal, registry: Registry, jobs: JobRows) -> None:
        self._journal = journal
        self._registry = registry
        self._jobs = jobs
        self._one_at_a_time = anyio.Lock()

    async def before(self, tool: AnyTool, evidence: Evidence) -> None:
        """Find out what became of calls on a thing before `tool` changes it and hides their traces.

        The locks of `prepare` are held: whoever held them before has recorded its outcome, or died.
        """
        if tool.effect is not Effect.VERIFIABLE or PLACE not in evidence:
            return
        for seen in await self._journal.orphans():
            # Calls elsewhere may be in roots that only another server can look into.
            owner = self._registry.get(seen.tool)
            if owner is not None and meet(seen.evidence, evidence):
                await self.settle(owner, seen)

    async def settle(
        self, tool: AnyTool, seen: Entry, adopted: anyio.Event | None = None
    ) -> Found | None:
        """Record what became of a call; its key finds it ended. None if others were faster.

        Raises:
            Unsettled: it cannot be told just now.
        """
        if tool.effect is Effect.VERIFIABLE:
            # What the state tells changes with the next effect on it: one look at a time.
            async with self._one_at_a_time:
                with anyio.CancelScope(shield=True):
                    return await self._settle(tool, seen, None)
        return await self._settle(tool, seen, adopted)

    async def _settle(
        self, tool: AnyTool, seen: Entry, adopted: anyio.Event | None
    ) -> Found | None:
        if not await self._journal.take_over(seen.standing):
            return None
        name = effect_key(seen.principal, seen.key, seen.call_id)
        context = Context(seen.call_id, name, deadline=math.inf)
        async with AsyncExitStack() as held:
            context.held = held
            try:
                found = await self._find(tool, seen, context, adopted)
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await self._record(tool, seen, interrupted(seen, tool, context), context)
                raise
            with anyio.CancelScope(shield=True):
                await self._record(tool, seen, found, context)
            return found

    @staticmethod
    async def _find(
        tool: AnyTool, seen: Entry, context: Context, adopted: anyio.Event | None
    ) -> Found:
        match tool.effect:
            case Effect.SAFE:
                return Found(died(Applied.NO))
            case Effect.IDEMPOTENT:
                return Found(died(Applied.UNKNOWN))
            case _:
                return await look_at(tool, seen, context, adopted)

    async def _record(self, tool: AnyTool, seen: Entry, found: Found, context: Context) -> None:
        now = self._journal.now()
        job = self._jobs.left_by(tool, seen.call_id, seen.principal, found.outcome, now)
        closing = Closing(seen.call_id, seen.attempts, found.outcome, now, job=job)
        await self._journal.finish(closing, durable=True)
        context.recorded = True
        self._jobs.begun(job)


def mine(seen: Entry, journal: Journal) -> Entry:
    """The call as it stands after this server took it over."""
    return replace(seen, owner=journal.owner)
