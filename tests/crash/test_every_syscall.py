"""The server dies where any of its threads enters a system call that changes something.

One history per tool: a server is killed at a point of a keyed call, the next one is sent the same
key again, and then is itself killed at the next point of the next call, all on one journal.
"""

from pathlib import Path

import pytest
from tests.support.history import (
    EFFECTS,
    FILES,
    FOLD,
    Death,
    History,
    die_at_next,
    sampled,
)
from tests.support.lives import GONE, Life, Said, forge, lay_out
from tests.support.strace import (
    NEEDED,
    Point,
    injecting,
    killing_any,
    points,
    threads,
    traced,
)
from tests.support.torture import figure, rounds

pytestmark = [pytest.mark.anyio, NEEDED]

FAILING = ("write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2")
"""System calls that a full or a broken disk lets fail."""
SOMETIMES = ("journal", "ftruncate")
"""A spool is emptied only if no newer line came while it was folded."""
ALL = 10**6
"""More points than there are."""


@pytest.mark.parametrize(
    "name",
    [
        "append",
        *(pytest.param(each, marks=pytest.mark.slow) for each in EFFECTS if each != "append"),
    ],
)
async def test_killed_at_any_syscall_of_a_call_the_key_comes_back_to_exactly_one_effect(
    tmp_path: Path, name: str
) -> None:
    """Guard: `Execution.recover`, `find_out`, `Staged`, the inbox row of `SqliteEngine`."""
    async with forge() as born:
        history = History(born, lay_out(tmp_path), EFFECTS[name])
        async with history.server() as server:
            await history.send(server, history.fresh(), 1)
            found = await history.profile(server, tmp_path / "log", history.fresh(), 1)
        left = sampled(found, rounds(fast=8, ci=20, full=ALL))
        tried, all_of_them = len(left), len(left) == len(found)
        death: Death | None = None
        while left or death is not None:
            async with history.server() as server:
                if death is not None:
                    await history.settle(server, death, 2)
                death = None
                while left and death is None:
                    death = await die_at_next(history, server, history.fresh(), 1, left)
    history.verdict()
    figure(f"killed at syscalls of {name}", points=tried, of=len(found), in_doubt=history.doubted)
    if all_of_them:
        # How many pages the journal writes differs from call to call; which calls it makes, not.
        assert {(at.role, at.name) for at in found} - history.deadly <= {SOMETIMES}
        assert name == "rows" or history.seen == {0, 1}
        assert name not in FILES or history.left_behind > 0
        assert (history.doubted > 0) == (name == "note")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["append", "edit", "rows"])
async def test_the_same_look_finds_the_doubled_effect_of_a_call_that_does_not_keep_its_key(
    tmp_path: Path, name: str
) -> None:
    """The tests around this one would see it."""
    async with forge() as born:
        history = History(born, lay_out(tmp_path), EFFECTS[name], keeps_keys=False)
        async with history.server() as server:
            await history.send(server, history.fresh(), 1)
            outcome = [Point("journal", "fdatasync", 2)]
            death = await die_at_next(history, server, history.fresh(), 1, outcome)
        assert death is not None
        assert history.problems == []
        async with history.server() as server:
            await history.settle(server, death, 2)
    assert len(history.problems) == 1
    assert "2 times" in history.problems[0] or "holds" in history.problems[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("append", Point("worker", "renameat", 1)),
        ("append", Point("journal", "pwrite64", 1)),
        ("rows", Point("worker", "fdatasync", 4)),
        ("note", Point("main", "write", 1)),
    ],
    ids=["staged", "intended", "rows", "noted"],
)
async def test_killed_again_while_it_starts_and_recovers_it_still_comes_to_one_effect(
    tmp_path: Path, name: str, first: Point
) -> None:
    """The first death leaves a spool, and a temporary file or a half-written database.

    The second one is met from the first instruction on: in the fold of what is left behind, in the
    look that nobody asked for, or in the call that the key comes back to.

    Guard: `fold_dead`, `Housekeeping.recover`, `find_out`, `Staged._create`, `Execution.recover`.
    """
    async with forge() as born:
        history = History(born, lay_out(tmp_path), EFFECTS[name])

        async def dead_once() -> Death:
            async with history.server() as server:
                label = history.fresh()
                death = await die_at_next(history, server, label, 1, [first])
                assert death is not None, f"nobody came by {first}"
                return death

        async with history.server() as server:
            await history.send(server, history.fresh(), 1)
        once = await dead_once()
        async with born.birth(history.setup, fold_after=FOLD) as server:
            log = tmp_path / "log"
            async with traced(server.pid, "-f", output=str(log)):
                await server.up()
                await history.send(server, once.label, 2)
                assert await history.survives(server, once.label, 2)
        found = points(log)
        left = sampled(found, rounds(fast=8, ci=15, full=ALL))
        for at in left:
            once = await dead_once()
            async with born.birth(history.setup, fold_after=FOLD) as server:
                try:
                    async with killing_any(server.pid, at):
                        await server.up()
                        await history.send(server, once.label, 2)
                        await history.survives(server, once.label, 2)
                except GONE:
                    pass
                server.kill()
                await server.died()
            async with history.server() as server:
                await history.settle(server, Death(once.label, None, at), 3)
    figure(f"killed again, {name}", points=len(left), of=len(found), in_doubt=history.doubted)
    history.verdict()


TIMES = {"no": {0}, "yes": {1}, "unknown": {0, 1}}
"""How often an effect may be there, by what the answer says."""


def applied(said: Said) -> str:
    """What an answer says of the effect."""
    return "yes" if said["error"] is None else said["error"]["applied"]


async def fail_at(history: History, server: Life, at: Point, error: str) -> None:
    """Let one system call of a call fail, then send the key again to the same server."""
    label = history.fresh()
    async with injecting(threads(server.pid), at, f"error={error}"):
        first = await history.send(server, label, 1)
    where = f"{error} at {at}"
    if first is None:
        history.problems.append(f"{where}: the server died")
        return
    try:
        if history.effect.times(history.workspace, label) not in TIMES[applied(first)]:
            history.problems.append(f"{where}: not what is there: {first}")
        again = await history.send(server, label, 2)
        assert again is not None, "the server died of the same key"
        if history.effect.times(history.workspace, label) not in TIMES[applied(again)]:
            history.problems.append(f"{where}: sent again, not what is there: {again}")
        if applied(first) == "yes" and again["result"] != first["result"]:
            history.problems.append(f"{where}: answered {first}, then {again}")
    except AssertionError as e:
        history.problems.append(f"{where}: {e}")
    if any(history.workspace.glob(".surefoot-*")):
        history.problems.append(f"{where}: a temporary file is left behind")
    history.failed += applied(first) != "yes"
    if at.role == "journal":
        history.unrecorded.add(label)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        pytest.param(
            name, error, marks=() if (name, error) == ("append", "EIO") else pytest.mark.slow
        )
        for name in EFFECTS
        for error in ("EIO", "ENOSPC")
    ],
)
async def test_a_write_flush_or_rename_that_fails_is_answered_with_what_is_there(
    tmp_path: Path, name: str, error: str
) -> None:
    """Guard: `Staged.commit`, `settled.confirmed`, `commit_error`, `Groups.commit`,
    `Outcomes.finish`.
    """
    async with forge() as born:
        history = History(born, lay_out(tmp_path), EFFECTS[name])
        async with history.server() as server:
            await history.send(server, history.fresh(), 1)
            found = await history.profile(server, tmp_path / "log", history.fresh(), 1)
            failing = [at for at in found if at.role != "main" and at.name in FAILING]
            left = sampled(failing, rounds(fast=8, ci=ALL, full=ALL))
            for at in left:
                await fail_at(history, server, at, error)
    history.verdict()
    figure(f"{error} at writes of {name}", points=len(left), failed=history.failed)
    assert history.failed > 0
