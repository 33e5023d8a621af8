"""Requests as they come in: a receipt for each, whatever is done about it. Part of `executor`."""

from dataclasses import replace
from typing import Any

from surefoot_server import log
from surefoot_server.answers import with_repeat_hint
from surefoot_server.call import REPEAT, Answer, Register, Request, answer_mac
from surefoot_server.journal.records import Journal, JournalUnavailable, Receipt
from surefoot_server.journal.states import Disposition
from surefoot_server.work import Work, shielded
from surefoot_tools.outcome import Error, Outcome
from surefoot_tools.registry import AnyTool
from surefoot_tools.tool import Arguments, Effect

_log = log.get("reception")


class Reception:
    """The receipts of one server.

    Args:
        journal: Where they are recorded.
        register: Makes the rows.
    """

    def __init__(self, journal: Journal, register: Register) -> None:
        self._journal = journal
        self._register = register
        self.scope = register.scope
        """Digest of this server's roots."""

    async def refuse(self, request: Request, disposition: Disposition, error: Error) -> Answer:
        """Answer without a call: the key stays free."""
        now = self._journal.now()
        receipt = self._register.new_receipt(request, None, disposition, now=now)
        outcome = Outcome.failed(error)
        await self.answered(receipt, outcome)
        return Answer(outcome, disposition, receipt.receipt_id)

    async def answered(
        self, receipt: Receipt, outcome: Outcome, tool: AnyTool | None = None
    ) -> Outcome:
        """Record what a request is told, and return it: without a key, with the way to repeat."""
        if outcome.error is not None and tool is not None and receipt.key is None:
            outcome = replace(outcome, error=with_repeat_hint(outcome.error, tool))
        digest = answer_mac(self._journal.secret, outcome)
        await self.note(replace(receipt, answer_mac=digest, error=outcome.error))
        return outcome

    async def note(self, receipt: Receipt) -> None:
        """Record a receipt; what is known is answered even when that fails."""
        try:
            await shielded(self._journal.record(receipt))
        except JournalUnavailable as e:
            _log.error("receipt not recorded", receipt=receipt.receipt_id, reason=str(e))

    def work(self, request: Request, tool: AnyTool, arguments: Arguments, repeated: bool) -> Work:
        """A request that is a proper call, with the rows that it would begin."""
        now = self._journal.now()
        call = self._register.new_call(request, tool, arguments, repeated=repeated, now=now)
        digest = call.fingerprint is not None
        receipt = self._register.new_receipt(
            request, call.call_id, Disposition.RAN, now=now, digest=digest
        )
        return Work(request, tool, arguments, call, receipt)


def without_repeat(tool: AnyTool, request: Request) -> tuple[dict[str, Any], bool]:
    """The tool's own arguments, and whether the caller means the same once more.

    What is not a boolean stays among the arguments, and is refused there by name.
    """
    given = request.arguments
    if tool.effect is Effect.SAFE:
        return given, False
    if not tool.repeat_argument or not isinstance(given.get(REPEAT), bool):
        return given, request.repeat
    said = request.repeat or given[REPEAT]
    return {name: value for name, value in given.items() if name != REPEAT}, said
