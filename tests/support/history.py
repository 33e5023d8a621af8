"""One history of keyed calls whose servers die, or whose disk fails, at chosen system calls.

The servers are those of `core`: all of one but for MCP, and up in a moment. `strace` chooses.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import apsw
from tests.support.books import broken_chain, out_of_balance
from tests.support.core import Setup
from tests.support.lives import GONE, Forge, Life, Said, until
from tests.support.strace import Point, killing, points, threads, traced

OLD = "one\ntwo\n"
ADDED = "three\n"
BOUND = 20.0
"""Seconds until a server must have died or told the journal of its delivery."""
FOLD = 0.05
"""Seconds that a delivery waits for a commit: its points come soon."""


def in_the_trash(workspace: Path) -> list[str]:
    """The contents of what was deleted."""
    return [each.read_text() for each in workspace.glob(".surefoot/trash/*/item")]


@dataclass(frozen=True)
class Effect:
    """A keyed call of which it can be seen how often it happened."""

    tool: str
    arguments: dict[str, Any]
    after: str = ""
    """Content of the file when it happened once; empty for what is no file."""
    before: str | None = OLD
    """Content of the file when it did not; None for no file."""

    def asked(self, label: str) -> dict[str, Any]:
        """The arguments of the call with this label."""
        match self.tool:
            case "execute_sql":
                insert = {"sql": "INSERT INTO mark VALUES (?)", "parameters": [label]}
                update = {"sql": "UPDATE counter SET n = n + 1"}
                return {"database": "app", "statements": [update, insert]}
            case "note":
                return {"line": label}
            case "run_command":
                return {"command": f"echo {label} >> ran"}
            case "move_path":
                return {"source": label, "destination": f"{label}.to", **self.arguments}
            case _:
                return {"path": label, **self.arguments}

    def times(self, workspace: Path, label: str) -> int:
        """How often it happened; a torn file or transaction fails the test."""
        match self.tool:
            case "execute_sql":
                db = apsw.Connection(str(workspace / "app.db"))
                db.set_busy_timeout(5000)
                sql = "SELECT count(*), (SELECT n FROM counter) - (SELECT count(*) FROM mark)"
                happened, off = next(iter(db.execute(f"{sql} FROM mark WHERE label = ?", (label,))))
                db.close()
                assert off == 0, "half a transaction"
                return happened
            case "run_command":
                return (workspace / "ran").read_text().splitlines().count(label)
            case "note":
                return (workspace.parent / "notes").read_text().splitlines().count(label)
            case "move_path":
                return self._moved(workspace, label)
            case "delete_path":
                kept = in_the_trash(workspace)
                there = (workspace / label).exists()
                assert kept.count(label) + there == 1, f"{label} is there {there}, in {kept}"
                return kept.count(label)
            case _:
                path = workspace / label
                content = path.read_text() if path.exists() else None
                assert content in (self.before, self.after), f"{label} holds {content!r}"
                return int(content == self.after)

    def _moved(self, workspace: Path, label: str) -> int:
        """How often a file was moved; whichever name it bears, no content is lost."""
        names = [workspace / label, workspace / f"{label}.to"]
        found = [each.read_text() if each.exists() else None for each in names]
        kept = in_the_trash(workspace)
        over = f"{label} old" if self.arguments.get("overwrite") else None
        after = found == [None, label] and (over is None or over in kept)
        # A server that died between two steps leaves both names swapped, or the second one free.
        cut = over is not None and found in ([over, label], [label, None])
        assert after or cut or found == [label, over], f"{label}: {found}, {kept}"
        return int(after)


EFFECTS = {
    "replace": Effect("write_file", {"content": ADDED}, ADDED),
    "create": Effect("write_file", {"content": ADDED, "mode": "create"}, ADDED, None),
    "append": Effect("write_file", {"content": ADDED, "mode": "append"}, OLD + ADDED),
    "edit": Effect(
        "edit_file",
        # Once more it would apply once more.
        {"edits": [{"old_text": "two\n", "new_text": "two\ntwo and a half\n"}]},
        OLD + "two and a half\n",
    ),
    "move": Effect("move_path", {}),
    "overwrite": Effect("move_path", {"overwrite": True}),
    "delete": Effect("delete_path", {}),
    "rows": Effect("execute_sql", {}),
    "note": Effect("note", {}),
    "command": Effect("run_command", {}),
}
FILES = ("replace", "create", "append", "edit")
TAKING = ("move_path", "delete_path")
"""Tools that give a name away; the file holds its label."""


@dataclass(frozen=True)
class Death:
    """A call whose server died."""

    label: str
    answer: Said | None
    at: Point


@dataclass
class History:
    """Keyed calls with one effect on one place, each with a label that is key and file name."""

    forge: Forge
    setup: Setup
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
    doubted: int = 0
    """Calls that were in doubt in the end."""
    failed: int = 0
    """Sends that were not answered with success."""
    unrecorded: set[str] = field(default_factory=set[str])
    """Calls that were answered although their outcome could not be recorded at once: what exactly
    their first request was told may be in no book (`Outcomes.finish`)."""
    files: set[str] = field(default_factory=set[str])
    serial: int = 0

    def __post_init__(self) -> None:
        (self.workspace / "warm").write_text(OLD)
        (self.workspace.parent / "notes").write_text("")
        (self.workspace / "ran").write_text("")

    @property
    def workspace(self) -> Path:
        """The root."""
        return Path(self.setup.workspace)

    @property
    def journal(self) -> Path:
        """The file."""
        return Path(self.setup.state) / "journal.db"

    def fresh(self) -> str:
        """The label of the next call, with the file that it changes."""
        self.serial += 1
        label = f"f{self.serial}"
        if self.effect.tool in TAKING:
            (self.workspace / label).write_text(label)
            if "overwrite" in self.effect.arguments:
                (self.workspace / f"{label}.to").write_text(f"{label} old")
        if self.effect.after:
            self.files.add(label)
            if self.effect.before is not None:
                (self.workspace / label).write_text(self.effect.before)
        return label

    @asynccontextmanager
    async def server(self) -> AsyncGenerator[Life, None]:
        """A server whose threads are all up, and that has looked into what was left open."""
        async with self.forge.life(self.setup, fold_after=FOLD) as server:
            await until(
                lambda: not self._journal_says("SELECT 1 FROM call WHERE state = 'running'")
            )
            assert (await server.ask("read_file", {"path": "warm"}))["status"] == "succeeded"
            if self.effect.tool == "run_command":  # its keeper is up, too
                assert (await server.ask("run_command", {"command": ":"}))["status"] == "succeeded"
            yield server

    async def send(self, server: Life, label: str, attempt: int) -> Said | None:
        """Send the call; its answer, or None if the server died first."""
        key = label if self.keeps_keys else f"{label}.{attempt}"
        try:
            return await server.ask(
                self.effect.tool, self.effect.asked(label), key, sender_attempt=attempt
            )
        except GONE:
            return None

    async def survives(self, server: Life, label: str, attempt: int) -> bool:
        """Wait until the server died, or recorded that the answer to a send was delivered."""
        with anyio.fail_after(BOUND):
            while not server.dead:
                if self._delivered(label, attempt):
                    return True
                await anyio.sleep(0.01)
        return False

    def _delivered(self, label: str, attempt: int) -> bool:
        sql = (
            "SELECT 1 FROM receipt WHERE key = ? AND sender_attempt = ? AND delivery = 'delivered'"
        )
        return self._journal_says(sql, label, attempt)

    def _journal_says(self, sql: str, *parameters: str | int) -> bool:
        """Whether a query of the journal finds a row; not so while its writer may be dead."""
        db = apsw.Connection(str(self.journal), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return bool(db.execute(sql, parameters).fetchall())
        except apsw.Error:
            return False
        finally:
            db.close()

    async def profile(self, server: Life, log: Path, label: str, attempt: int) -> list[Point]:
        """The state-changing points of a send and of what follows its answer."""
        known = threads(server.pid)
        async with traced(server.pid, "-f", output=str(log)):
            assert await self.send(server, label, attempt) is not None
            assert await self.survives(server, label, attempt)
        assert threads(server.pid) == known, "a thread that nobody would be killed in"
        return points(log, known)

    def look(self, label: str, at: Point) -> None:
        """At the moment after a crash the file is the old or the new one."""
        self.deadly.add((at.role, at.name))
        self.left_behind += any(self.workspace.glob(".surefoot-*"))
        if self.effect.tool == "execute_sql":
            return  # a look would roll back what the next server must roll back
        try:
            self.seen.add(self.effect.times(self.workspace, label))
        except AssertionError as e:
            self.problems.append(f"after the death at {at}: {e}")

    async def settle(self, server: Life, death: Death, attempt: int) -> None:
        """Send a call again to the next server: one effect, one answer, nothing left behind."""
        label, answer, at = death.label, death.answer, death.at
        again = await self.send(server, label, attempt)
        wrong: list[str] = []
        allowed = {1}
        if again is None:
            wrong.append("the next server died")
        elif self.effect.tool == "note" and answer is None and in_doubt(again):
            allowed = {0, 1}
            self.doubted += 1
            third = await self.send(server, label, attempt + 1)
            if third is None or third["error"] != again["error"]:
                wrong.append(f"in doubt, and then not the same: {again}, {third}")
        elif again["status"] != "succeeded":
            wrong.append(f"the answer is {again}")
        elif answer is not None and again["result"] != answer["result"]:
            wrong.append(f"answered {answer}, then {again}")
        try:
            times = self.effect.times(self.workspace, label)
            if times not in allowed:
                wrong.append(f"the effect is there {times} times")
        except AssertionError as e:
            wrong.append(str(e))
        names = {entry.name for entry in self.workspace.iterdir()}
        if self.effect.tool in TAKING:
            # The name that was taken is looked at by `times`, of every call in its turn.
            names = {name for name in names if not name.startswith("f")} - {".surefoot"}
        expected = {"app.db", "warm", "ran"} | self.files
        if names != expected:
            wrong.append(f"left behind: {sorted(names ^ expected)}")
        self.problems += [f"after the death at {at}: {each}" for each in wrong]

    def verdict(self) -> None:
        """Fail with all that went wrong, or if a call or receipt is not accounted for."""
        assert not self.problems, "\n".join(self.problems)
        untold = tuple(f"receipt {label}/1 (ran) was delivered," for label in self.unrecorded)
        books = out_of_balance(self.journal)
        assert not [each for each in books if not each.startswith(untold)]
        assert not broken_chain(self.journal)
        db = apsw.Connection(str(self.workspace / "app.db"))
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()


def in_doubt(said: Said) -> bool:
    """Whether a call is told to be in doubt."""
    error = said["error"]
    return error is not None and (error["code"], error["applied"]) == ("UNKNOWN", "unknown")


async def die_at_next(
    history: History, server: Life, label: str, attempt: int, left: list[Point]
) -> Death | None:
    """Send a call to a server that dies at the first of these points; None if it lives."""
    at = left.pop(0)
    async with killing(threads(server.pid), at):
        answer = await history.send(server, label, attempt)
        if await history.survives(server, label, attempt):
            return None
    await server.died()
    history.look(label, at)
    return Death(label, answer, at)


def sampled(found: list[Point], most: int) -> list[Point]:
    """At most so many of these points, spread evenly over the call."""
    every = max(1, -(-len(found) // most))
    return found[every // 2 :: every]
