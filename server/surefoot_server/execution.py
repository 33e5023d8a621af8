"""Carrying out one call: intent, attempts, outcome, each recorded before the next step.

Before it: `executor`, which decides that something runs at all. What is done about a failed attempt
is decided by `surefoot_tools.retry`; what became of an attempt that nobody saw end, by the tool.
"""

import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from random import Random

import anyio

from surefoot_server import log
from surefoot_server.answers import server_died
from surefoot_server.call import Answer, answer_mac
from surefoot_server.faults import Faults, Point
from surefoot_server.journal.records import (
    Closing,
    Entry,
    Journal,
    JournalUnavailable,
    Standing,
)
from surefoot_server.journal.states import Disposition, State
from surefoot_server.policy import Policy
from surefoot_server.recovery import Orphans, settled, succeeded
from surefoot_server.work import KeyTaken, NothingBegun, Work, shielded
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.outcome import Error, Outcome
from surefoot_tools.registry import Registry
from surefoot_tools.retry import AttemptFailed, Budget, decide, retrying
from surefoot_tools.tool import (
    Effect,
    Evidence,
    Happened,
    NotBegun,
    Result,
)

_log = log.get("execution")


class Execution:
    """Runs calls; holds nothing of its own but what all of them share."""

    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        policy: Policy,
        faults: Faults,
        budget: Budget,
        random: Random,
    ) -> None:
        self._journal = journal
        self._orphans = Orphans(journal, registry)
        self._policy = policy
        self._faults = faults
        self._budget = budget
        self._random = random

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
            await shielded(self._intend(work, evidence, durable=refusal is None))
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
            await self._intend(work, {}, durable=False)
            outcome = Outcome.failed(
                Error(Code.CANCELLED, Origin.CLIENT, Applied.NO, "cancelled before it began")
            )
            await self._finish(work, _repeatable(outcome), durable=False)

    async def begin_safe(self, work: Work) -> Answer:
        """Carry out a new call without an effect; it goes on even when the journal does not."""
        await self._faults.at(Point.BEFORE_INTENT, work.request.fault)
        self._journal.begin_safe(work.call, work.receipt)
        return await self._carry_out(work, {}, None)

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
            evidence, refusal = await self._prepare(work, held)
            await self._orphans.before(work.tool, evidence)
            number = await shielded(
                self._journal.reopen(
                    seen.standing,
                    # What a refused preparation did not learn is still known from the one before.
                    evidence if refusal is None else seen.evidence,
                    work.receipt,
                    closing=None if closing is None else self._closing(work, closing),
                    durable=work.durable,
                )
            )
            if number is None:
                return None
            work.number = number
            return await self._carry_out(work, evidence, refusal)

    async def recover(self, work: Work, seen: Entry) -> Answer | None:
        """Find out what became of a call whose owner died, and end it or run it again.

        None if another server was faster.
        """
        if work.tool.effect is Effect.VERIFIABLE:
            await self._orphans.settle(work.tool, seen)
            return None  # it stands elsewhere now: look at it again
        if not await self._journal.take_over(seen.standing):
            return None
        work.begun.set()
        mine = replace(seen, owner=self._journal.instance)
        work.number = seen.attempts
        if work.tool.effect in (Effect.IDEMPOTENT, Effect.TRANSACTIONAL):
            work.doubt = work.tool.effect is Effect.TRANSACTIONAL
            died = Outcome.failed(server_died(Applied.UNKNOWN))
            return await self.again(work, mine, closing=died)
        found = await work.tool.recover(seen.evidence)
        if isinstance(found, NotBegun):
            died = Outcome.failed(server_died(Applied.NO))
            return await self.again(work, mine, closing=died)
        outcome, text = settled(found)
        happened = outcome.result is not None
        disposition = Disposition.REPLAYED if happened else Disposition.IN_DOUBT
        await self._finish(work, outcome)
        mac = answer_mac(self._journal.secret, outcome)
        await self._journal.record(
            replace(work.receipt, disposition=disposition, answer_mac=mac, error=outcome.error)
        )
        return self._answer(work, outcome, text, disposition)

    async def _prepare(self, work: Work, held: AsyncExitStack) -> tuple[Evidence, Outcome | None]:
        """Evidence, or the outcome of a call that cannot be carried out."""
        work.context.held = held
        if not work.durable:
            return {}, None
        try:
            return await work.tool.prepare(work.arguments, work.context), None
        except ToolError as e:
            return {}, Outcome.failed(Error.of(e))
        except Exception as e:
            return {}, Outcome.failed(self._bug(work, e, Applied.NO))

    async def _carry_out(self, work: Work, evidence: Evidence, refusal: Outcome | None) -> Answer:
        if refusal is not None:
            # It had no effect: after a power cut its intent alone says all there is to say.
            outcome = await self._finish(work, refusal, durable=False)
            return self._answer(work, outcome, "")
        await self._faults.at(Point.AFTER_INTENT, work.request.fault)
        try:
            outcome, text = await self._attempts(work, evidence)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._finish(work, await self._stopped(work, evidence))
            raise
        await self._faults.at(Point.AFTER_EFFECT, work.request.fault)
        outcome = await self._finish(work, outcome)
        await self._faults.at(Point.BEFORE_ANSWER, work.request.fault)
        return self._answer(work, outcome, text)

    async def _attempts(self, work: Work, evidence: Evidence) -> tuple[Outcome, str]:
        """Run until an attempt succeeds or `retry.decide` says that it is over."""
        self._budget.deposit()
        outcome, text = await self._attempt(work, evidence)
        if outcome.error is None or not decide(outcome.error, work.tool.effect).again:
            return outcome, text  # tenacity costs 70 us, which nearly every call can do without
        try:
            async for attempt in retrying(
                budget=self._budget,
                deadline=work.context.deadline,
                random=self._random,
                attempts=self._policy.attempts,
            ):
                with attempt:
                    if attempt.retry_state.attempt_number > 1:
                        assert outcome.error is not None  # noqa: S101 - or the loop had ended
                        work.doubt = work.doubt or outcome.error.applied is Applied.UNKNOWN
                        refusal, evidence = await self._once_more(work, outcome, evidence)
                        if refusal is not None:
                            return refusal, ""
                        outcome, text = await self._attempt(work, evidence)
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
        seen = Standing(work.call.call_id, State.RUNNING, self._journal.instance)
        number = await shielded(
            self._journal.reopen(
                seen, fresh, None, closing=self._closing(work, ended), durable=work.durable
            )
        )
        if number is not None:
            work.number = number
        return refusal, fresh if refusal is None else evidence

    async def _attempt(self, work: Work, evidence: Evidence) -> tuple[Outcome, str]:
        try:
            result: Result = await work.tool.run(work.arguments, evidence, work.context)
            return succeeded(result)
        except ToolError as e:
            error = Error.of(e)
            if e.applied is not Applied.UNKNOWN or work.tool.effect is not Effect.VERIFIABLE:
                return Outcome.failed(error), ""
        except Exception as e:
            if not work.durable:
                return Outcome.failed(self._bug(work, e, Applied.NO)), ""
            error = self._bug(work, e, Applied.UNKNOWN)
        return await self._look(work, evidence, error)

    async def _look(self, work: Work, evidence: Evidence, error: Error) -> tuple[Outcome, str]:
        """Ask the tool what became of an effect that ended in `error`."""
        try:
            found = await work.tool.recover(evidence)
        except ToolError:
            return Outcome.failed(error), ""
        if isinstance(found, NotBegun):
            known = Error(error.code, error.origin, Applied.NO, error.message, error.hint)
            return Outcome.failed(known), ""
        if isinstance(found, Happened):
            return succeeded(found.result)
        return Outcome.failed(error), ""

    async def _stopped(self, work: Work, evidence: Evidence) -> Outcome:
        """The outcome of a call that was cancelled while it ran.

        One whose effect did not happen may run when its key comes back: a lost connection is a
        cancel, too, and whoever sends the key again wants it done.
        """
        if work.context.interrupted is not None:
            outcome = Outcome.failed(Error.of(work.context.interrupted))
        else:
            applied = Applied.UNKNOWN if work.durable else Applied.NO
            error = Error(Code.CANCELLED, Origin.CLIENT, applied, "cancelled while it ran")
            outcome = Outcome.failed(error)
            if work.durable:
                outcome, _ = await self._look(work, evidence, error)
        return _repeatable(outcome)

    async def _finish(self, work: Work, outcome: Outcome, *, durable: bool = True) -> Outcome:
        """Record the outcome; an outcome that cannot be recorded is told all the same.

        Returns:
            The outcome as recorded: with an attempt in doubt before it, no later 'not applied' is
            the whole truth.
        """
        error = outcome.error
        if work.doubt and error is not None and error.applied is Applied.NO:
            outcome = Outcome.failed(replace(error, applied=Applied.UNKNOWN))
        closing = self._closing(work, outcome)
        for last in (False, True):
            try:
                await shielded(self._journal.finish(closing, durable=work.durable and durable))
                break
            except JournalUnavailable as e:
                # Once more: a rolled-back group writes its pages anew, so this is no second fsync
                # of pages that the first may have dropped.
                if last:
                    _log.error("outcome not recorded", call=work.call.call_id, reason=str(e))
        return outcome

    def _closing(self, work: Work, outcome: Outcome) -> Closing:
        return Closing(
            call_id=work.call.call_id,
            number=work.number,
            outcome=outcome,
            at=time.time(),
            receipt_id=work.receipt.receipt_id,
            answer_mac=answer_mac(self._journal.secret, outcome),
            keep_result=work.durable,
        )

    def _answer(
        self,
        work: Work,
        outcome: Outcome,
        text: str,
        disposition: Disposition = Disposition.RAN,
    ) -> Answer:
        return Answer(
            outcome=outcome,
            disposition=disposition,
            receipt_id=work.receipt.receipt_id,
            text=text,
            call_id=work.call.call_id,
            attempt=work.number,
        )

    def _bug(self, work: Work, error: Exception, applied: Applied) -> Error:
        _log.error("bug in a tool", tool=work.tool.name, call=work.call.call_id, exc_info=error)
        return Error(
            Code.INTERNAL,
            Origin.SERVER,
            applied,
            f"{work.tool.name} has a bug: {type(error).__name__}; the server's log has the trace",
            hint="Please report it; the same call will fail again.",
        )


def _repeatable(outcome: Outcome) -> Outcome:
    """A cancelled call whose effect did not happen may run when its key comes back."""
    if outcome.error is None or outcome.error.applied is not Applied.NO:
        return outcome
    return replace(outcome, error=replace(outcome.error, retry_after=0.0))
