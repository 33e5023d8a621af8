"""The loop of one trial: one sequence, one model; `for each turn { model.generate -> record; each
proposal: send -> record }`.

Above `send.py`, below `execute.py`, which has workspace, server and checks. Of several drivers each
has a `Trial` of its own.
"""

import time
from dataclasses import dataclass, field, replace
from random import Random

from surefoot_client.connection import Connection
from surefoot_client.faults import Fault, TrialFaults
from surefoot_client.intent import Intent, said_of
from surefoot_client.models.model import (
    Generation,
    Model,
    ModelFactory,
    OfferedTool,
    Proposal,
    ToolResult,
)
from surefoot_client.record import Ended, ModelCall, Proposed, TurnStarted, scope
from surefoot_client.record_log import DriverLog, RecordLog
from surefoot_client.send import Call, Delivery, Sender
from surefoot_client.suite import ReferenceCall, Sequence
from surefoot_tools.retry import MAX_ATTEMPTS, Budget

MAX_GENERATIONS = 256
"""Model calls in one turn; a model that goes on for longer has lost its way."""
SHARED_ATTEMPTS = 3 * MAX_ATTEMPTS
"""Sends of a call where several drivers share a server: each meets the outages that all cause."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which trial: everything that its choices depend on."""

    sequence: Sequence
    """Cut to the turns that are to be played."""
    whole: bool
    """Whether that is all of them: only then do the final checks apply."""
    model: ModelFactory
    slug: str
    """The model's name as a part of keys and folder names; unique in the run."""
    repeat: int
    """From 0."""
    rerun: int
    """From 0; one more each time the trial was interrupted."""
    seed: str
    """Of the run; the trial's draws depend on it and on the trial, not on `rerun`."""
    drivers: int = 1
    """How many play it at the same time, in one workspace, against one server."""
    driver: int | None = None
    """Of which of them this is the part, from 0; None for the whole."""

    @property
    def parts(self) -> "list[Plan]":
        """The part of each driver; the plan itself where there is one."""
        if self.drivers == 1:
            return [self]
        return [
            replace(self, sequence=self.sequence.for_driver(driver), driver=driver)
            for driver in range(self.drivers)
        ]

    @property
    def unit(self) -> str:
        """Names the trial without its re-runs."""
        return f"{self.sequence.id}.{self.slug}.r{self.repeat}"

    @property
    def name(self) -> str:
        """Names the trial."""
        return f"{self.unit}.{self.rerun}"

    @property
    def scope(self) -> str:
        """The second part of keys."""
        return scope(self.name, self.driver)

    @property
    def draws(self) -> str:
        """What draws depend on."""
        return f"{self.seed}/{scope(self.unit, self.driver)}"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all trials of a run share."""

    run: str
    """UUIDv7; the first part of every key."""
    log: RecordLog
    faults: tuple[Fault, ...]


@dataclass(slots=True)
class Trial:
    """The state of a trial under way, or of the part of one of its drivers."""

    plan: Plan
    setting: Setting
    log: RecordLog | DriverLog
    connection: Connection
    model: Model
    turn: int = 0
    calls: int = 0
    """Proposals of this turn."""
    generations: int = 0
    """Model calls of this turn."""
    sends: int = 0
    invocations: int = 0
    broke_at_turn: int | None = None
    reason: str | None = None
    endless: bool = False
    """The model still had proposals when its turn was cut off."""
    open: dict[str, Intent] = field(default_factory=dict[str, Intent])
    """Steps of this turn that have not succeeded yet, in the order of their first proposal."""
    sender: Sender = field(init=False)

    def __post_init__(self) -> None:
        plan = self.plan
        self.sender = Sender(
            connection=self.connection,
            log=self.log,
            trial=plan.name,
            faults=TrialFaults(self.setting.faults, plan.sequence.id, f"{plan.draws}/faults"),
            budget=Budget(time.monotonic),
            random=Random(f"{plan.draws}/waits"),  # noqa: S311 - jitter
            on_sent=self._count_send,
            attempts=MAX_ATTEMPTS if plan.driver is None else SHARED_ATTEMPTS,
        )

    def _count_send(self) -> None:
        self.sends += 1

    async def play(self) -> Ended:
        """All turns, until one breaks; how the trial ends as far as the calls can tell."""
        for turn in self.plan.sequence.turns:
            self.turn, self.calls, self.generations = self.turn + 1, 0, 0
            self.log.write(TurnStarted(trial=self.plan.name, turn=self.turn, prompt=turn.prompt))
            doubt = await self._play_turn(turn.prompt)
            broken = list(self.open.values())
            for intent in broken:
                self._close(intent)
            if broken:
                worst = doubt or broken[0]
                self.broke_at_turn = self.turn
                self.reason = f"turn {self.turn}, {worst.tool}: {worst.said}"
                return Ended.IN_DOUBT if doubt is not None else Ended.FAILED
            if self.endless:
                self.broke_at_turn = self.turn
                self.reason = f"turn {self.turn}: no end after {MAX_GENERATIONS} model calls"
                return Ended.FAILED
        return Ended.PASSED

    async def _play_turn(self, prompt: str) -> Intent | None:
        """Generate and carry out until the model is done; the step that is in doubt, if one is."""
        generation = await self._generate(prompt, [])
        while generation.proposals and self.generations < MAX_GENERATIONS:
            results: list[ToolResult] = []
            for proposal in generation.proposals:
                intent, result = await self._carry_out(proposal)
                results.append(result)
                if intent.outcome == "in_doubt":
                    return intent
            generation = await self._generate(None, results)
        self.endless = bool(generation.proposals)
        return None

    async def _generate(self, prompt: str | None, results: list[ToolResult]) -> Generation:
        self.generations += 1
        name, turn = self.plan.name, self.turn
        number = f"{self.plan.scope}:{turn}:m{self.generations}"
        log = self.log
        log.write(ModelCall(trial=name, id=number, phase="started", turn=turn))
        began = time.monotonic()
        generation = await self.model.generate(prompt, results)
        log.write(
            ModelCall(
                trial=name,
                id=number,
                phase="ended",
                turn=turn,
                text=generation.text,
                stop_reason=generation.stop_reason,
                proposals=len(generation.proposals),
                usage=generation.usage,
                elapsed=time.monotonic() - began,
            )
        )
        return generation

    async def _carry_out(self, proposal: Proposal) -> tuple[Intent, ToolResult]:
        where = f"{self.turn}:{self.calls}"
        self.calls += 1
        step = proposal.step or where.replace(":", ".")
        intent = self.open.get(step) or self._begin(step, proposal)
        key = f"{self.setting.run}:{self.plan.scope}:{where}"
        self.log.write(
            Proposed(
                trial=self.plan.name,
                turn=self.turn,
                step=step,
                key=key,
                tool=proposal.tool,
                arguments=proposal.arguments,
                raw=proposal.raw,
                malformed=proposal.arguments is None,
                slip=proposal.slip,
            )
        )
        if proposal.arguments is None:
            intent.malformed()
            return intent, ToolResult(proposal.tool, True, "INVALID_ARGUMENT: not a JSON object")
        call = Call(key, proposal.tool, proposal.arguments, where, proposal.mishap)
        delivery = await self.sender.deliver(call)
        intent.delivered(delivery, offered=proposal.tool in self.connection.tools)
        if intent.outcome == "succeeded":
            self._close(intent)
        return intent, _told(proposal.tool, delivery)

    def _begin(self, step: str, proposal: Proposal) -> Intent:
        reference = self._reference(step)
        tool = proposal.tool if reference is None else reference.tool
        self.open[step] = Intent(step, tool, reference)
        return self.open[step]

    def _reference(self, step: str) -> ReferenceCall | None:
        turn, _, number = step.partition(".")
        calls = self.plan.sequence.turns[self.turn - 1].calls
        known = turn == str(self.turn) and number.isdigit() and int(number) < len(calls)
        return calls[int(number)] if known else None

    def _close(self, intent: Intent) -> None:
        del self.open[intent.step]
        self.invocations += 1
        self.log.write(intent.record(self.plan.name, self.turn))


def _told(tool: str, delivery: Delivery) -> ToolResult:
    if delivery.answer is None:
        return ToolResult(tool, True, said_of(delivery))
    return ToolResult(tool, delivery.answer.is_error, delivery.answer.text)


def prepare(plan: Plan, setting: Setting, connection: Connection) -> Trial:
    """A trial, or the part of one of its drivers, ready to be played."""
    log = setting.log if plan.driver is None else DriverLog(setting.log, plan.driver)
    tools = [
        OfferedTool(tool.name, tool.description or "", tool.input_schema)
        for tool in connection.tools.values()
    ]
    model = plan.model.build(plan.sequence, tools, plan.draws)
    return Trial(plan, setting, log, connection, model)
