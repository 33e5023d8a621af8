"""The standard suite: its sequences are work that the final checks really look at.

Reference calls are played in process, by the real tools. A sequence is played once, keeping the
workspace as it was before each call with an effect; each mutation goes on from there.
"""

from pathlib import Path

import pytest
from suites.generate import SHIPPED, Shipped, generate, written
from suites.reference import Player, calls_of
from tests.suites.mutants import Mutants

from surefoot_client.check import matches, run_checks
from surefoot_client.suite import Sequence, find, load

pytestmark = pytest.mark.anyio

SUITE = load(find("standard"))
KINDS = 3
"""Of mutations: a step left out, a step made twice, a fixture emptied."""
STRIDE = 14
"""The fast run mutates every so many steps; the slow one each."""

each_suite = pytest.mark.parametrize("suite", SHIPPED, ids=[suite.name for suite in SHIPPED])
each_sequence = pytest.mark.parametrize(
    "sequence", SUITE.sequences, ids=[sequence.id for sequence in SUITE.sequences]
)


def mutated(kind: int) -> pytest.MarkDecorator:
    """All sequences, slowly; in the fast run each has a sample of one kind of mutation."""
    samples = [
        pytest.param(sequence, STRIDE, id=f"sample-{sequence.id}")
        for sequence in SUITE.sequences[kind::KINDS]
    ]
    whole = [
        pytest.param(sequence, 1, id=f"all-{sequence.id}", marks=pytest.mark.slow)
        for sequence in SUITE.sequences
    ]
    return pytest.mark.parametrize(("sequence", "stride"), samples + whole)


@each_suite
def test_the_committed_files_say_what_the_drafts_say(suite: Shipped) -> None:
    """What the calls lead to is taken from the files; that it is right, the next tests see."""
    there = suite.there()
    for make, sequence in zip(suite.drafts, load(suite.target).sequences, strict=True):
        draft = make()
        tree = {
            path: sha
            for look in sequence.checks
            if look.tree
            for path, sha in look.tree.files.items()
        }
        rows = {
            look.rows.sql: [list(row) for row in look.rows.equals]
            for look in sequence.checks
            if look.rows
        }
        said = there[f"{draft.id}.yaml"]
        assert said == written(draft.data(tree, rows)), "run: make suites"


@pytest.mark.slow
@each_suite
def test_the_committed_files_are_what_the_generator_writes(suite: Shipped) -> None:
    assert suite.there() == generate(suite), "run: make suites"


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
@pytest.mark.slow
async def test_the_checks_pass_without_the_calls_that_only_look(
    sequence: Sequence, folder: Path
) -> None:
    mutants = Mutants(sequence, folder)
    assert not await mutants.broken(mutants.start(), mutants.effects)


@mutated(0)
async def test_a_step_left_out_fails_the_checks(
    sequence: Sequence, stride: int, folder: Path
) -> None:
    mutants = Mutants(sequence, folder)
    assert await mutants.unseen(range(0, len(mutants.effects), stride), times=0) == []


@mutated(1)
async def test_a_call_made_twice_that_counts_once_fails_the_checks(
    sequence: Sequence, stride: int, folder: Path
) -> None:
    mutants = Mutants(sequence, folder)
    assert await mutants.unseen(mutants.once()[::stride], times=2) == []


@each_sequence
@pytest.mark.slow
async def test_a_call_made_twice_that_does_not_count_passes_the_checks(
    sequence: Sequence, folder: Path
) -> None:
    mutants = Mutants(sequence, folder)
    others = [at for at, call in enumerate(mutants.effects) if not call.once]
    assert await mutants.unseen(others, times=2) == [mutants.effects[at] for at in others]


@mutated(2)
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
