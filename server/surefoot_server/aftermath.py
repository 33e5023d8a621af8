"""What became of an attempt of this server's own that did not end well: the tool is asked at once.

Part of `execution`; `recovery` is the same for the attempts of servers that died.
"""

from contextlib import suppress
from dataclasses import replace

from surefoot_server.containment import contained
from surefoot_server.journal.reserve import Spare, is_table_full
from surefoot_server.recovery import bug, succeeded
from surefoot_server.work import Work
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.outcome import Error, Outcome
from surefoot_tools.tool import Evidence, Happened, NotBegun


class Aftermath:
    """Asks tools; holds the descriptors that asking may need when the table is full."""

    def __init__(self) -> None:
        self._spare = Spare()

    def close(self) -> None:
        """Give up what is held in reserve."""
        self._spare.close()

    async def look(
        self, work: Work, evidence: Evidence, error: Error, cause: BaseException | None = None
    ) -> tuple[Outcome, str]:
        """Ask the tool what became of an effect that ended in `error`."""
        try:
            if is_table_full(cause):
                with self._spare.released():
                    found = await contained(work.tool.recover(evidence))
            else:
                found = await contained(work.tool.recover(evidence))
        except ToolError:
            return Outcome.failed(error), ""
        except Exception as e:
            bug(work.tool, work.call.call_id, e, error.applied)
            return Outcome.failed(error), ""
        if isinstance(found, NotBegun):
            known = Error(error.code, error.origin, Applied.NO, error.message, error.hint)
            return Outcome.failed(known), ""
        if isinstance(found, Happened):
            return succeeded(found.result)
        return Outcome.failed(error), ""

    async def stopped(self, work: Work, evidence: Evidence) -> tuple[Outcome, str]:
        """The outcome of a call that was cancelled while it ran, and its text.

        One whose effect did not happen may run when its key comes back: a lost connection is a
        cancel, too, and whoever sends the key again wants it done.
        """
        text = ""
        if work.context.interrupted is not None:
            outcome = Outcome.failed(Error.of(work.context.interrupted))
        else:
            applied = Applied.UNKNOWN if work.durable else Applied.NO
            error = Error(Code.CANCELLED, Origin.CLIENT, applied, "cancelled while it ran")
            outcome = Outcome.failed(error)
            if work.durable:
                outcome, text = await self.look(work, evidence, error)
        return repeatable(outcome), text

    async def clear_doubt(
        self, work: Work, evidence: Evidence, outcome: Outcome, text: str
    ) -> tuple[Outcome, str]:
        """An attempt in doubt, then one without an effect: the tool can tell both apart now."""
        if outcome.error is None or outcome.error.applied is not Applied.NO:
            return outcome, text
        with suppress(ToolError):
            found = await contained(work.tool.recover(evidence))
            if isinstance(found, Happened):
                return succeeded(found.result)
            work.doubt = not isinstance(found, NotBegun)
        return outcome, text


def repeatable(outcome: Outcome) -> Outcome:
    """A cancelled call whose effect did not happen may run when its key comes back."""
    if outcome.error is None or outcome.error.applied is not Applied.NO:
        return outcome
    return replace(outcome, error=replace(outcome.error, retry_after=0.0))
