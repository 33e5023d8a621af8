"""The server dies where any of its threads enters a system call that changes something.

One history per tool: a server is killed at a point of a keyed call, the next one is sent the same
key again, and then is itself killed at the next point of the next call, all on one journal.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from tests.support.books import out_of_balance
from tests.support.place import Place, keyed
from tests.support.strace import NEEDED, Point, injecting, killing, points, threads, traced
from tests.support.wire import Wire, wire

from surefoot_tools import meta

pytestmark = [pytest.mark.anyio, pytest.mark.slow, NEEDED]

OLD = "one\ntwo\n"
ADDED = "three\n"
GONE = (
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)
"""How a wire fails whose server died."""
BOUND = 20.0
"""Seconds until a server must have died or told the journal of its delivery."""
FAILING = ("write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2")
"""System calls that a full or a broken disk lets fail."""


@dataclass(frozen=True)
class Effect:
    """A keyed call of which it can be seen how often it happened."""

    tool: str
    arguments: dict[str, Any]
    after: str = ""
    """Content of the file when it happened once; empty for `execute_sql`."""

    def asked(self, label: str) -> dict[str, Any]:
        """The arguments of the call with this label."""
        if self.tool == "execute_sql":
            insert = {"sql": "INSERT INTO mark VALUES (?)", "parameters": [label]}
            update = {"sql": "UPDATE counter SET n = n + 1"}
            return {"database": "app", "statements": [update, insert]}
        return {"path": label, **self.arguments}

    def times(self, place: Place, label: str) -> int:
        """How often it happened; a torn file or transaction fails the test."""
        if self.tool == "execute_sql":
            happened = place.rows(f"SELECT count(*) FROM mark WHERE label = '{label}'")[0][0]
            assert place.rows("SELECT n FROM counter") == place.rows("SELECT count(*) FROM mark")
            return happened
        content = (place.workspace / label).read_text()
        assert content in (OLD, self.after), f"{label} holds {content!r}"
        return int(content == self.after)


EFFECTS = {
    "replace": Effect("write_file", {"content": ADDED}, ADDED),
    "append": Effect("write_file", {"content": ADDED, "mode": "append"}, OLD + ADDED),
    "edit": Effect(
        "edit_file",
        # Once more it would apply once more.
        {"edits": [{"old_text": "two\n", "new_text": "two\ntwo and a half\n"}]},
        OLD + "two and a half\n",
    ),
    "rows": Effect("execute_sql", {}),
}


@dataclass(frozen=True)
class Death:
    """A call whose server died."""

    label: str
    answer: dict[str, Any] | None
    at: Point


@dataclass
class History:
    """Keyed calls with one effect on one place, each with a label that is key and file name."""

    place: Place
    effect: Effect
    keeps_keys: bool = True
    """Whether a call that is sent again bears the key of its first send."""
    problems: list[str] = field(default_factory=list[str])
    """What went wrong, each with the point at which the server died."""
    seen: set[int] = field(default_factory=set[int])
    """How often the effect had happened at the moments of death."""
    left_behind: int = 0
    """Deaths that left a temporary file."""
    deadly: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """The threads and system calls at which a server died."""
    failed: int = 0
    """Sends that were not answered with success."""
    unrecorded: set[str] = field(default_factory=set[str])
    """Calls that were answered although their outcome could not be recorded: what exactly their
    first request was told is in no book (`Execution._finish`)."""
    serial: int = 0

    def __post_init__(self) -> None:
        (self.place.workspace / "warm").write_text(OLD)
        db = apsw.Connection(str(self.place.workspace / "app.db"))
        db.execute("CREATE TABLE mark (label TEXT)")
        db.close()

    def fresh(self) -> str:
        """The label of the next call, with the file that it changes."""
        self.serial += 1
        label = f"f{self.serial}"
        (self.place.workspace / label).write_text(OLD)
        return label

    @asynccontextmanager
    async def server(self) -> AsyncGenerator[Wire, None]:
        """A server whose threads are all up."""
        async with wire(self.place) as server:
            assert "result" in await server.call("warm", "read_file", path="warm")
            yield server

    async def send(self, server: Wire, label: str, attempt: int) -> dict[str, Any] | None:
        """Send the call; its result, or None if the server died first."""
        key = label if self.keeps_keys else f"{label}.{attempt}"
        try:
            answer = await server.ask(
                f"{label}/{attempt}",
                "tools/call",
                name=self.effect.tool,
                arguments=self.effect.asked(label),
                _meta=keyed(key, attempt),
            )
        except GONE:
            return None
        return answer["result"]

    async def survives(self, server: Wire, label: str, attempt: int) -> bool:
        """Wait until the server died, or recorded that the answer to a send was delivered."""
        with anyio.fail_after(BOUND):
            while server.process.returncode is None:
                if self._delivered(label, attempt):
                    return True
                await anyio.sleep(0.01)
        return False

    def _delivered(self, label: str, attempt: int) -> bool:
        db = apsw.Connection(
            str(self.place.config.state / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY
        )
        try:
            sql = "SELECT delivered_at FROM receipt WHERE key = ? AND sender_attempt = ?"
            return any(row[0] is not None for row in db.execute(sql, (label, attempt)))
        except apsw.Error:
            return False  # its writer may just have died
        finally:
            db.close()

    async def profile(self, server: Wire, log: Path, label: str, attempt: int) -> list[Point]:
        """The state-changing points of a send and of what follows its answer."""
        known = threads(server.process.pid)
        async with traced(server.process.pid, "-f", output=str(log)):
            assert await self.send(server, label, attempt) is not None
            assert await self.survives(server, label, attempt)
        assert threads(server.process.pid) == known, "a thread that nobody would be killed in"
        return points(log, known)

    def look(self, label: str, at: Point) -> None:
        """At the moment after a crash the file is the old or the new one."""
        self.deadly.add((at.role, at.name))
        self.left_behind += any(self.place.workspace.glob(".surefoot-*"))
        if self.effect.tool == "execute_sql":
            return  # a look would roll back what the next server must roll back
        try:
            self.seen.add(self.effect.times(self.place, label))
        except AssertionError as e:
            self.problems.append(f"after the death at {at}: {e}")

    async def settle(self, server: Wire, death: Death, attempt: int) -> None:
        """Send a call again to the next server: one effect, one answer, nothing left behind."""
        label, answer, at = death.label, death.answer, death.at
        again = await self.send(server, label, attempt)
        wrong: list[str] = []
        if again is None or again.get("isError", False):
            wrong.append(f"the answer is {again}")
        elif answer is not None and again["structuredContent"] != answer["structuredContent"]:
            wrong.append(f"answered {answer}, then {again}")
        try:
            times = self.effect.times(self.place, label)
            if times != 1:
                wrong.append(f"the effect is there {times} times")
        except AssertionError as e:
            wrong.append(str(e))
        names = {entry.name for entry in self.place.workspace.iterdir()}
        expected = {"app.db", "warm"} | {f"f{n + 1}" for n in range(self.serial)}
        if names != expected:
            wrong.append(f"left behind: {sorted(names ^ expected)}")
        self.problems += [f"after the death at {at}: {each}" for each in wrong]

    def verdict(self) -> None:
        """Fail with all that went wrong, or if a call or receipt is not accounted for."""
        assert not self.problems, "\n".join(self.problems)
        untold = tuple(f"receipt {label}/1 (ran) was delivered," for label in self.unrecorded)
        books = out_of_balance(self.place.config.state / "journal.db")
        assert not [each for each in books if not each.startswith(untold)]
        db = apsw.Connection(str(self.place.workspace / "app.db"))
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()


async def die_at_next(
    history: History, server: Wire, label: str, attempt: int, left: list[Point]
) -> Death | None:
    """Send a call to a server that dies at the first of these points; None if it lives."""
    at = left.pop(0)
    async with killing(threads(server.process.pid), at):
        answer = await history.send(server, label, attempt)
        if await history.survives(server, label, attempt):
            return None
    history.look(label, at)
    return Death(label, answer, at)


def sampled(found: list[Point], every: int, *roles: str) -> list[Point]:
    """These points, but of some threads' many writes of pages only each n-th."""
    return [
        at
        for at in found
        if at.role not in roles or at.name != "pwrite64" or at.n % every == 1 % every
    ]


@pytest.mark.parametrize(
    ("name", "every"), [("append", 1), ("rows", 1), ("replace", 4), ("edit", 4)]
)
async def test_killed_at_any_syscall_of_a_call_the_key_comes_back_to_exactly_one_effect(
    place: Place, tmp_path: Path, name: str, every: int
) -> None:
    """Guard: `Execution.recover`, `find_out`, `Staged`, the inbox row of `SqliteEngine`."""
    history = History(place, EFFECTS[name])
    async with history.server() as server:
        await history.send(server, history.fresh(), 1)
        found = await history.profile(server, tmp_path / "log", history.fresh(), 1)
    left = sampled(found, every, "journal")
    death: Death | None = None
    while left or death is not None:
        async with history.server() as server:
            if death is not None:
                await history.settle(server, death, 2)
            death = None
            while left and death is None:
                death = await die_at_next(history, server, history.fresh(), 1, left)
    history.verdict()
    # How many pages the journal writes differs from call to call; which calls it makes does not.
    assert history.deadly == {(at.role, at.name) for at in found}
    if name != "rows":
        assert history.seen == {0, 1}
        assert history.left_behind > 0


@pytest.mark.parametrize("name", ["append", "edit", "rows"])
async def test_the_same_look_finds_the_doubled_effect_of_a_call_that_does_not_keep_its_key(
    place: Place, name: str
) -> None:
    """The tests around this one would see it."""
    history = History(place, EFFECTS[name], keeps_keys=False)
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


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("append", Point("worker", "renameat", 1)),
        ("rows", Point("worker", "fdatasync", 4)),
    ],
    ids=["append", "rows"],
)
async def test_killed_again_while_it_recovers_the_key_still_comes_back_to_exactly_one_effect(
    place: Place, tmp_path: Path, name: str, first: Point
) -> None:
    """The first death leaves a temporary file, or a half-written database and its journal.

    Guard: `find_out`, `Staged._create`, `Execution.recover`.
    """
    history = History(place, EFFECTS[name])

    async def dead_once(server: Wire) -> Death:
        label = history.fresh()
        death = await die_at_next(history, server, label, 1, [first])
        assert death is not None
        return death

    async with history.server() as server:
        await history.send(server, history.fresh(), 1)
        once = await dead_once(server)
    async with history.server() as server:
        found = await history.profile(server, tmp_path / "log", once.label, 2)
        left = sampled(found, 5, "journal", "worker")
        once = await dead_once(server)
    while True:
        async with history.server() as server:
            if not left:
                await history.settle(server, once, 2)
                break
            twice = await die_at_next(history, server, once.label, 2, left)
        async with history.server() as server:
            await history.settle(server, twice or once, 3)
            once = await dead_once(server)
    history.verdict()


def applied(result: dict[str, Any]) -> str:
    """What an answer says of the effect."""
    if not result.get("isError", False):
        return "yes"
    return result["_meta"][meta.ERROR]["applied"]


TIMES = {"no": {0}, "yes": {1}, "unknown": {0, 1}}
"""How often an effect may be there, by what the answer says."""


async def fail_at(history: History, server: Wire, at: Point, error: str) -> None:
    """Let one system call of a call fail, then send the key again to the same server."""
    label = history.fresh()
    async with injecting(threads(server.process.pid), at, f"error={error}"):
        first = await history.send(server, label, 1)
    where = f"{error} at {at}"
    if first is None:
        history.problems.append(f"{where}: the server died")
        return
    try:
        if history.effect.times(history.place, label) not in TIMES[applied(first)]:
            history.problems.append(f"{where}: not what is there: {first}")
        again = await history.send(server, label, 2)
        assert again is not None, "the server died of the same key"
        if history.effect.times(history.place, label) not in TIMES[applied(again)]:
            history.problems.append(f"{where}: sent again, not what is there: {again}")
        if applied(first) == "yes" and again["structuredContent"] != first["structuredContent"]:
            history.problems.append(f"{where}: answered {first}, then {again}")
    except AssertionError as e:
        history.problems.append(f"{where}: {e}")
    if any(history.place.workspace.glob(".surefoot-*")):
        history.problems.append(f"{where}: a temporary file is left behind")
    history.failed += applied(first) != "yes"
    if at.role == "journal":
        history.unrecorded.add(label)


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("name", EFFECTS)
async def test_a_write_flush_or_rename_that_fails_is_answered_with_what_is_there(
    place: Place, tmp_path: Path, name: str, error: str
) -> None:
    """Guard: `Staged.commit`, `may_be_lost`, `commit_error`, `Writer._commit`."""
    history = History(place, EFFECTS[name])
    async with history.server() as server:
        await history.send(server, history.fresh(), 1)
        found = await history.profile(server, tmp_path / "log", history.fresh(), 1)
        for at in found:
            # The main thread writes to the wire and not to a disk.
            if at.role != "main" and at.name in FAILING:
                await fail_at(history, server, at, error)
    history.verdict()
    assert history.failed > 0
