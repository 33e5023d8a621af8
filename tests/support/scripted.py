"""Tools that do what a test wrote down beforehand, one of each effect: real members of the seam.

What they change is a `World`, which outlives the servers as files and databases do. `site` puts
servers on it.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import ClassVar

import anyio

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.jobs import JobEnd
from surefoot_tools.tool import (
    PLACE,
    Arguments,
    Context,
    Effect,
    Evidence,
    Group,
    Happened,
    NotBegun,
    Recovery,
    Result,
    Running,
    Tool,
    Unknown,
)


@dataclass(frozen=True)
class Plan:
    """What one run does."""

    effect: bool = True
    """Whether its effect happens."""
    hang: str | None = None
    """`before` or `after` the effect it waits until it is released."""
    survives: bool = False
    """Whether it goes on when its server dies, as a command under a supervisor does."""
    code: Code | None = None
    """How it fails; None: it does not."""
    applied: Applied = Applied.NO
    retry_after: float | None = None
    bug: bool = False
    """It raises what no tool may raise."""


@dataclass(eq=False)
class Going:
    """A run that was begun, and may have ended."""

    intent: str
    plan: Plan
    released: anyio.Event = field(default_factory=anyio.Event)
    result: int | None = None
    killed: bool = False
    orphaned: bool = False
    """Its server died, and it goes on."""


@dataclass(eq=False)
class Afterwards:
    """A job that a run left behind."""

    over: anyio.Event = field(default_factory=anyio.Event)
    end: JobEnd | None = None


class World:
    """What the scripted tools change."""

    def __init__(self) -> None:
        self.plans: deque[Plan] = deque()
        """Of the next runs; when there is none, they succeed."""
        self.effects: Counter[str] = Counter()
        """How often the effect of an intent happened."""
        self.places: dict[str, str] = defaultdict(lambda: "empty")
        """What the verifiable tool wrote, by place."""
        self.inbox: dict[str, int] = {}
        """Results of transactions, which committed with them, by intent."""
        self.runs: dict[str, list[Going]] = defaultdict(list)
        """By intent, oldest first."""
        self.jobs: dict[str, Afterwards] = {}
        """What runs left behind, by intent; what is cleared away is not there any more."""
        self.looked = 0
        """How often somebody looked at the record of a job."""
        self.reads = 0
        self.deadlines: list[float] = []
        """What each run was told of when its caller stops waiting."""

    def next_plan(self) -> Plan:
        """The plan of the run that begins now."""
        return self.plans.popleft() if self.plans else Plan()

    def happen(self, going: Going) -> int:
        """The effect happens; its number among those of its intent."""
        self.effects[going.intent] += 1
        going.result = self.effects[going.intent]
        return going.result

    def hung(self) -> list[Going]:
        """The runs that wait to be released."""
        every = [going for runs in self.runs.values() for going in runs]
        return [each for each in every if each.plan.hang and not each.released.is_set()]

    def end_job(self, job: str, end: JobEnd) -> None:
        """A job ends; who waits for that goes on."""
        if self.jobs[job].end is None:
            self.jobs[job].end = end
            self.jobs[job].over.set()

    def die(self, intents: set[str]) -> None:
        """The server that ran these died: what does not survive it is gone."""
        for intent in intents:
            for going in self.runs[intent]:
                if going.result is None or not going.released.is_set():
                    going.orphaned = going.plan.survives
                    going.killed = not going.plan.survives


class Named(Arguments):
    """Arguments of a scripted tool."""

    label: str
    """Tells one call from another."""


class Did(Result):
    """Result of a scripted tool."""

    number: int
    """How often the effect of this intent has happened."""

    def as_text(self) -> str:
        """The number."""
        return f"done {self.number}"


class Scripted(Tool[Named, Did]):
    """What the five have in common.

    Args:
        world: What it changes.
        running: Where it enters the intents that it is busy with; its server's.
    """

    title: ClassVar[str] = "Scripted"
    description: ClassVar[str] = "Does what it is told."
    group: ClassVar[Group] = Group.SHELL
    Arguments = Named
    Result = Did

    def __init__(self, world: World, running: set[str]) -> None:
        self.world = world
        self.running = running

    def begin(self, context: Context) -> Going:
        """Enter a run into the world."""
        going = Going(context.effect_key, self.world.next_plan())
        self.world.runs[going.intent].append(going)
        self.world.deadlines.append(context.deadline)
        return going

    async def run(self, arguments: Named, evidence: Evidence, context: Context) -> Did:
        """Go through the plan."""
        going = self.begin(context)
        plan = going.plan
        self.running.add(going.intent)
        try:
            if plan.hang == "before":
                await going.released.wait()
            number = self.do(going, evidence) if plan.effect else 0
            if plan.hang == "after":
                await going.released.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled(going, context)
            raise
        finally:
            self.running.discard(going.intent)
        self.end(plan)
        return Did(number=number)

    def do(self, going: Going, evidence: Evidence) -> int:
        """The effect."""
        return self.world.happen(going)

    def cancelled(self, going: Going, context: Context) -> None:
        """What a cancel does to the run."""

    @staticmethod
    def end(plan: Plan) -> None:
        """Fail if that is the plan."""
        if plan.bug:
            raise RuntimeError("planned")
        if plan.code is not None:
            raise ToolError(
                plan.code, "planned", applied=plan.applied, retry_after=plan.retry_after
            )


class Safe(Scripted):
    """Reads."""

    name: ClassVar[str] = "safe"
    effect: ClassVar[Effect] = Effect.SAFE

    def do(self, going: Going, evidence: Evidence) -> int:
        """Count reads."""
        self.world.reads += 1
        return self.world.reads


class Idempotent(Scripted):
    """Twice is the same as once, and nothing tells which it was."""

    name: ClassVar[str] = "idempotent"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT


class Verifiable(Scripted):
    """Writes to a place; what is there tells whether it did."""

    name: ClassVar[str] = "verifiable"
    effect: ClassVar[Effect] = Effect.VERIFIABLE

    async def prepare(self, arguments: Named, context: Context) -> Evidence:
        """What is there before, and what will be there after."""
        place = context.effect_key
        before = self.world.places[place]
        after = f"{place} {self.world.effects[place] + 1}"
        return {PLACE: place, "before": before, "after": after}

    def do(self, going: Going, evidence: Evidence) -> int:
        """Write, if the place is as it was."""
        if self.world.places[evidence[PLACE]] != evidence["before"]:
            raise ToolError(Code.ABORTED, "changed meanwhile")
        self.world.places[evidence[PLACE]] = evidence["after"]
        return self.world.happen(going)

    async def recover(self, evidence: Evidence) -> Recovery:
        """Look at the place."""
        now = self.world.places[evidence[PLACE]]
        if now == evidence["after"]:
            return Happened(Did(number=self.world.effects[evidence[PLACE]]))
        if now == evidence["before"]:
            return NotBegun()
        return Unknown("somebody else wrote there")


class Transactional(Scripted):
    """The effect and the record of it commit together."""

    name: ClassVar[str] = "transactional"
    effect: ClassVar[Effect] = Effect.TRANSACTIONAL

    async def prepare(self, arguments: Named, context: Context) -> Evidence:
        """The key in the inbox."""
        return {"inbox": context.effect_key}

    def do(self, going: Going, evidence: Evidence) -> int:
        """Commit, or find that it is committed."""
        found = self.world.inbox.get(going.intent)
        if found is None:
            found = self.world.inbox[going.intent] = self.world.happen(going)
        return found

    async def recover(self, evidence: Evidence) -> Recovery:
        """Look into the inbox."""
        found = self.world.inbox.get(evidence["inbox"])
        return NotBegun() if found is None else Happened(Did(number=found))


class AtMostOnce(Scripted):
    """A command: its own record tells what it came to, if it got so far."""

    name: ClassVar[str] = "at_most_once"
    effect: ClassVar[Effect] = Effect.AT_MOST_ONCE

    async def prepare(self, arguments: Named, context: Context) -> Evidence:
        """Where its record will be."""
        return {"record": context.effect_key}

    def cancelled(self, going: Going, context: Context) -> None:
        """It is killed; it has run."""
        if not going.orphaned:
            going.killed = True
            context.interrupted = ToolError(Code.CANCELLED, "killed", applied=Applied.YES)

    async def recover(self, evidence: Evidence) -> Recovery:
        """Read the record."""
        runs = self.world.runs[evidence["record"]]
        if not runs or runs[-1].killed:
            return Unknown("its record is cut off")
        going = runs[-1]
        if going.plan.hang and not going.released.is_set():

            async def attend(context: Context) -> Did:
                going.orphaned = False
                self.running.add(going.intent)
                try:
                    await going.released.wait()
                except anyio.get_cancelled_exc_class():
                    self.cancelled(going, context)
                    raise
                finally:
                    self.running.discard(going.intent)
                return self._ended(going)

            return Running("planned", attend)
        try:
            return Happened(self._ended(going))
        except ToolError as e:
            raise ToolError(e.code, e.message, applied=Applied.YES) from e

    def _ended(self, going: Going) -> Did:
        if going.result is None and going.plan.effect:
            self.world.happen(going)
        self.end(going.plan)
        return Did(number=going.result or 0)
