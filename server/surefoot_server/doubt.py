"""Delivery-aware doubt: what a call without a key must know of an equal one before it.

A caller without a key that sends the same again may mean the same twice, or may never have got the
answer to the first. The journal knows which: it records whether an answer was delivered. So a call
whose answer was delivered says nothing against an equal one, and neither does one whose request
still waits on a live connection (agents send equal calls at once on purpose). Only an equal call
whose answer can no longer arrive keeps the next one from running blindly.
"""

from surefoot_server.journal.records import Earlier, Journal
from surefoot_server.journal.states import Delivery, Disposition, State
from surefoot_tools.errors import Applied

ANSWERED = frozenset({Delivery.DELIVERED, Delivery.STOPPED})


async def doubtful(
    journal: Journal, principal: str, fingerprint: str, since: float
) -> Earlier | None:
    """The newest earlier call whose answer did not arrive, unless a repeat of it was delivered.

    Args:
        journal: Where they are.
        principal: Of the caller.
        fingerprint: Of the call that is asked for now.
        since: Seconds since the epoch; what began before is no reason for doubt any more.
    """
    for each in await journal.earlier(principal, fingerprint, since):
        arrived = _arrived(each)
        if not arrived and not await _may_arrive(journal, each) and not _had_no_effect(each):
            return each
        if arrived and each.entry.repeated:
            return None  # whoever said 'once more' had been told of what was before
    return None


def _arrived(each: Earlier) -> bool:
    # That a call still runs, or is in doubt, is no answer to whether it was done. What a tool that
    # is not ours said of its failure is all that anybody will ever know.
    in_doubt = each.entry.state is State.IN_DOUBT
    spoke = in_doubt and each.entry.result is not None
    return any(
        told.delivery in ANSWERED and (told.by_tool if spoke else told.final and not in_doubt)
        for told in each.told
    )


async def _may_arrive(journal: Journal, each: Earlier) -> bool:
    # Who joined it or is told of it asks in doubt, as the caller now does; it may be the same one.
    for told in each.told:
        ran = told.disposition is Disposition.RAN
        if ran and told.delivery is None and await journal.alive(told.server):
            return True
    return False


def _had_no_effect(each: Earlier) -> bool:
    error = each.entry.error
    return error is not None and error.applied is Applied.NO
