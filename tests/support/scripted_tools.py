"""The scripted tool that leaves a job behind, and all of them for one server."""

from typing import Any, ClassVar

from tests.support.scripted import (
    Afterwards,
    AtMostOnce,
    Did,
    Going,
    Idempotent,
    Named,
    Safe,
    Scripted,
    Transactional,
    Verifiable,
    World,
)

from surefoot_tools.jobs import JobEnd, JobState
from surefoot_tools.tool import Context, Effect, Evidence


class Left(Did):
    """Result of the tool that leaves a job behind."""

    job: str
    state: JobState

    def as_text(self) -> str:
        """The job and its state."""
        return f"job {self.job} is {self.state}"


class Records:
    """What is left of jobs in a world; see `JobRecords`.

    Args:
        world: Where they are.
        place: Its name.
    """

    def __init__(self, world: World, place: str = "here") -> None:
        self._world = world
        self.place = place

    def end_of(self, job: str) -> JobEnd | None:
        """Its end; what was cleared away is lost."""
        self._world.looked += 1
        found = self._world.jobs.get(job)
        return JobEnd(JobState.LOST) if found is None else found.end

    async def wait(self, job: str) -> None:
        """Wait for its end."""
        found = self._world.jobs.get(job)
        if found is not None:
            await found.over.wait()


class LeavesJob(AtMostOnce):
    """A command that goes on as a job."""

    name: ClassVar[str] = "leaves_job"
    secret_arguments: ClassVar[frozenset[str]] = frozenset({"label"})
    Result = Left

    def __init__(self, world: World, running: set[str]) -> None:
        super().__init__(world, running)
        self.records = Records(world)

    def job_records(self) -> Records:
        """Where they are."""
        return self.records

    def job_of(self, result: dict[str, Any]) -> str | None:
        """Each success leaves one."""
        return result["job"]

    def do(self, going: Going, evidence: Evidence) -> int:
        """It goes on from here."""
        self.world.jobs[going.intent] = Afterwards()
        return super().do(going, evidence)

    async def run(self, arguments: Named, evidence: Evidence, context: Context) -> Left:
        """Go through the plan, and name the job."""
        did = await super().run(arguments, evidence, context)
        return Left(number=did.number, job=context.effect_key, state=JobState.RUNNING)

    async def refresh(self, result: Did, end: JobEnd | None = None) -> Did:
        """As the job is now, or as the journal has it."""
        assert isinstance(result, Left)
        found = self.world.jobs.get(result.job)
        known = end if found is None else found.end
        return result if known is None else result.model_copy(update={"state": known.state})

    def _ended(self, going: Going) -> Did:
        did = super()._ended(going)
        return Left(number=did.number, job=going.intent, state=JobState.RUNNING)


TOOLS: dict[Effect, type[Scripted]] = {
    Effect.SAFE: Safe,
    Effect.IDEMPOTENT: Idempotent,
    Effect.VERIFIABLE: Verifiable,
    Effect.TRANSACTIONAL: Transactional,
    Effect.AT_MOST_ONCE: AtMostOnce,
}


def tools(world: World, running: set[str]) -> list[Any]:
    """One of each effect, and one that leaves jobs behind, for one server."""
    return [kind(world, running) for kind in (*TOOLS.values(), LeavesJob)]
