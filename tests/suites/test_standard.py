"""The standard suite: its sequences are work that the final checks really look at.

Reference calls are played in process, by the real tools. A sequence is played once, keeping the
workspace as it was before each call with an effect; each mutation goes on from there.
"""

import os
import tempfile
from collections.abc import Collection, Iterator
from collections.abc import Sequence as Items
from pathlib import Path

import pytest
from suites.generate import TARGET, generate
from suites.reference import Player, calls_of, copy_workspace

from surefoot_client.check import CheckResult, matches, run_checks
from surefoot_client.suite import ReferenceCall, Sequence, find, lay_out, load

pytestmark = pytest.mark.anyio

SUITE = load(find("standard"))
STRIDE = 7
"""The fast run mutates every so many steps; the slow one each."""

each_sequence = pytest.mark.parametrize(
    "sequence", SUITE.sequences, ids=[sequence.id for sequence in SUITE.sequences]
)
each_stride = pytest.mark.parametrize(
    "stride", [STRIDE, pytest.param(1, marks=pytest.mark.slow)], ids=["sample", "all"]
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is a place for that: thousands of flushes, and none is the point."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as made:
        yield Path(made)


class Mutants:
    """Plays one sequence with something changed, and looks at what the checks say."""

    def __init__(self, sequence: Sequence, folder: Path) -> None:
        self.sequence = sequence
        self.effects = [call for call in calls_of(sequence) if call.effectful]
        self._folder = folder
        self._count = 0

    def start(self) -> Path:
        """A fresh workspace."""
        workspace = self._next()
        lay_out(self.sequence.fixture, workspace)
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

    def _next(self) -> Path:
        self._count += 1
        return self._folder / f"w{self._count}"

    def _player(self, workspace: Path) -> Player:
        return Player(self.sequence, workspace, self._folder / "state")


def test_the_committed_files_are_what_the_generator_writes() -> None:
    there = {path.name: path.read_text("utf-8") for path in TARGET.glob("*.yaml")}
    assert there == generate(), "run: make suites"


@each_sequence
def test_a_sequence_has_fifty_calls_of_which_half_have_effects_and_ten_count_once(
    sequence: Sequence,
) -> None:
    calls = calls_of(sequence)
    assert len(calls) >= 50
    assert 2 * sum(call.effectful for call in calls) >= len(calls)
    assert sum(call.once for call in calls) >= 10
    assert 12 <= len(sequence.turns) <= 16
    assert all(2 <= len(turn.calls) <= 6 for turn in sequence.turns)


@each_sequence
def test_a_sequence_uses_commands_files_and_the_database(sequence: Sequence) -> None:
    effects = [call.tool for call in calls_of(sequence) if call.effectful]
    for tool in ("run_command", "write_file", "edit_file", "execute_sql"):
        assert tool in effects


@each_sequence
async def test_the_reference_calls_meet_their_postconditions_and_every_check(
    sequence: Sequence, folder: Path
) -> None:
    mutants = Mutants(sequence, folder)
    workspace = mutants.start()
    played = await Player(sequence, workspace, folder / "state").play(calls_of(sequence))
    for one in played:
        assert one.error is None, (one.call, one.error)
        assert one.call.expect is not None
        assert matches(one.call.expect, one.result), (one.call, one.result)
    assert [result for result in await run_checks(sequence, workspace) if not result.passed] == []


@each_sequence
async def test_the_checks_pass_without_the_calls_that_only_look(
    sequence: Sequence, folder: Path
) -> None:
    mutants = Mutants(sequence, folder)
    assert not await mutants.broken(mutants.start(), mutants.effects)


@each_sequence
@each_stride
async def test_a_step_left_out_fails_the_checks(
    sequence: Sequence, stride: int, folder: Path
) -> None:
    mutants = Mutants(sequence, folder)
    sample = range(0, len(mutants.effects), stride)
    unseen = [
        mutants.effects[at]
        for at, workspace in (await mutants.before(sample)).items()
        if not await mutants.broken(workspace, mutants.effects[at + 1 :])
    ]
    assert unseen == []


@each_sequence
@each_stride
async def test_a_call_made_twice_that_counts_once_fails_the_checks(
    sequence: Sequence, stride: int, folder: Path
) -> None:
    mutants = Mutants(sequence, folder)
    once = [at for at, call in enumerate(mutants.effects) if call.once]
    unseen = [
        mutants.effects[at]
        for at, workspace in (await mutants.before(once[::stride])).items()
        if not await mutants.broken(workspace, [mutants.effects[at], *mutants.effects[at:]])
    ]
    assert unseen == []


@each_sequence
@pytest.mark.slow
async def test_a_call_made_twice_that_does_not_count_passes_the_checks(
    sequence: Sequence, folder: Path
) -> None:
    mutants = Mutants(sequence, folder)
    others = [at for at, call in enumerate(mutants.effects) if not call.once]
    seen = [
        mutants.effects[at]
        for at, workspace in (await mutants.before(others)).items()
        if await mutants.broken(workspace, [mutants.effects[at], *mutants.effects[at:]])
    ]
    assert seen == []


@each_sequence
@each_stride
async def test_an_emptied_fixture_fails_the_checks(
    sequence: Sequence, stride: int, folder: Path
) -> None:
    fixture = sequence.fixture
    fixtures = {
        path: fixture.model_copy(update={"files": {**fixture.files, path: ""}})
        for path in fixture.files
    }
    for name, database in fixture.databases.items():
        empty = {**fixture.databases, name: database.model_copy(update={"sql": ""})}
        fixtures[name] = fixture.model_copy(update={"databases": empty})
    unseen: list[str] = []
    # the database is the last and so the first of any sample
    for name in list(fixtures)[::-1][::stride]:
        mutants = Mutants(
            sequence.model_copy(update={"fixture": fixtures[name]}), folder / name.replace("/", "_")
        )
        if not await mutants.broken(mutants.start(), mutants.effects):
            unseen.append(name)
    assert unseen == []
