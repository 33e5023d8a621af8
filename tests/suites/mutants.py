"""Mutants of a sequence: a call left out or made twice. The final checks have to see it."""

from collections.abc import Collection
from collections.abc import Sequence as Items
from pathlib import Path

from suites.reference import Player, calls_of, copy_workspace

from surefoot_client.check import CheckResult, run_checks
from surefoot_client.suite import ReferenceCall, Sequence, lay_out


class Mutants:
    """Plays one sequence with something changed, and looks at what the checks say.

    Args:
        sequence: What to play.
        folder: For workspaces.
        base: The workspace to begin with; without one, the fixture is laid out.
    """

    def __init__(self, sequence: Sequence, folder: Path, base: Path | None = None) -> None:
        self.sequence = sequence
        self._base = base
        self.effects = [call for call in calls_of(sequence) if call.effectful]
        self._folder = folder
        self._count = 0

    def start(self) -> Path:
        """A fresh workspace."""
        workspace = self._next()
        if self._base is None:
            lay_out(self.sequence.fixture, workspace)
        else:
            copy_workspace(self._base, workspace)
        return workspace

    async def before(self, wanted: Collection[int]) -> dict[int, Path]:
        """The workspace as it is before these calls with an effect, by their number."""
        workspace = self.start()
        snapshots: dict[int, Path] = {}
        player = self._player(workspace)
        for at, call in enumerate(self.effects):
            if at in wanted:
                snapshots[at] = self._next()
                copy_workspace(workspace, snapshots[at])
            await player.call(call)
        return snapshots

    async def broken(self, workspace: Path, calls: Items[ReferenceCall]) -> bool:
        """Whether a check fails once these calls were made in a copy of `workspace`."""
        copy = self._next()
        copy_workspace(workspace, copy)
        await self._player(copy).play(calls)
        return not all(result.passed for result in await self.look(copy))

    async def look(self, workspace: Path) -> list[CheckResult]:
        """The results of the checks; those of commands only if the cheap ones have passed."""
        cheap = [check for check in self.sequence.checks if check.command is None]
        commands = [check for check in self.sequence.checks if check.command is not None]
        found: list[CheckResult] = []
        for checks in (cheap, commands):
            part = self.sequence.model_copy(update={"checks": tuple(checks)})
            found += await run_checks(part, workspace)
            if not all(result.passed for result in found):
                break
        return found

    async def unseen(self, at: Collection[int], *, times: int) -> list[ReferenceCall]:
        """Of these calls with an effect, those with which no check fails if made so often."""
        return [
            self.effects[number]
            for number, workspace in (await self.before(at)).items()
            if not await self.broken(
                workspace, [self.effects[number]] * times + self.effects[number + 1 :]
            )
        ]

    def once(self) -> list[int]:
        """Numbers of the calls with an effect that count once."""
        return [at for at, call in enumerate(self.effects) if call.once]

    def _next(self) -> Path:
        self._count += 1
        return self._folder / f"w{self._count}"

    def _player(self, workspace: Path) -> Player:
        return Player(self.sequence, workspace, self._folder / "state")
