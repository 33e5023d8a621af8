"""The shared suite: ten drivers in one workspace, whose common state the checks really look at.

Whatever the order in which their calls are carried out, the final state is right; and what one of
them leaves out, or does twice, is seen among the work of the nine others.
"""

from pathlib import Path

import anyio
import pytest
from suites.reference import Played, Player, calls_of
from tests.suites.mutants import Mutants

from surefoot_client.check import matches, run_checks
from surefoot_client.suite import Sequence, find, lay_out, load

pytestmark = pytest.mark.anyio

SUITE = load(find("shared"))
(SEQUENCE,) = SUITE.sequences
DRIVERS = range(SUITE.drivers)
CHANGED = 3
"""The driver that does something else than its part."""


def fresh(folder: Path, sequence: Sequence = SEQUENCE) -> Path:
    """A workspace that nobody has been in."""
    workspace = folder / "workspace"
    lay_out(sequence.fixture, workspace)
    return workspace


async def play(driver: int, workspace: Path, *, look: bool = True) -> list[Played]:
    """A driver's part, with tools of its own, as of a server of its own."""
    part = SEQUENCE.for_driver(driver)
    calls = [call for call in calls_of(part) if look or call.effectful]
    return await Player(part, workspace, workspace.parent / "state").play(calls)


async def failing(workspace: Path) -> list[str]:
    """What the checks find wrong."""
    return [one.detail for one in await run_checks(SEQUENCE, workspace) if not one.passed]


@pytest.fixture
async def nine(folder: Path) -> Path:
    """The workspace after all drivers but one."""
    workspace = fresh(folder)
    async with anyio.create_task_group() as others:
        for driver in DRIVERS:
            if driver != CHANGED:
                others.start_soon(lambda who: play(who, workspace, look=False), driver)
    return workspace


@pytest.fixture
def mutants(nine: Path, folder: Path) -> Mutants:
    """Of the tenth driver's part."""
    return Mutants(SEQUENCE.for_driver(CHANGED), folder, nine)


def test_ten_drivers_make_fifty_calls_each_of_which_half_have_effects_and_ten_count_once() -> None:
    assert SUITE.drivers == 10
    for driver in DRIVERS:
        calls = calls_of(SEQUENCE.for_driver(driver))
        assert len(calls) >= 50
        assert 2 * sum(call.effectful for call in calls) >= len(calls)
        assert sum(call.once for call in calls) >= 10
        tools = {call.tool for call in calls if call.effectful}
        assert tools >= {"run_command", "write_file", "edit_file", "execute_sql"}


async def test_ten_drivers_at_the_same_time_meet_their_postconditions_and_every_check(
    folder: Path,
) -> None:
    workspace = fresh(folder)
    wrong: list[Played] = []

    async def one(driver: int) -> None:
        for played in await play(driver, workspace):
            expect = played.call.expect
            if played.error is not None or expect is None or not matches(expect, played.result):
                wrong.append(played)

    async with anyio.create_task_group() as all_of_them:
        for driver in DRIVERS:
            all_of_them.start_soon(one, driver)
    assert wrong == []
    assert await failing(workspace) == []


@pytest.mark.slow
async def test_ten_drivers_one_after_the_other_come_to_the_same_from_the_last_to_the_first(
    folder: Path,
) -> None:
    workspace = fresh(folder)
    for driver in reversed(DRIVERS):
        assert await failing(workspace) != []
        await play(driver, workspace, look=False)
    assert await failing(workspace) == []


@pytest.mark.slow
async def test_a_step_that_one_driver_leaves_out_fails_the_checks(mutants: Mutants) -> None:
    assert not await mutants.broken(mutants.start(), mutants.effects)
    assert await mutants.unseen(range(len(mutants.effects)), times=0) == []


@pytest.mark.slow
async def test_a_call_that_counts_once_made_twice_by_one_driver_fails_the_checks(
    mutants: Mutants,
) -> None:
    assert await mutants.unseen(mutants.once(), times=2) == []


@pytest.mark.slow
async def test_a_call_that_does_not_count_made_twice_by_one_driver_passes_the_checks(
    mutants: Mutants,
) -> None:
    others = [at for at, call in enumerate(mutants.effects) if not call.once]
    assert await mutants.unseen(others, times=2) == [mutants.effects[at] for at in others]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SEQUENCE.fixture.files, *SEQUENCE.fixture.databases])
async def test_an_emptied_fixture_fails_the_checks(name: str, folder: Path) -> None:
    fixture = SEQUENCE.fixture
    if name in fixture.files:
        emptied = fixture.model_copy(update={"files": {**fixture.files, name: ""}})
    else:
        empty = fixture.databases[name].model_copy(update={"sql": ""})
        emptied = fixture.model_copy(update={"databases": {**fixture.databases, name: empty}})
    workspace = fresh(folder, SEQUENCE.model_copy(update={"fixture": emptied}))
    async with anyio.create_task_group() as all_of_them:
        for driver in DRIVERS:
            all_of_them.start_soon(lambda who: play(who, workspace, look=False), driver)
    assert await failing(workspace) != []
