"""Carrying out one call: intent, attempts, outcome, each recorded before the next step.

Before it: `executor`, which decides that something runs at all. What is done about a failed attempt
is decided by `surefoot_tools.retry`; what became of an attempt that nobody saw end, by `recovery`.
"""

import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from random import Random

import anyio

from surefoot_server import log, spans
from surefoot_server.aftermath import Aftermath, repeatable
from surefoot_server.answers import with_repeat_hint
from surefoot_server.call import Answer, answer_mac
from surefoot_server.containment import contained
from surefoot_server.faults import Faults, Point
from surefoot_server.jobs import JobRows
from surefoot_server.journal.records import (
    Entry,
    Fenced,
    Journal,
    JournalUnavailable,
    Standing,
)
from surefoot_server.journal.states import Delivery, Disposition, State
from surefoot_server.outcomes import Outcomes
from surefoot_server.policy import Policy
from surefoot_server.recovery import (
    NOTHING,
    Found,
    Orphans,
    bug,
    died,
    interrupted,
    look_at,
    mine,
    succeeded,
)
from surefoot_server.work import KeyTaken, NothingBegun, Work, shielded
from surefoot_tools.circuit import Circuit, Circuits
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.outcome import Error, Outcome
from surefoot_tools.registry import Registry
from surefoot_tools.retry import AttemptFailed, decide, retrying
from surefoot_tools.tool import Effect, Evidence, Group, Result

_log = log.get("execution")


class Execution:
    """Runs calls; holds nothing of its own but what all of them share."""

    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        policy: Policy,
        faults: Faults,
        random: Random,
    ) -> None:
        self._journal = journal
        self.jobs = JobRows(journal, registry)
        """The rows of the jobs that calls leave behind."""
        self._outcomes = Outcomes(journal, self.jobs)
        self._registry = registry
        self._orphans = Orphans(journal, registry, self.jobs)
        self._policy = policy
        self._faults = faults
        self._circuits = Circuits(time.monotonic)
        self._aftermath = Aftermath()
        self._random = random

    def close(self) -> None:
        """Give up what is held in reserve."""
        self._aftermath.close()

    async def pay(self) -> None:
        """Record the outcomes that the journal could not take before.

        Raises:
            JournalUnavailable: it still cannot.
        """
        await self._outcomes.pay_all()

    def reaches(self, seen: Entry) -> bool:
        """Whether this server can look into what became of a call."""
        tool = self._registry.get(seen.tool)
        return tool is not None and (seen.evidence == NOTHING or tool.reaches(seen.evidence))

    async def forget(self, before: float) -> None:
        """Have the tools drop what they keep outside of the journal."""
        for tool in self._registry:
            await tool.forget(before)

    async def begin(self, work: Work) -> Answer:
        """Carry out a new call.

        Raises:
            KeyTaken: its key is known by now.
            JournalUnavailable: its intent cannot be recorded; nothing has begun.
        """
        async with AsyncExitStack() as held:
            try:
                evidence, refusal = await self._prepare(work, held)
                await self._orphans.before(work.tool, evidence)
                await self._faults.at(Point.BEFORE_INTENT, work.request.fault)
            except anyio.get_cancelled_exc_class():
                await shielded(self._cancelled_early(work))
                raise
            begun = evidence if refusal is None else NOTHING
            await shielded(self._intend(work, begun, durable=refusal is None))
            return await self._carry_out(work, evidence, refusal)

    async def _intend(self, work: Work, evidence: Evidence, *, durable: bool) -> None:
        """Record the intent; one without an effect to protect needs no flush."""
        call = replace(work.call, evidence=evidence)
        try:
            taken = await self._journal.begin(call, work.receipt, durable=durable and work.durable)
        except JournalUnavailable as e:
            raise NothingBegun(str(e)) from e
        if taken is not None:
            raise KeyTaken
        work.begun.set()

    async def _cancelled_early(self, work: Work) -> None:
        """A request that goes away before its call began was received all the same."""
        with suppress(KeyTaken, NothingBegun):
            await self._intend(work, NOTHING, durable=False)
            outcome = Outcome.failed(
                Error(Code.CANCELLED, Origin.CLIENT, Applied.NO, "cancelled before it began")
            )
            await self._outcomes.finish(work, repeatable(outcome), durable=False)

    async def begin_safe(self, work: Work) -> Answer:
        """Carry out a new call without an effect; it goes on even when the journal does not."""
        await self._faults.at(Point.BEFORE_INTENT, work.request.fault)
        self._journal.begin_safe(work.call, work.receipt)
        return await self._carry_out(work, {}, None)

    async def unrecorded(self, work: Work) -> Answer:
        """Carry out a safe call that the journal cannot take: what asks for no effect goes on."""
        outcome, text = await self._attempt(work, {}, self._circuit(work))
        return Answer(outcome, Disposition.RAN, receipt_id="", text=text)

    async def again(self, work: Work, seen: Entry, closing: Outcome | None = None) -> Answer | None:
        """Carry out another attempt of a known call; None if it stands elsewhere by now.

        Args:
            work: The call, with the id that it has had from its beginning.
            seen: Where it stood.
            closing: How the attempt before it ended, if nobody recorded that yet.
        """
        work.begun.set()
        work.doubt = work.doubt or seen.state is State.IN_DOUBT
        async with AsyncExitStack() as held:
            try:
                evidence, refusal = await self._prepare(work, held)
                await self._orphans.before(work.tool, evidence)
            except anyio.get_cancelled_exc_class():
                # It was received, and waited for a run that it did not come to begin.
                waited = replace(work.receipt, disposition=Disposition.JOINED)
                with suppress(JournalUnavailable):
                    await shielded(self._journal.record(waited))
                raise
            number = await shielded(
                self._journal.reopen(
                    seen.standing,
                    # What a refused preparation did not learn is still known from the one before.
                    evidence if refusal is None else seen.evidence,
                    work.receipt,
                    closing=None if closing is None else self._outcomes.closing(work, closing),
                    durable=work.durable,
                )
            )
            if number is None:
                return None
            work.number = number
            return await self._carry_out(work, evidence, refusal)

    async def recover(self, work: Work, seen: Entry) -> Answer | None:
        """Find out what became of a call whose owner died, and end it or run it again.

        None if it stands elsewhere now, so that it is looked at again.

        Raises:
            Unsettled: nobody can tell just now.
        """
        if await shielded(self._outcomes.pay(seen.call_id)):
            return None
        if work.tool.effect is Effect.VERIFIABLE:
            await self._orphans.settle(work.tool, seen)
            return None
        if not await self._journal.take_over(seen.standing):
            return None
        work.begun.set()
        work.number = seen.attempts
        here = mine(seen, self._journal)
        if work.tool.effect in (Effect.IDEMPOTENT, Effect.TRANSACTIONAL):
            work.doubt = work.tool.effect is Effect.TRANSACTIONAL
            return await self.again(work, here, closing=died(Applied.UNKNOWN))
        async with AsyncExitStack() as held:
            work.context.held = held
            try:
                found = await look_at(work.tool, seen, work.context)
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await self._found(work, interrupted(seen, work.tool, work.context))
                raise
            if not found.not_begun:
                return await self._found(work, found)
        return await self.again(work, here, closing=died(Applied.NO))

    async def _found(self, work: Work, found: Found) -> Answer:
        """Record what a look at a dead server's call found, and answer with it."""
        if found.outcome.error is None or found.outcome.error.applied is not Applied.UNKNOWN:
            disposition = Disposition.JOINED if found.adopted else Disposition.REPLAYED
        else:
            disposition = Disposition.IN_DOUBT
        await self._outcomes.finish(work, found.outcome)
        told = found.outcome
        if work.request.key is None and told.error is not None:
            told = Outcome.failed(with_repeat_hint(told.error, work.tool), told.result)
        digest = answer_mac(self._journal.secret, told)
        receipt = replace(work.receipt, disposition=disposition, answer_mac=digest)
        await self._journal.record(replace(receipt, error=told.error))
        return self._answer(work, told, found.text, disposition)

    async def settle(self, seen: Entry, begun: anyio.Event, adopted: anyio.Event) -> Answer | None:
        """Record what became of a call whose server died, without being asked for it.

        Args:
            seen: The call.
            begun: Set at once: the journal knows it.
            adopted: Set when what is found still runs, and is waited for.
        """
        begun.set()
        tool = self._registry.get(seen.tool)
        if tool is None:
            return None
        found = await self._orphans.settle(tool, seen, adopted)
        if found is None or not found.adopted:
            return None  # whoever joined meanwhile looks at what is recorded now
        return Answer(found.outcome, Disposition.RAN, "", found.text, seen.call_id, seen.attempts)

    async def _prepare(self, work: Work, held: AsyncExitStack) -> tuple[Evidence, Outcome | None]:
        """Evidence, or the outcome of a call that cannot be carried out."""
        work.context.held = held
        if not work.durable:
            return {}, None
        try:
            self._circuit(work).check()
            return await contained(work.tool.prepare(work.arguments, work.context)), None
        except ToolError as e:
            return {}, Outcome.failed(Error.of(e))
        except Exception as e:
            return {}, Outcome.failed(bug(work.tool, work.call.call_id, e, Applied.NO))

    def _circuit(self, work: Work) -> Circuit:
        return self._circuits.of(work.tool.target(work.arguments))

    async def _carry_out(self, work: Work, evidence: Evidence, refusal: Outcome | None) -> Answer:
        if refusal is not None:
            # It had no effect: after a power cut its intent alone says all there is to say.
            outcome = await self._outcomes.finish(work, refusal, durable=False)
            return self._answer(work, outcome, "")
        await self._faults.at(Point.AFTER_INTENT, work.request.fault)
        try:
            outcome, text = await self._attempts(work, evidence)
            if work.doubt and work.tool.effect is Effect.TRANSACTIONAL:
                outcome, text = await self._aftermath.clear_doubt(work, evidence, outcome, text)
        except anyio.get_cancelled_exc_class():
            outcome, text = await shielded(self._aftermath.stopped(work, evidence))
            outcome = await shielded(self._outcomes.finish(work, outcome))
            if outcome.error is not None:
                self._unanswered(work)
                raise
            # The cancel came too late: this run came to its own end, and its answer may be lost.
            return self._answer(work, outcome, text)
        await self._faults.at(Point.AFTER_EFFECT, work.request.fault)
        outcome = await self._outcomes.finish(work, outcome)
        # Nothing is left to be cancelled.
        await shielded(self._faults.at(Point.BEFORE_ANSWER, work.request.fault))
        return self._answer(work, outcome, text)

    def _unanswered(self, work: Work) -> None:
        """A safe call was cancelled; `Executor` sees to those that have a task of their own."""
        if not work.durable:
            gone = Delivery.LOST if work.request.connection.lost else Delivery.STOPPED
            self._journal.deliver(work.receipt.receipt_id, gone, self._journal.now())

    async def _attempts(self, work: Work, evidence: Evidence) -> tuple[Outcome, str]:
        """Run until an attempt succeeds or `retry.decide` says that it is over."""
        circuit = self._circuit(work)
        circuit.budget.deposit()
        outcome, text = await self._attempt(work, evidence, circuit)
        if outcome.result is not None:
            return outcome, text  # also a failure of which the tool said all that there is to say
        if outcome.error is None or not decide(outcome.error, work.tool.effect).again:
            return outcome, text  # tenacity costs 70 us, which nearly every call can do without
        try:
            async for attempt in retrying(
                budget=circuit.budget,
                deadline=work.context.deadline,
                random=self._random,
                attempts=self._policy.attempts,
                refuses=circuit.refuses,
            ):
                with attempt:
                    if attempt.retry_state.attempt_number > 1:
                        assert outcome.error is not None  # noqa: S101 - or the loop had ended
                        work.doubt = work.doubt or outcome.error.applied is Applied.UNKNOWN
                        refusal, evidence = await self._once_more(work, outcome, evidence)
                        if refusal is not None:
                            return refusal, ""
                        outcome, text = await self._attempt(work, evidence, circuit)
                    if outcome.error is not None:
                        raise AttemptFailed(outcome.error, work.tool.effect)
        except AttemptFailed:
            _log.warning("call failed", call=work.call.call_id, attempts=work.number)
        return outcome, text

    async def _once_more(
        self, work: Work, ended: Outcome, evidence: Evidence
    ) -> tuple[Outcome | None, Evidence]:
        """Close the attempt that failed and begin the next, with evidence taken anew."""
        await work.context.held.aclose()
        fresh, refusal = await self._prepare(work, work.context.held)
        known = fresh if refusal is None else evidence
        seen = Standing(work.call.call_id, State.RUNNING, self._journal.owner)
        number = await shielded(
            self._journal.reopen(
                seen, known, None, closing=self._outcomes.closing(work, ended), durable=work.durable
            )
        )
        if number is None:
            raise Fenced(f"call {work.call.call_id} has another owner by now")
        work.number = number
        return refusal, known

    async def _attempt(
        self, work: Work, evidence: Evidence, circuit: Circuit
    ) -> tuple[Outcome, str]:
        with spans.attempt(work.tool.name, work.call.call_id, work.number) as tell:
            if work.tool.group is Group.ACCOUNTING:
                with suppress(JournalUnavailable):  # of which it will tell by itself
                    await self.jobs.settle()
            outcome, text = await self._ended(work, evidence, circuit)
            tell(outcome.error)
            return outcome, text

    async def _ended(self, work: Work, evidence: Evidence, circuit: Circuit) -> tuple[Outcome, str]:
        try:
            with circuit.attempt():
                running = work.tool.run(work.arguments, evidence, work.context)
                result: Result = await contained(running)
            return succeeded(result)
        except ToolError as e:
            cause, error = e, Error.of(e)
            if e.applied is not Applied.UNKNOWN or work.tool.effect is not Effect.VERIFIABLE:
                return Outcome.failed(error, e.result), ""
        except Exception as e:
            applied = Applied.UNKNOWN if work.durable else Applied.NO
            cause, error = e, bug(work.tool, work.call.call_id, e, applied)
            if not work.durable:
                return Outcome.failed(error), ""
        return await self._aftermath.look(work, evidence, error, cause)

    def _answer(
        self,
        work: Work,
        outcome: Outcome,
        text: str,
        disposition: Disposition = Disposition.RAN,
    ) -> Answer:
        return Answer(
            outcome,
            disposition,
            work.receipt.receipt_id,
            text,
            call_id=work.call.call_id,
            attempt=work.number,
        )
