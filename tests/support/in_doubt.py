"""A journal with a call in doubt, written by the journal itself as a server would have."""

import time
from pathlib import Path

import anyio
from tests.support.place import Place
from tests.support.surefoot import apart

from surefoot_server.access import Access
from surefoot_server.app import tools
from surefoot_server.call import Register, Request
from surefoot_server.journal.clock import Clock
from surefoot_server.journal.opening import open_journal
from surefoot_server.journal.records import Closing
from surefoot_server.journal.states import Disposition
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error, Outcome


def leave_in_doubt(
    place: Place,
    key: str | None,
    command: str,
    *,
    principal: str = "local",
    journal: str | Path | None = None,
    ago: float = 0.0,
) -> str:
    """A call of `run_command` on a place that nobody saw end, seconds ago; its id."""

    async def write() -> str:
        opened = open_journal(
            place.config.journal_place if journal is None else journal,
            state=place.config.state,
            version="test",
            clock=Clock(lambda: time.time() - ago),
        )
        try:
            tool = next(tool for tool in tools(place.config) if tool.name == "run_command")
            request = Request(
                "run_command", {"command": command}, key=key, access=Access(principal)
            )
            register = Register(opened.secret, [str(root) for root in place.config.roots])
            arguments = tool.Arguments.model_validate(request.arguments)
            now = opened.now()
            call = register.new_call(request, tool, arguments, repeated=False, now=now)
            receipt = register.new_receipt(request, call.call_id, Disposition.RAN, now=now)
            assert await opened.begin(call, receipt, durable=True) is None
            error = Error(Code.UNKNOWN, Origin.SERVER, Applied.UNKNOWN, "nobody saw it end")
            outcome = Outcome.failed(error)
            await opened.finish(
                Closing(call.call_id, 1, outcome, opened.now(), receipt.receipt_id), durable=True
            )
            return call.call_id
        finally:
            opened.close()

    return apart(lambda: anyio.run(write))
