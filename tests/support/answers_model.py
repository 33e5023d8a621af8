"""What DESIGN.md, section 3, says of a key, written anew: nothing here knows `journal.states`.

The model is told what is sent and what the tools will do; it says what must be answered and how
often the effect happens.
"""

from dataclasses import dataclass, field

from tests.support.scripted import Plan

from surefoot_tools.errors import Applied, Code
from surefoot_tools.tool import Effect

ATTEMPTS = 2
"""Of one request."""
RETRIED = Plan(effect=False, code=Code.UNAVAILABLE, retry_after=0.0)
LATER = Plan(effect=False, code=Code.UNAVAILABLE, retry_after=100.0)
"""Longer than a server sits out."""
REFUSED = Plan(effect=False, code=Code.NOT_FOUND)
DONE_BUT_FAILED = Plan(code=Code.DEADLINE_EXCEEDED, applied=Applied.YES)
LOST_AFTER = Plan(code=Code.UNKNOWN, applied=Applied.UNKNOWN)
LOST_BEFORE = Plan(effect=False, code=Code.UNKNOWN, applied=Applied.UNKNOWN)
FAILURES = (RETRIED, LATER, REFUSED, DONE_BUT_FAILED, LOST_AFTER, LOST_BEFORE)


@dataclass(eq=False)
class Call:
    """A call as the table sees it."""

    effect: Effect
    label: str
    key: str | None
    begun_at: float
    state: str = "running"
    applied: str | None = None
    again: bool = False
    """Another attempt is allowed after its failure."""
    happened: int = 0
    """How often its effect did."""
    server: int | None = None
    """Who runs it; None when it ended."""
    plan: Plan = field(default_factory=Plan)
    """Of the run that is under way."""
    orphan: bool = False
    """Its server died."""
    spoiled: bool = False
    """Somebody else wrote where it was at work."""
    resolved: bool = False
    """A person said that it did not happen: it may happen once more."""
    kept: bool = True
    """Its result."""
    ended_at: float = 0.0
    repeated: bool = False
    deliveries: list["Sent"] = field(default_factory=list["Sent"])
    """The requests for it."""
    doubted: bool = False
    """An attempt in doubt lies behind it: no later 'not applied' is the whole truth."""
    number: int = 0
    """The effect that its success was about."""

    def end(self, state: str, applied: str | None, *, again: bool = False) -> None:
        """Its last attempt ended."""
        if self.doubted and applied == "no":
            if self.effect is not Effect.TRANSACTIONAL:
                state, applied = "in_doubt", "unknown"
            elif self.happened:  # the inbox tells
                state, applied, again = "succeeded", None, False
        self.state, self.applied, self.again = state, applied, again
        self.server, self.orphan = None, False
        if state == "succeeded":
            self.number = self.happened

    def hang(self, plan: Plan, server: int) -> None:
        """A run of it begins, and waits."""
        self.doubted = self.state == "in_doubt" or (self.orphan and self.effect in REPEATED)
        self.state, self.applied, self.again = "running", None, False
        self.plan, self.server, self.orphan, self.spoiled = plan, server, False, False
        if plan.hang == "after":
            self.happen()

    def happen(self) -> None:
        """Its effect happens, if the transaction is not committed already."""
        if self.effect is Effect.TRANSACTIONAL and self.happened:
            return
        self.happened += 1


@dataclass(eq=False)
class Sent:
    """A request as the model sees it."""

    server: int
    says: str
    """What the table said."""
    delivery: str | None = None
    """`delivered`, `stopped` or `lost`; None while it is open."""


def attempt(call: Call, plan: Plan) -> tuple[str, str | None, bool]:
    """One attempt to its end: state, applied, and whether another one is allowed."""
    if plan.effect:
        call.happen()
    if plan.code is None:
        return "succeeded", None, False
    if plan.applied is Applied.YES:
        return "failed", "yes", False
    if plan.applied is Applied.NO:
        return "failed", "no", plan.retry_after is not None
    match call.effect:
        case Effect.VERIFIABLE:
            if call.spoiled:
                return "in_doubt", "unknown", False
            return ("succeeded", None, False) if plan.effect else ("failed", "no", False)
        case Effect.TRANSACTIONAL:
            return "in_doubt", "unknown", True
        case _:
            return "in_doubt", "unknown", False


def run(call: Call, plans: list[Plan]) -> None:
    """Attempts until one is final, or they are too many; `plans` is what they do."""
    call.doubted = call.state == "in_doubt" or (call.orphan and call.effect in REPEATED)
    call.spoiled = False
    for number in range(1, ATTEMPTS + 1):
        plan = plans.pop(0) if plans else Plan()
        state, applied, again = attempt(call, plan)
        if not again or number == ATTEMPTS or (plan.retry_after or 0) > 60:
            call.end(state, applied, again=again)
            return
        call.doubted = call.doubted or applied == "unknown"


REPEATED = (Effect.TRANSACTIONAL,)
"""Of a dead server: run again without a look, so that the doubt stays until the target tells."""


def stop(call: Call) -> None:
    """A run that hangs is cancelled."""
    after = call.plan.hang == "after"
    match call.effect:
        case Effect.AT_MOST_ONCE:
            call.end("failed", "yes")
        case Effect.IDEMPOTENT:
            call.end("in_doubt", "unknown")
        case _ if after or (call.effect is Effect.TRANSACTIONAL and call.happened):
            call.end("succeeded", None)
        case _:
            call.end("failed", "no", again=True)


def settle(call: Call) -> None:
    """A server looks into what became of a call whose server died, and records it."""
    after = call.plan.hang == "after"
    match call.effect:
        case Effect.IDEMPOTENT:
            call.end("in_doubt", "unknown", again=True)
        case Effect.TRANSACTIONAL if call.happened:
            call.end("succeeded", None)
        case Effect.VERIFIABLE if call.spoiled:
            call.end("in_doubt", "unknown")
        case Effect.VERIFIABLE if after:
            call.end("succeeded", None)
        case Effect.AT_MOST_ONCE if call.plan.survives:
            call.orphan = False  # adopted
        case Effect.AT_MOST_ONCE:
            call.end("in_doubt", "unknown")
        case _:
            call.doubted = False
            call.end("failed", "no", again=True)


def must(call: Call | None, effect: Effect, label: str) -> str:
    """What the answers table of DESIGN.md says: first match wins, top down."""
    if call is None:
        return "run"
    if (call.effect, call.label) != (effect, label):
        return "conflict"
    if call.effect is Effect.SAFE:
        return "run"
    if call.state == "running" and not call.orphan:
        return "join"
    if call.state == "running":
        if call.effect in (Effect.IDEMPOTENT, Effect.TRANSACTIONAL):
            return "run"
        settle(call)
        return must(call, effect, label)
    if call.again:
        return "run"
    if call.state == "in_doubt":
        return "explain"
    if call.state == "succeeded" and not call.kept:
        return "gone"
    return "replay"


def lost_answer(
    calls: list[Call], effect: Effect, label: str, now: float, dead: set[int]
) -> Call | None:
    """The earlier equal call whose answer did not arrive, newest first; see 'No key'."""
    for call in reversed(calls):
        if (call.effect, call.label) != (effect, label) or call.begun_at < now - 900:
            continue
        told = [each for each in call.deliveries if each.delivery in ("delivered", "stopped")]
        arrived = call.state != "in_doubt" and any(each.says != "explain" for each in told)
        # who asks what became of it asks in doubt, as this caller does
        open_ones = [each for each in call.deliveries if each.delivery is None]
        open_ones = [each for each in open_ones if each.says == "run"]
        may_arrive = any(each.server not in dead for each in open_ones)
        harmless = call.state == "failed" and call.applied == "no"
        if not arrived and not may_arrive and not harmless:
            return call
        if arrived and call.repeated:
            return None
    return None
