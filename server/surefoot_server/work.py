"""A call to be carried out, for the request that brought it."""

from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import quote

import anyio

from surefoot_server.answers import run_stopped
from surefoot_server.call import Answer, Request
from surefoot_server.jobs import JobRows
from surefoot_server.journal.records import Entry, JournalUnavailable, NewCall, Receipt
from surefoot_server.journal.states import Disposition
from surefoot_tools.outcome import Error, Outcome, Status
from surefoot_tools.registry import AnyTool
from surefoot_tools.tool import Arguments, Context, Effect

MARGIN = 1.0
"""Seconds before its caller's deadline at which a tool has to end; a tenth of what is left, if that
is less."""


class KeyTaken(Exception):
    """Another server began a call under this key between our look and our begin."""


class NothingBegun(JournalUnavailable):
    """The intent could not be recorded, so nothing was done."""


class Unsettled(JournalUnavailable):
    """What became of an effect cannot be found out just now; the call stays as it is."""


def effect_key(principal: str, key: str | None, call_id: str) -> str:
    """What names a call in the books of its target: its key, or its id where it has none."""
    # Quoted, or two principals with a '/' could meet under one name.
    return call_id if key is None else f"{quote(principal, safe='')}/{key}"


def _before(deadline: float) -> float:
    """When a tool has to end, so that its own answer still arrives in time."""
    rest = deadline - anyio.current_time()
    return deadline - max(0.0, min(MARGIN, rest / 10))


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
        call = self.call
        self.context = Context(
            call_id=call.call_id,
            effect_key=effect_key(call.principal, call.key, call.call_id),
            deadline=_before(self.request.deadline),
            report=self.request.report,
            principal=call.principal,
        )

    @property
    def durable(self) -> bool:
        """Whether its records are flushed: those of calls with an effect."""
        return self.tool.effect is not Effect.SAFE

    @property
    def spooled(self) -> bool:
        """Whether its records need not wait for a commit: those of safe calls without a key."""
        return self.tool.effect is Effect.SAFE and self.call.key is None

    def on(self, entry: Entry) -> "Work":
        """The same request as work on the call that it is about."""
        call = replace(self.call, call_id=entry.call_id, key=entry.key, at=entry.begun_at)
        receipt = replace(self.receipt, call_id=entry.call_id)
        return Work(self.request, self.tool, self.arguments, call, receipt, entry.attempts)


async def stored(work: Work, entry: Entry, disposition: Disposition, jobs: JobRows) -> Answer:
    """What the journal knows of an ended call, as an answer; of a job as it is now."""
    outcome = Outcome(Status(entry.state.value), entry.result, entry.error)
    text = ""
    if entry.result is not None:
        result = work.tool.Result.model_validate(entry.result)
        job = work.tool.job_of(entry.result)
        if job is not None:
            result = await jobs.refreshed(work.tool, result, job)
            outcome = replace(outcome, result=result.model_dump(mode="json"))
        text = result.as_text()
    return Answer(
        outcome, disposition, work.receipt.receipt_id, text, entry.call_id, entry.attempts
    )


def stopped(receipt: Receipt) -> Answer:
    """The answer to a request whose run was stopped by somebody else."""
    outcome = Outcome.failed(run_stopped())
    return Answer(outcome, receipt.disposition, receipt.receipt_id, call_id=receipt.call_id)


def unrecorded(error: Error) -> Answer:
    """An answer without a receipt of its own."""
    return Answer(Outcome.failed(error), Disposition.DENIED, receipt_id="")


T = TypeVar("T")


async def shielded(step: Awaitable[T]) -> T:
    """Finish a step of the journal even when the request behind it is cancelled meanwhile."""
    with anyio.CancelScope(shield=True):
        return await step
    raise AssertionError("nothing cancels this scope")
