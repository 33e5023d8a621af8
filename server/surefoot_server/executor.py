"""The way of one call; read this first.

    validate -> policy -> fingerprint -> key known? the answers table (`journal.states`)
      -> tool.prepare -> Evidence -> intent committed -> tool.run -> outcome committed -> answer

This module knows nothing of MCP; `app` brings requests in and takes answers out. `reception` keeps
receipts, `runs` holds who waits for what, `doubt` what a call without a key must know of an equal
one before it, `execution` how a call is carried out, attempt by attempt, and `recovery` what became
of one whose server died.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Self

import anyio
from pydantic import ValidationError
from structlog.contextvars import bound_contextvars

from surefoot_server import log
from surefoot_server.answers import (
    explained,
    foreign_roots,
    invalid_arguments,
    journal_unavailable,
    key_conflict,
    result_gone,
    still_running,
    too_late,
    unknown_tool,
)
from surefoot_server.asking import Asking
from surefoot_server.call import Answer, Register, Request, StoreArguments, repeat_note
from surefoot_server.doubt import doubtful
from surefoot_server.execution import Execution
from surefoot_server.faults import Faults
from surefoot_server.housekeeping import Housekeeping
from surefoot_server.journal.records import (
    Earlier,
    Entry,
    Fenced,
    Journal,
    JournalUnavailable,
    Receipt,
)
from surefoot_server.journal.states import Delivery, Disposition, Reply, Seen, State, reply
from surefoot_server.offers import Offers
from surefoot_server.policy import Policy
from surefoot_server.reception import Reception, without_repeat
from surefoot_server.runs import Run, Runs, RunStopped
from surefoot_server.work import KeyTaken, NothingBegun, Work, stopped, stored, unrecorded
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error, Outcome
from surefoot_tools.registry import AnyTool, Registry
from surefoot_tools.retry import decide
from surefoot_tools.tool import Arguments, Effect

_log = log.get("executor")

LOOKS = 8
"""How often a call that others change under us is looked at anew before we give up."""
FIRST_POLL, LAST_POLL = 0.02, 0.25
"""Seconds between looks at a call that another server carries out; SQLite cannot notify."""

Step = Callable[[Work], Awaitable[Answer | None]]
"""One way to answer; None when the call was changed by others meanwhile."""


class Executor:
    """Carries out calls; an async context manager that owns the tasks they run in.

    Args:
        registry: The tools on offer.
        journal: Where calls are recorded.
        roots: Of this server; part of every fingerprint.
        policy: What is allowed.
        faults: Failures on purpose.
        random: Draws the jitter of retries.
        store: How much of the arguments is kept.
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
        store: StoreArguments = StoreArguments.REDACTED,
    ) -> None:
        self.registry = registry
        self._journal = journal
        self._policy = policy
        self._reception = Reception(journal, Register(journal.secret, roots, store))
        self._execution = Execution(journal, registry, policy, faults, random)
        self._asking = Asking(policy, self._reception, journal)
        self._offers = Offers(registry)
        self._stack = AsyncExitStack()
        self._runs: Runs
        self.housekeeping: Housekeeping

    async def __aenter__(self) -> Self:
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._runs = Runs(tasks, self._policy.grace, self._joined_elsewhere)
        self.housekeeping = Housekeeping(
            self._journal, self._execution, self._runs, self._reception.scope, self._policy
        )
        tasks.start_soon(self.housekeeping.go_on, name="housekeeping")
        self._stack.callback(tasks.cancel_scope.cancel)
        self._stack.callback(self._execution.close)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        await self._runs.drain()
        with anyio.CancelScope(shield=True), suppress(JournalUnavailable):
            await self._execution.pay()  # else the next server finds what became of it
        return await self._stack.__aexit__(kind, error, trace)

    async def drain(self) -> None:
        """Let the calls that are under way end, or end them, within `runs.DRAIN` seconds."""
        await self._runs.drain()

    async def _joined_elsewhere(self, call_id: str) -> bool:
        try:
            return await self._journal.joined_elsewhere(call_id)
        except JournalUnavailable:
            return False

    async def execute(self, request: Request) -> Answer:
        """Answer one request, with a receipt as long as the journal can be written.

        Raises:
            NotOurs: it brings a seal of `consent` that is not for it; it has no receipt yet.
        """
        try:
            offer = self._offers.to(request.access)
        except ValueError as e:
            return await self._reception.refuse(request, Disposition.DENIED, foreign_roots(str(e)))
        tool = offer.get(request.tool)
        if tool is None:
            names = [each.name for each in offer if request.access.refusal(each) is None]
            error = unknown_tool(request.tool, names)
            return await self._reception.refuse(request, Disposition.INVALID, error)
        given, repeated = without_repeat(tool, request)
        try:
            arguments: Arguments = tool.Arguments.model_validate(given)
        except ValidationError as e:
            return await self._reception.refuse(
                request, Disposition.INVALID, invalid_arguments(tool, e)
            )
        refusal = self._policy.refusal(tool, arguments) or request.access.refusal(tool)
        if refusal is None and anyio.current_time() >= request.deadline:
            refusal = too_late()
        if refusal is not None:
            return await self._reception.refuse(request, Disposition.DENIED, refusal)
        try:
            return await self._carry_out(request, tool, arguments, repeated)
        except JournalUnavailable as e:
            applied = Applied.NO if isinstance(e, NothingBegun) else Applied.UNKNOWN
            return unrecorded(journal_unavailable(str(e), applied))

    def deliver(self, receipt_id: str, delivery: Delivery) -> None:
        """What became of the answer to a request; one without a receipt has no say."""
        if receipt_id:
            self._journal.deliver(receipt_id, delivery, self._journal.now())

    async def refuse_malformed(self, request: Request, message: str) -> Answer:
        """Answer a request that is no proper call, with a receipt."""
        error = Error(Code.INVALID_ARGUMENT, Origin.CLIENT, Applied.NO, message)
        return await self._reception.refuse(request, Disposition.INVALID, error)

    async def _carry_out(
        self, request: Request, tool: AnyTool, arguments: Arguments, repeated: bool
    ) -> Answer:
        work = self._reception.work(request, tool, arguments, repeated)
        self._asking.check(work)
        if work.spooled:
            return await self._execution.begin_safe(work)
        step = self._unkeyed if request.key is None else self._keyed
        with bound_contextvars(key=request.key, tool=request.tool, attempt=request.sender_attempt):
            try:
                return await self._looking(work, step)
            except JournalUnavailable as e:
                if work.durable:
                    raise
                _log.warning("a safe call went unrecorded", reason=str(e))
                return await self._execution.unrecorded(work)

    async def _looking(self, work: Work, step: Step) -> Answer:
        """Take a step of the answers table; look again when others changed the call meanwhile."""
        for _ in range(LOOKS):
            answer = await step(work)
            if answer is not None:
                return answer
        raise JournalUnavailable(f"call {work.call.call_id} changes faster than it can be read")

    async def _keyed(self, work: Work) -> Answer | None:
        """A request with a key: what it finds, held against the answers table."""
        run = self._runs.under(work.call.principal, work.call.key)
        if run is not None and work.durable:
            seen = Seen(known=True, same=run.fingerprint == work.call.fingerprint)
            joins = reply(seen) is Reply.JOIN
            return await (self._join(work, run) if joins else self._conflict(work))
        entry = await self._journal.find(work.call.principal, work.call.key or "")
        if entry is None:
            return await self._run(work)
        return await self._answer(work, entry, await self._see(work, entry))

    async def _see(self, work: Work, entry: Entry) -> Seen:
        # One of ours that no task carries out any more could not record its outcome.
        mine = entry.owner == self._journal.owner
        effect, error = work.tool.effect, entry.error
        return Seen(
            known=True,
            same=entry.fingerprint == work.call.fingerprint,
            effect=effect,
            state=entry.state,
            alive=not mine and await self._journal.alive(entry.owner),
            again=error is not None and decide(error, effect).again,
            expired=entry.expired,
        )

    async def _answer(self, work: Work, entry: Entry, seen: Seen) -> Answer | None:
        """Do what the answers table says about a known call."""
        known = work.on(entry)
        match reply(seen):
            case Reply.RUN:
                return await self._run(work)
            case Reply.CONFLICT:
                return await self._conflict(work)
            case Reply.RUN_AGAIN:
                if seen.effect is Effect.SAFE:
                    return await self._execution.again(known, entry)
                return await self._in_a_task(known, lambda it: self._execution.again(it, entry))
            case Reply.JOIN:
                return await self._join_elsewhere(known)
            case Reply.RECOVER:
                return await self._in_a_task(known, lambda it: self._execution.recover(it, entry))
            case Reply.GONE:
                gone = Outcome.failed(result_gone(entry))
                return await self._replay(known, entry, Disposition.REPLAYED, gone)
            case Reply.REPLAY:
                return await self._replay(known, entry, Disposition.REPLAYED)
            case Reply.EXPLAIN:
                error = entry.error and explained(entry.error, entry, work.tool)
                doubt = error and Outcome.failed(error, entry.result)
                return await self._replay(known, entry, Disposition.IN_DOUBT, doubt)

    async def _run(self, work: Work) -> Answer | None:
        if (question := self._asking.about(work)) is not None:
            return await self._asking.ask(work, question)
        try:
            if not work.durable:
                return await self._execution.begin(work)
            return await self._in_a_task(work, self._execution.begin)
        except KeyTaken:
            return None

    async def _unkeyed(self, work: Work) -> Answer | None:
        """A request without a key: a call of its own, unless an equal one's answer was lost."""
        call = work.call
        if not call.repeated and call.fingerprint is not None:
            since = call.at - self._policy.doubt
            doubt = await doubtful(self._journal, call.principal, call.fingerprint, since)
            if doubt is not None:
                return await self._in_doubt_of(work, doubt)
        return await self._run(work)

    async def _in_doubt_of(self, work: Work, doubt: Earlier) -> Answer | None:
        """The answer that an earlier equal call did not deliver."""
        entry = doubt.entry
        run = self._runs.of(entry.call_id)
        if run is not None:
            answer = await self._join(work, run)
        else:
            seen = await self._see(work, entry)
            answer = await self._answer(work, entry, replace(seen, again=False))
        if answer is None or answer.disposition is Disposition.RAN:
            return answer
        return replace(answer, note=repeat_note(work.tool))

    async def _in_a_task(self, work: Work, step: Step) -> Answer | None:
        call = work.call
        if self._runs.under(call.principal, call.key) is not None:
            return None  # another request with this key began while this one looked
        name = None if call.key is None else (call.principal, call.key)
        run = Run(call.call_id, name, call.fingerprint, work.begun)
        self._runs.start(run, lambda: step(work))
        patience = work.request.deadline - anyio.current_time()
        try:
            ended = await self._runs.wait(run, work.request.connection, patience=patience)
        except anyio.get_cancelled_exc_class():
            self._gone(work.receipt, work.request, run)
            raise
        if not ended:
            return await self._give_up(work, work.receipt, patience)
        try:
            return run.outcome()
        except RunStopped:
            return stopped(work.receipt)
        except Fenced:
            return await self._looking(work, self._taken)

    async def _taken(self, work: Work) -> Answer | None:
        """Another owner has the call that this request began: what became of it there?"""
        entry = await self._journal.look(work.call.call_id)
        if entry is None:
            raise JournalUnavailable(f"call {work.call.call_id} is gone")
        return await self._answer(work, entry, await self._see(work, entry))

    def _gone(self, receipt: Receipt, request: Request, run: Run) -> None:
        """Its request is cancelled, or its connection is gone: will the caller ever know?"""
        stopped = run.done.is_set() and not run.ended and not request.connection.lost
        delivery = Delivery.STOPPED if stopped else Delivery.LOST
        self._journal.deliver(receipt.receipt_id, delivery, self._journal.now())

    async def _join(self, work: Work, run: Run) -> Answer | None:
        """Wait for a run that another request of this server began."""
        joined = replace(work.receipt, call_id=run.call_id, disposition=Disposition.JOINED)
        patience = self._patience(work)
        try:
            ended = await self._runs.wait(
                run,
                work.request.connection,
                patience=patience,
                note=lambda: self._reception.note(joined),
            )
        except anyio.get_cancelled_exc_class():
            self._gone(joined, work.request, run)
            raise
        if not ended:
            return await self._give_up(work, joined, patience)
        try:
            answer = run.outcome()
        except (KeyTaken, Fenced):
            return None
        except RunStopped:
            if not run.known:
                return None  # it went away before it began: now it is our turn
            answer = stopped(joined)
        if answer is None:
            return None
        told = await self._reception.answered(joined, answer.outcome, work.tool)
        about = replace(answer, disposition=Disposition.JOINED, receipt_id=joined.receipt_id)
        return replace(about, outcome=told)

    async def _join_elsewhere(self, work: Work) -> Answer | None:
        """Wait for a call that another live server carries out."""
        joined = replace(work.receipt, disposition=Disposition.JOINED)
        await self._reception.note(joined)
        poll, patience = FIRST_POLL, self._patience(work)
        with anyio.move_on_after(patience):
            while True:
                await anyio.sleep(poll)
                poll = min(LAST_POLL, poll * 1.5)
                entry = await self._journal.look(work.call.call_id)
                if entry is None:
                    return None
                if entry.state is not State.RUNNING:
                    answer = await stored(work, entry, Disposition.JOINED, self._execution.jobs)
                    told = await self._reception.answered(joined, answer.outcome, work.tool)
                    return replace(answer, outcome=told)
                if not await self._journal.alive(entry.owner):
                    return None
        return await self._give_up(work, joined, patience)

    def _patience(self, work: Work) -> float:
        """Seconds that this caller waits for somebody else's run."""
        left = work.request.deadline - anyio.current_time()
        return max(0.0, min(self._policy.join_wait, left))

    async def _give_up(self, work: Work, receipt: Receipt, patience: float) -> Answer:
        running = Outcome.failed(still_running(receipt.call_id or "", patience))
        outcome = await self._reception.answered(receipt, running, work.tool)
        return Answer(outcome, receipt.disposition, receipt.receipt_id, call_id=receipt.call_id)

    async def _replay(
        self, work: Work, entry: Entry, disposition: Disposition, instead: Outcome | None = None
    ) -> Answer:
        """The stored outcome, or what is said `instead`; nothing runs."""
        answer = await stored(work, entry, disposition, self._execution.jobs)
        receipt = replace(work.receipt, disposition=disposition)
        return replace(
            answer,
            outcome=await self._reception.answered(receipt, instead or answer.outcome, work.tool),
        )

    async def _conflict(self, work: Work) -> Answer:
        error = key_conflict(work.call.key or "")
        return await self._reception.refuse(work.request, Disposition.CONFLICT, error)
