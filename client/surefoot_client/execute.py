"""One trial from an empty workspace to its last record.

The way of it: `lay_out -> connect -> play -> check -> record`. Of several drivers each plays over a
connection of its own, at the same time as the others; the checks are for when all have ended. It
has no effect beyond workspace and records. Above `trial.py` (the loop); which trials there are is
decided by `run.py`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from surefoot_client import check
from surefoot_client.connection import connect
from surefoot_client.record import Checked, Ended, Transport, TrialEnded, TrialStarted
from surefoot_client.suite import lay_out
from surefoot_client.transport import Target
from surefoot_client.trial import Plan, Setting, Trial, prepare

SEVERITY = (Ended.IN_DOUBT, Ended.FAILED, Ended.PASSED)
"""Of several parts the first of these that one of them is, the trial is."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a trial takes place."""

    workspace: Path
    transport: Transport
    serve: Callable[[], AbstractAsyncContextManager[Target]]
    """A server that works in the workspace, for all connections of the trial."""


@dataclass(slots=True)
class _Execution:
    """What there is to say of a trial at its end, whenever that comes."""

    plan: Plan
    setting: Setting
    ended: Ended = Ended.INTERRUPTED
    reason: str | None = None
    parts: list[Trial] = field(default_factory=list[Trial])

    async def play(self, target: Target) -> Ended:
        """Connect all parts, then play them; how the worst of them ended."""
        async with AsyncExitStack() as stack:
            # all before the first call: a fault of one shall not strike the handshake of another
            for part in self.plan.parts:
                connection = await stack.enter_async_context(connect(target))
                self.parts.append(prepare(part, self.setting, connection))
            outcomes = await _at_once(self.parts)
            worst = min(outcomes, key=SEVERITY.index)
            self.reason = next(
                (
                    _reason(part)
                    for part, ended in zip(self.parts, outcomes, strict=True)
                    if ended is worst
                ),
                None,
            )
            return worst

    async def check(self, workspace: Path) -> Ended:
        """Look at the final state."""
        ended = Ended.PASSED
        for result in await check.run_checks(self.plan.sequence, workspace):
            self.setting.log.write(
                Checked(
                    trial=self.plan.name,
                    check=result.kind,
                    passed=result.passed,
                    detail=result.detail,
                )
            )
            if not result.passed and ended is Ended.PASSED:
                ended = Ended.FAILED
                self.reason = f"check {result.kind}: {result.detail}"
        return ended

    def last_record(self) -> TrialEnded:
        """Of the trial."""
        broke = [part.broke_at_turn for part in self.parts if part.broke_at_turn is not None]
        connection = self.parts[0].connection if self.parts else None
        return TrialEnded(
            trial=self.plan.name,
            outcome=self.ended,
            broke_at_turn=min(broke, default=None),
            reason=self.reason,
            turns=max((part.turn for part in self.parts), default=0),
            invocations=sum(part.invocations for part in self.parts),
            sends=sum(part.sends for part in self.parts),
            server=connection.server_name if connection is not None else None,
            protocol=connection.protocol if connection is not None else None,
        )


def _reason(part: Trial) -> str | None:
    if part.plan.driver is None or part.reason is None:
        return part.reason
    return f"driver {part.plan.driver}, {part.reason}"


async def _at_once(parts: Sequence[Trial]) -> list[Ended]:
    """Play all parts; how they ended, in their order.

    Raises:
        Exception: the first that one of them raised, as it was; the others are stopped.
    """
    if len(parts) == 1:
        return [await parts[0].play()]
    outcomes: dict[int, Ended] = {}
    failures: list[Exception] = []

    async def one(number: int) -> None:
        try:
            outcomes[number] = await parts[number].play()
        except Exception as error:
            # raised again below, and not wrapped by the task group
            failures.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for number in range(len(parts)):
            tasks.start_soon(one, number)
    if failures:
        raise failures[0]
    return [outcomes[number] for number in range(len(parts))]


async def execute(plan: Plan, setting: Setting, stage: Stage) -> Ended:
    """Play one trial from an empty workspace to its last record.

    A cancelled trial ends as interrupted, on record, and the cancellation goes on.

    Raises:
        Unreachable: the server cannot be started at all.
        FixtureError: the workspace cannot be laid out.
    """
    log = setting.log
    log.write(
        TrialStarted(
            trial=plan.name,
            sequence=plan.sequence.id,
            model=plan.model.spec,
            simulated=plan.model.simulated,
            repeat=plan.repeat,
            rerun=plan.rerun,
            turns=len(plan.sequence.turns),
            drivers=plan.drivers,
            transport=stage.transport,
        )
    )
    execution = _Execution(plan, setting)
    try:
        await anyio.to_thread.run_sync(lay_out, plan.sequence.fixture, stage.workspace)
        async with stage.serve() as target:
            played = await execution.play(target)
        # after the server has ended: nothing that it leaves running can change what is checked
        if played is Ended.PASSED and plan.whole:
            played = await execution.check(stage.workspace)
        execution.ended = played
        return played
    finally:
        log.write(execution.last_record())
