"""The way of one call; read this first.

    validate -> policy -> fingerprint -> key known? the answers table
      -> tool.prepare -> Evidence -> intent committed -> tool.run -> outcome committed -> answer

A call with an effect runs in a task of its own and not in its request's: several requests may wait
for one run, and a request that goes away ends the run only when nobody else waits for it. This
module knows nothing of MCP; `app` brings requests in and takes answers out. How a call is carried
out, attempt by attempt, is in `execution`.
"""

import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
from pydantic import ValidationError
from structlog.contextvars import bound_contextvars

from surefoot_server import log
from surefoot_server.answers import (
    invalid_arguments,
    journal_unavailable,
    key_conflict,
    run_stopped,
    still_running,
    unknown_tool,
)
from surefoot_server.call import (
    Answer,
    Request,
    answer_mac,
    new_call,
    new_receipt,
)
from surefoot_server.execution import Execution
from surefoot_server.faults import Faults
from surefoot_server.journal.records import Entry, Journal, JournalUnavailable, Receipt
from surefoot_server.journal.states import Disposition, State
from surefoot_server.policy import Policy
from surefoot_server.work import KeyTaken, NothingBegun, Run, RunStopped, Work, shielded
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error, Outcome, Status
from surefoot_tools.registry import AnyTool, Registry
from surefoot_tools.retry import Budget, decide
from surefoot_tools.tool import Arguments, Effect

_log = log.get("executor")

DRAIN = 5.0
"""Seconds that calls have to end or be killed when the server ends."""
LOOKS = 8
"""How often a call that others change under us is looked at anew before we give up."""
FIRST_POLL, LAST_POLL = 0.02, 0.25
"""Seconds between looks at a call that another server carries out; SQLite cannot notify."""


Step = Callable[[Work], Awaitable[Answer | None]]
"""One row of the answers table; None when the call was changed by others meanwhile."""


class Executor:
    """Carries out calls; an async context manager that owns the tasks they run in.

    Args:
        registry: The tools on offer.
        journal: Where calls are recorded.
        roots: Of this server; part of every fingerprint.
        policy: What is allowed.
        faults: Failures on purpose.
        random: Draws the jitter of retries.
    """

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        *,
        roots: list[str],
        policy: Policy,
        faults: Faults,
        random: Random,
    ) -> None:
        self.registry = registry
        self._journal = journal
        self._roots = roots
        self._policy = policy
        self._execution = Execution(
            journal, registry, policy, faults, Budget(time.monotonic), random
        )
        self._runs: dict[tuple[str, str], Run] = {}
        self._live: set[Run] = set()
        self._stack = AsyncExitStack()
        self._tasks: anyio.abc.TaskGroup

    async def __aenter__(self) -> Self:
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(DRAIN):
            for run in list(self._live):
                run.scope.cancel()
            for run in list(self._live):
                await run.done.wait()
        self._tasks.cancel_scope.cancel()
        return await self._stack.__aexit__(kind, error, trace)

    async def execute(self, request: Request) -> Answer:
        """Answer one request, with a receipt as long as the journal can be written."""
        with bound_contextvars(key=request.key, tool=request.tool, attempt=request.sender_attempt):
            tool = self.registry.get(request.tool)
            if tool is None:
                return await self._refuse(
                    request, Disposition.INVALID, unknown_tool(request.tool, self.registry.names())
                )
            try:
                arguments: Arguments = tool.Arguments.model_validate(request.arguments)
            except ValidationError as e:
                return await self._refuse(request, Disposition.INVALID, invalid_arguments(tool, e))
            refusal = self._policy.refusal(tool)
            if refusal is not None:
                return await self._refuse(request, Disposition.DENIED, refusal)
            try:
                return await self._carry_out(request, tool, arguments)
            except NothingBegun as e:
                return _unrecorded(journal_unavailable(str(e), Applied.NO))
            except JournalUnavailable as e:
                safe = tool.effect is Effect.SAFE
                applied = Applied.NO if safe else Applied.UNKNOWN
                return _unrecorded(journal_unavailable(str(e), applied))

    async def refuse_malformed(self, request: Request, message: str) -> Answer:
        """Answer a request that is no proper call, with a receipt."""
        error = Error(Code.INVALID_ARGUMENT, Origin.CLIENT, Applied.NO, message)
        return await self._refuse(request, Disposition.INVALID, error)

    async def _carry_out(self, request: Request, tool: AnyTool, arguments: Arguments) -> Answer:
        work = self._work(request, tool, arguments)
        if tool.effect is Effect.SAFE:
            if request.key is None:
                return await self._execution.begin_safe(work)
            return await self._looking(work, self._safe)
        if request.key is None:
            # No key: each request is a call of its own.
            return await self._looking(work, self._begin)
        return await self._looking(work, self._effectful)

    async def _looking(
        self, work: Work, step: Callable[[Work], Awaitable[Answer | None]]
    ) -> Answer:
        """Take a step of the answers table; look again when others changed the call meanwhile."""
        for _ in range(LOOKS):
            answer = await step(work)
            if answer is not None:
                return answer
        raise JournalUnavailable(f"call {work.call.call_id} changes faster than it can be read")

    async def _begin(self, work: Work) -> Answer | None:
        try:
            return await self._in_a_task(work, self._execution.begin)
        except KeyTaken:
            return None

    async def _safe(self, work: Work) -> Answer | None:
        """A known key of a safe call: run again, as the next attempt."""
        entry = self._find(work)
        if entry is None:
            try:
                return await self._execution.begin(work)
            except KeyTaken:
                return None
        if entry.fingerprint != work.call.fingerprint:
            return await self._conflict(work)
        return await self._execution.again(_under(work, entry), entry)

    async def _effectful(self, work: Work) -> Answer | None:
        """The answers table of DESIGN.md, section 3, for calls with an effect; top down."""
        key = (work.request.principal, work.call.key or "")
        run = self._runs.get(key)
        if run is not None:
            if run.fingerprint != work.call.fingerprint:
                return await self._conflict(work)
            return await self._join(work, run)
        entry = self._find(work)
        if entry is None:
            return await self._begin(work)
        if entry.fingerprint != work.call.fingerprint:
            return await self._conflict(work)
        known = _under(work, entry)
        if entry.state is State.RUNNING:
            # One of ours that no task carries out any more could not record its outcome.
            if entry.owner != self._journal.instance and self._journal.alive(entry.owner):
                return await self._join_elsewhere(known)
            return await self._in_a_task(known, lambda it: self._execution.recover(it, entry))
        # In doubt, too, `decide` lets a transaction run again: its inbox row finds what committed.
        if entry.error is not None and decide(entry.error, work.tool.effect).again:
            return await self._in_a_task(known, lambda it: self._execution.again(it, entry))
        return await self._replay(known, entry)

    async def _in_a_task(self, work: Work, step: Step) -> Answer | None:
        run = Run(work.call.fingerprint, work.call.call_id, work.begun)
        if work.call.key is not None:
            self._runs[(work.call.principal, work.call.key)] = run
        self._live.add(run)
        self._tasks.start_soon(self._host, run, work, step, name=f"call {run.call_id}")
        await self._wait(run)
        try:
            return self._outcome_of(run)
        except RunStopped:
            return _stopped(work.receipt)

    async def _host(self, run: Run, work: Work, step: Step) -> None:
        """The task in which a call runs."""
        try:
            with run.scope:
                run.answer = await step(work)
                run.ended = True
        except Exception as e:
            run.failure = e
        finally:
            run.known = run.begun.is_set()
            run.begun.set()
            self._live.discard(run)
            if work.call.key is not None:
                self._runs.pop((work.call.principal, work.call.key), None)
            run.done.set()

    async def _wait(
        self, run: Run, receipt: Receipt | None = None, patience: float = math.inf
    ) -> bool:
        """Wait for the end of a run; the last one to go away takes the run with it.

        Args:
            run: What to wait for.
            receipt: Of who joins; recorded once the call exists. Who joins counts from now on:
                nobody else's going away may end the run meanwhile.
            patience: Seconds; a caller whose patience ends has not gone away, its run goes on.

        Returns:
            Whether it ended.
        """
        run.waiters += 1
        try:
            with anyio.move_on_after(patience):
                await run.begun.wait()
                if receipt is not None and not run.done.is_set():
                    await self._note(receipt)
                await run.done.wait()
            return run.done.is_set()
        except anyio.get_cancelled_exc_class():
            if run.waiters == 1:
                run.scope.cancel()
                # What became of it is recorded before this request is over.
                with anyio.CancelScope(shield=True), anyio.move_on_after(DRAIN):
                    await run.done.wait()
            raise
        finally:
            run.waiters -= 1

    @staticmethod
    def _outcome_of(run: Run) -> Answer | None:
        if run.failure is not None:
            raise run.failure
        if not run.ended:
            raise RunStopped
        return run.answer

    async def _join(self, work: Work, run: Run) -> Answer | None:
        """Wait for a run that another request of this server began."""
        joined = replace(work.receipt, call_id=run.call_id, disposition=Disposition.JOINED)
        if not await self._wait(run, joined, self._policy.join_wait):
            return await self._give_up(joined)
        try:
            answer = self._outcome_of(run)
        except KeyTaken:
            return None
        except RunStopped:
            if not run.known:
                return None  # it went away before it began: now it is our turn
            answer = _stopped(joined)
        if answer is None:
            return None
        await self._answered(joined, answer.outcome)
        return replace(answer, disposition=Disposition.JOINED, receipt_id=joined.receipt_id)

    async def _join_elsewhere(self, work: Work) -> Answer | None:
        """Wait for a call that another live server carries out."""
        joined = replace(work.receipt, disposition=Disposition.JOINED)
        await self._note(joined)
        poll = FIRST_POLL
        with anyio.move_on_after(self._policy.join_wait):
            while True:
                await anyio.sleep(poll)
                poll = min(LAST_POLL, poll * 1.5)
                entry = self._find(work)
                if entry is None or not self._journal.alive(entry.owner):
                    return None
                if entry.state is not State.RUNNING:
                    answer = _stored(work, entry, Disposition.JOINED)
                    await self._answered(joined, answer.outcome)
                    return answer
        return await self._give_up(joined)

    async def _give_up(self, joined: Receipt) -> Answer:
        error = still_running(joined.call_id or "", self._policy.join_wait)
        outcome = Outcome.failed(error)
        await self._answered(joined, outcome)
        return Answer(outcome, Disposition.JOINED, joined.receipt_id, call_id=joined.call_id)

    async def _replay(self, work: Work, entry: Entry) -> Answer:
        """The stored outcome; nothing runs."""
        doubt = entry.state is State.IN_DOUBT
        disposition = Disposition.IN_DOUBT if doubt else Disposition.REPLAYED
        answer = _stored(work, entry, disposition)
        await self._answered(replace(work.receipt, disposition=disposition), answer.outcome)
        return answer

    async def _conflict(self, work: Work) -> Answer:
        return await self._refuse(
            work.request, Disposition.CONFLICT, key_conflict(work.call.key or "")
        )

    async def _refuse(self, request: Request, disposition: Disposition, error: Error) -> Answer:
        """Answer without a call: the key stays free."""
        receipt = self._receipt(request, None, disposition)
        outcome = Outcome.failed(error)
        await self._answered(receipt, outcome)
        return Answer(outcome, disposition, receipt.receipt_id)

    async def _answered(self, receipt: Receipt, outcome: Outcome) -> None:
        digest = answer_mac(self._journal.secret, outcome)
        await self._note(replace(receipt, answer_mac=digest, error=outcome.error))

    async def _note(self, receipt: Receipt) -> None:
        """Record a receipt; what is known is answered even when that fails."""
        try:
            await shielded(self._journal.record(receipt))
        except JournalUnavailable as e:
            _log.error("receipt not recorded", receipt=receipt.receipt_id, reason=str(e))

    def _find(self, work: Work) -> Entry | None:
        return self._journal.find(work.call.principal, work.call.key or "")

    def _work(self, request: Request, tool: AnyTool, arguments: Arguments) -> Work:
        call = new_call(request, tool, arguments, self._journal.secret, self._roots)
        receipt = self._receipt(request, call.call_id, Disposition.RAN)
        return Work(request, tool, arguments, call, receipt)

    def _receipt(self, request: Request, call_id: str | None, disposition: Disposition) -> Receipt:
        return new_receipt(request, call_id, disposition, self._journal.secret)


def _stopped(receipt: Receipt) -> Answer:
    """The answer to a request whose run was stopped by somebody else."""
    outcome = Outcome.failed(run_stopped())
    return Answer(outcome, receipt.disposition, receipt.receipt_id, call_id=receipt.call_id)


def _unrecorded(error: Error) -> Answer:
    """An answer without a receipt of its own."""
    return Answer(Outcome.failed(error), Disposition.DENIED, receipt_id="")


def _stored(work: Work, entry: Entry, disposition: Disposition) -> Answer:
    """What the journal knows of an ended call, as an answer."""
    outcome = Outcome(Status(entry.state.value), entry.result, entry.error)
    text = ""
    if entry.result is not None:
        text = work.tool.Result.model_validate(entry.result).as_text()
    return Answer(
        outcome, disposition, work.receipt.receipt_id, text, entry.call_id, entry.attempts
    )


def _under(work: Work, entry: Entry) -> Work:
    """The same request as work on the call that its key has named from its beginning."""
    call = replace(work.call, call_id=entry.call_id, at=entry.begun_at)
    receipt = replace(work.receipt, call_id=entry.call_id)
    return Work(work.request, work.tool, work.arguments, call, receipt, entry.attempts)
