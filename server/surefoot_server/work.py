"""A call to be carried out, and a run of it that requests wait for; what can end both early."""

import math
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from surefoot_server.call import Answer, Request
from surefoot_server.journal.records import JournalUnavailable, NewCall, Receipt
from surefoot_tools.registry import AnyTool
from surefoot_tools.tool import Arguments, Context, Effect


class RunStopped(Exception):
    """The run that a request waited for was stopped by somebody else."""


class KeyTaken(Exception):
    """Another server began a call under this key between our look and our begin."""


class NothingBegun(JournalUnavailable):
    """The intent could not be recorded, so nothing was done."""


@dataclass(slots=True)
class Work:
    """One call to be carried out, for the request that brought it."""

    request: Request
    tool: AnyTool
    arguments: Arguments
    call: NewCall
    receipt: Receipt
    number: int = 1
    """The attempt that is going on."""
    doubt: bool = False
    """Whether an earlier attempt may have had its effect: then no later one may say that it had
    none."""
    begun: anyio.Event = field(default_factory=anyio.Event)
    """Set once the journal knows the call."""
    context: Context = field(init=False)

    def __post_init__(self) -> None:
        request = self.request
        self.context = Context(
            call_id=self.call.call_id,
            effect_key=self.call.call_id
            if request.key is None
            else f"{request.principal}/{request.key}",
            deadline=math.inf,
            report=request.report,
        )

    @property
    def durable(self) -> bool:
        """Whether its records are flushed: those of calls with an effect."""
        return self.tool.effect is not Effect.SAFE


T = TypeVar("T")


async def shielded(step: Awaitable[T]) -> T:
    """Finish a step of the journal even when the request behind it is cancelled meanwhile."""
    with anyio.CancelScope(shield=True):
        return await step
    raise AssertionError("nothing cancels this scope")


@dataclass(slots=True, eq=False)
class Run:
    """A call that is being carried out, and how many requests wait for it."""

    fingerprint: str
    call_id: str
    begun: anyio.Event
    """Set once the journal knows the call, or never will."""
    known: bool = False
    """Whether it does."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    waiters: int = 0
    ended: bool = False
    """Whether it came to its own end; not so when it was cancelled."""
    answer: Answer | None = None
    failure: Exception | None = None
