"""What owns a command dies where it enters a system call: the keeper, the supervisor, the command.

The server lives on. Whatever it then says of the command must be what is there, and stay so.
"""

import json
from pathlib import Path

import pytest
from tests.support.history import EFFECTS, FOLD, History, in_doubt, sampled
from tests.support.lives import Life, Said, forge, lay_out, until
from tests.support.strace import BEGINS_AND_ENDS, NEEDED, Point, killing_any, points, traced
from tests.support.torture import figure, rounds
from tests.tools.shell_door import parent

pytestmark = [pytest.mark.anyio, pytest.mark.slow, NEEDED]

ALL = 10**6
"""More points than there are."""


async def owners(server: Life) -> tuple[int, int]:
    """The keeper of a server, and the supervisor that waits for its next command."""
    job: str = (await server.ask("start_job", {"command": ["cat"]}))["result"]["job_id"]
    record = json.loads(Path(server.setup.state, "jobs", job, "begun.json").read_bytes())
    keeper = parent(record["supervisor"])
    assert (await server.ask("stop_job", {"job_id": job}))["error"] is None
    children = Path(f"/proc/{keeper}/task/{keeper}/children")
    await until(lambda: len(children.read_text().split()) == 1)
    return keeper, int(children.read_text())


def times_told(said: Said) -> set[int]:
    """How often the effect may be there, by an answer."""
    if said["error"] is not None:
        return {"no": {0}, "yes": {0, 1}, "unknown": {0, 1}}[said["error"]["applied"]]
    # A command that a signal ended has run, as far as it came.
    return {1} if said["result"]["signal"] is None else {0, 1}


async def die_at(history: History, at: Point) -> Said | None:
    """A command whose owners die at a point, and what is told of it, once and again."""
    async with history.forge.life(history.setup, fold_after=FOLD) as server:
        keeper, supervisor = await owners(server)
        label = history.fresh()
        async with killing_any(keeper, at, supervisor):
            first = await history.send(server, label, 1)
        before = history.effect.times(history.workspace, label)
        again = await history.send(server, label, 2)
        if first is None or again is None:
            history.problems.append(f"{at}: the server died, too")
            return None
        times = history.effect.times(history.workspace, label)
        if before not in times_told(first) or times not in times_told(again):
            seen = f"{before} times, then {times}"
            history.problems.append(f"{at}: there {seen}, told {first}, then {again}")
        if first["error"] is None and again["result"] != first["result"]:
            history.problems.append(f"{at}: told {first}, then {again}")
        if in_doubt(first) and not in_doubt(again):
            history.problems.append(f"{at}: in doubt, and then not: {first}, then {again}")
        return first


async def test_whatever_of_a_commands_owners_dies_its_answer_is_what_is_there(
    tmp_path: Path,
) -> None:
    """Guard: `Record.alive` and `Record.complete`, asked by `RunCommand.recover`."""
    async with forge() as born:
        history = History(born, lay_out(tmp_path), EFFECTS["command"])
        log = tmp_path / "log"
        async with history.server() as server:
            keeper, supervisor = await owners(server)
            async with traced(keeper, "-f", "-p", str(supervisor), output=str(log)):
                assert await history.send(server, history.fresh(), 1) is not None
        found = points(log, also=BEGINS_AND_ENDS)
        left = sampled(found, rounds(fast=4, ci=15, full=ALL))
        told = [await die_at(history, at) for at in left]
    assert Path(history.setup.state, "jobs").exists()
    history.verdict()
    doubted = sum(said is not None and in_doubt(said) for said in told)
    done = sum(said is not None and said["error"] is None for said in told)
    figure(
        "killed at syscalls of the owners of a command",
        points=len(left),
        of=len(found),
        done=done,
        in_doubt=doubted,
    )
    assert left
