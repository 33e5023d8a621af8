"""Calls that a rule wants a person asked about: asked before they begin. Part of `executor`.

A known key is answered from the journal and nobody is asked: consent belongs to the call, and was
given before its intent was committed. A round that ends in a question takes no key; its receipt
says `denied`, with the error that somebody is asked first.
"""

import shlex
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio

from surefoot_server.call import Answer, Request
from surefoot_server.consent import LIFETIME, Consent, Question, Said, Seals
from surefoot_server.journal.records import Journal
from surefoot_server.journal.states import Delivery, Disposition
from surefoot_server.policy import Policy
from surefoot_server.reception import Reception
from surefoot_server.work import Work, shielded
from surefoot_tools.commandline.rules import Action, Judgement
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error

LONGEST = 4000
"""Characters of a command that a person is shown."""
PROGRESS_EVERY = 10.0
"""Seconds; hosts give a silent call up after 60 and more."""


class Asking:
    """Asks about the calls of one server.

    Args:
        policy: What is asked about.
        reception: Keeps the receipts of those that do not begin.
        journal: Its secret makes the seals.
    """

    def __init__(self, policy: Policy, reception: Reception, journal: Journal) -> None:
        self._policy = policy
        self._reception = reception
        self._journal = journal
        self._seals = Seals(journal.secret, journal.now)

    def check(self, work: Work) -> None:
        """See that a seal that a request brings is ours, and for this call.

        Raises:
            NotOurs: it is not.
        """
        consent = work.request.consent
        if consent is not None and consent.brought is not None:
            self._seals.opens(consent.brought, _held(work))

    def about(self, work: Work) -> Judgement | None:
        """What has to be asked before a call begins; None: nothing, or it has been."""
        consent = work.request.consent
        if consent is not None and consent.given:
            return None
        said = self._policy.judge(work.tool, work.arguments)
        return None if said is None or said.action is not Action.ASK else said

    async def ask(self, work: Work, about: Judgement) -> Answer | None:
        """Ask; None: yes, and its call must be looked at anew, since that took its time."""
        consent = work.request.consent
        if consent is None:
            return await self._refuse(work, _refusal(Said.CANNOT_ASK, about))
        said = self._brought(work, consent)
        question = Question(_text(work, about), self._seals.seal(_held(work)))
        if said is None:
            said = await self._put(work, consent, question)
        if said is Said.YES:
            consent.given = True
            return None
        answer = await self._refuse(work, _refusal(said, about))
        return replace(answer, question=question) if said is Said.LATER else answer

    def _brought(self, work: Work, consent: Consent) -> Said | None:
        """What a request that comes again says that was said; None: ask (again)."""
        seal, said = consent.brought, consent.answer
        if seal is None or said is None or not self._seals.opens(seal, _held(work)):
            return None
        # Under a key a call runs once, however often it comes; without one the seal does.
        if said is Said.YES and work.call.key is None and not self._seals.use(seal):
            return None
        return said

    async def _put(self, work: Work, consent: Consent, question: Question) -> Said:
        patience = min(work.request.deadline, anyio.current_time() + LIFETIME)
        try:
            with anyio.CancelScope(deadline=patience) as scope:
                async with _progress(work.request):
                    return await consent.ask(question)
            assert scope.cancelled_caught  # noqa: S101 - or it has returned, or raised
        except anyio.get_cancelled_exc_class():
            await self._gone(work)
            raise
        return Said.NOTHING

    async def _gone(self, work: Work) -> None:
        """A request that goes away while a person is asked was received all the same."""
        error = Error(
            Code.CANCELLED, Origin.CLIENT, Applied.NO, "cancelled while a person was asked"
        )
        answer = await shielded(self._refuse(work, error))
        gone = Delivery.LOST if work.request.connection.lost else Delivery.STOPPED
        self._journal.deliver(answer.receipt_id, gone, self._journal.now())

    async def _refuse(self, work: Work, error: Error) -> Answer:
        return await self._reception.refuse(work.request, Disposition.DENIED, error)


def _held(work: Work) -> Any:
    """What a seal is held to: an answer about one call is none about another."""
    call = work.call
    return {"principal": call.principal, "key": call.key, "fingerprint": call.fingerprint}


def _text(work: Work, about: Judgement) -> str:
    """The question, for a person who may see nothing else of the call; it is kept nowhere."""
    # Here, since it loads all of the shell tools, which a server of others may not have.
    from surefoot_tools.shell.shown import shown

    command = work.tool.command(work.arguments) or ""
    line = command if isinstance(command, str) else shlex.join(command)
    told = shown(line[:LONGEST].replace("\r", "\\r"))  # which would be folded
    if len(line) > LONGEST:
        told += f"\n[... {len(line) - LONGEST} characters more]"
    return f"May {work.tool.name} run this?\n\n{told}\n\nIt is asked because of: {about.told}"


def _refusal(said: Said, about: Judgement) -> Error:
    code, origin, hint = Code.PERMISSION_DENIED, Origin.POLICY, None
    match said:
        case Said.NO:
            message = "the person who was asked said no"
            hint = "Do not put it in other words: ask what they would rather have."
        case Said.NOTHING:
            message = "nobody answered the question whether it may run"
            hint = "Ask in the conversation before you try again."
        case Said.LATER:
            code, message = Code.ABORTED, "a person is asked first"
            hint = "It begins when the call comes again with the answer."
        case _:
            message = "a person must be asked first, and this client declares no elicitation"
            hint = (
                "Whoever runs this server can allow it by a rule in its config file, or use a"
                " client that can ask."
            )
    return Error(code, origin, Applied.NO, f"{message}: {about.told}", hint=hint)


@asynccontextmanager
async def _progress(request: Request) -> AsyncGenerator[None]:
    """A block in which a caller that asked for progress hears that a person is asked."""

    async def report() -> None:
        elapsed = 0.0
        while True:
            await request.report(elapsed, None, "waiting for a person's answer")
            await anyio.sleep(PROGRESS_EVERY)
            elapsed += PROGRESS_EVERY

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(report)
        yield
        tasks.cancel_scope.cancel()
