"""Recording how attempts ended; what the journal cannot take is owed to it, and paid later."""

from dataclasses import replace

from surefoot_server import log
from surefoot_server.call import answer_mac
from surefoot_server.jobs import JobRows
from surefoot_server.journal.records import Closing, Fenced, Journal, JournalUnavailable
from surefoot_server.work import Work, shielded
from surefoot_tools.errors import Applied
from surefoot_tools.outcome import Outcome

_log = log.get("outcomes")


class Outcomes:
    """The outcomes of one server's calls.

    Args:
        journal: Where they are recorded.
        jobs: The rows of jobs that calls leave behind.
    """

    def __init__(self, journal: Journal, jobs: JobRows) -> None:
        self._journal = journal
        self._jobs = jobs
        self._owed: dict[str, Closing] = {}

    async def finish(self, work: Work, outcome: Outcome, *, durable: bool = True) -> Outcome:
        """Record the outcome; an outcome that cannot be recorded is told all the same.

        Returns:
            The outcome as recorded: with an attempt in doubt before it, no later 'not applied' is
            the whole truth.
        """
        error = outcome.error
        if work.doubt and error is not None and error.applied is Applied.NO:
            outcome = Outcome.failed(replace(error, applied=Applied.UNKNOWN), outcome.result)
        closing = self.closing(work, outcome)
        if work.spooled:
            self._journal.finish_safe(closing)
            return outcome
        for last in (False, True):
            try:
                await shielded(self._journal.finish(closing, durable=work.durable and durable))
                work.context.recorded = True
                self._jobs.begun(closing.job)
                break
            except Fenced:
                raise
            except JournalUnavailable as e:
                # Once more: a rolled-back group writes its pages anew, so this is no second fsync
                # of pages that the first may have dropped.
                if last:
                    _log.error("outcome not recorded", call=work.call.call_id, reason=str(e))
                    self._owed[work.call.call_id] = closing
        return outcome

    async def pay(self, call_id: str) -> bool:
        """Record an outcome that the journal could not take before; False if none is owed.

        Raises:
            JournalUnavailable: it still cannot.
        """
        closing = self._owed.get(call_id)
        if closing is None:
            return False
        try:
            await self._journal.finish(closing, durable=True)
            self._jobs.begun(closing.job)
        except Fenced:
            _log.error("outcome came too late", call=call_id)
        self._owed.pop(call_id, None)
        return True

    async def pay_all(self) -> None:
        """Record all that is owed.

        Raises:
            JournalUnavailable: the journal still cannot take it.
        """
        for call_id in list(self._owed):
            await self.pay(call_id)

    def closing(self, work: Work, outcome: Outcome) -> Closing:
        """The end of the attempt that is going on, as the journal takes it."""
        body, call, now = outcome.result, work.call, self._journal.now()
        return Closing(
            call_id=call.call_id,
            number=work.number,
            outcome=outcome,
            at=now,
            receipt_id=work.receipt.receipt_id,
            answer_mac=None if work.spooled else answer_mac(self._journal.secret, outcome),
            keep_result=work.durable and (body is None or work.tool.keeps(body)),
            job=self._jobs.left_by(work.tool, call.call_id, call.principal, outcome, now),
        )
