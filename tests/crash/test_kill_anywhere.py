"""The core is killed at random moments, ten thousand times; nothing is lost, nothing is doubled.

Each life is a server without MCP (`tests.support.core`) under a stream of keyed calls of all kinds
of effect. It is killed somewhere, from its first instruction on; the next one gets the same keys.
An answer that was read is an acknowledgement: it must be given again, whenever its key comes back.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import anyio
import apsw
import pytest
from tests.support.books import broken_chain, out_of_balance
from tests.support.core import Setup
from tests.support.lives import GONE, Forge, Life, Said, a_folder, forge, lay_out
from tests.support.torture import figure, rounds

pytestmark = pytest.mark.anyio

IN_FLIGHT = 4
"""Sends that wait for their answers at the same time."""
LANES = 3
"""Files of each kind."""
KINDS = 7
"""One in so many is an append, an edit, rows, a command; the others are notes."""
EPOCH = 250
"""Deaths on one journal; then all is looked at, and the next begins."""
NEWBORN = 0.25
"""Share of lives that are killed at any time after their birth, whatever they did."""
YOUTH = 0.03
"""Seconds in which those are killed."""
ANSWERS = 8
"""The others are killed after so many answers at most,"""
LATER = 0.006
"""and so many seconds at most: a call's worth."""
DOUBTED = 2
"""How often a call in doubt is asked for, so that it is seen to be told the same again."""
ASKED_AGAIN = 0.1
"""Share of acknowledged calls that are asked for again."""
RUNG = "rung {}\n"
KeyOf = Callable[["Intent"], str]
"""The key of a call that is about to be sent."""


@dataclass
class Intent:
    """A call that shall happen once."""

    label: str
    tool: str
    arguments: dict[str, Any]
    sends: int = 0
    answers: list[Said] = field(default_factory=list[Said])

    @property
    def doubtful(self) -> bool:
        """Whether it was told to be in doubt."""
        return bool(self.answers) and self.answers[0]["status"] == "in_doubt"


def kept(intent: Intent) -> str:
    """Each send of a call bears the same key."""
    return intent.label


def fresh(intent: Intent) -> str:
    """Each send is a call of its own: what a caller without identity does."""
    return f"{intent.label}.{intent.sends}"


def intent(number: int) -> Intent:
    """The n-th call of the stream."""
    label, lane = f"i{number}", number // KINDS % LANES
    match number % KINDS:
        case 0:
            asked = {"path": f"log{lane}", "content": f"{label}\n", "mode": "append"}
            return Intent(label, "write_file", asked)
        case 1:
            step = {"old_text": "top\n", "new_text": f"{RUNG.format(label)}top\n"}
            return Intent(label, "edit_file", {"path": f"ladder{lane}", "edits": [step]})
        case 2:
            insert = {"sql": "INSERT INTO mark VALUES (?)", "parameters": [label]}
            update = {"sql": "UPDATE counter SET n = n + 1"}
            return Intent(label, "execute_sql", {"database": "app", "statements": [update, insert]})
        case 3:
            return Intent(label, "run_command", {"command": f"echo {label} >> ran"})
        case _:
            return Intent(label, "note", {"line": label})


@dataclass
class Epoch:
    """Many lives on one journal, and all that was asked of them and answered."""

    forge: Forge
    setup: Setup
    random: Random
    key_of: KeyOf = kept
    waiting: deque[Intent] = field(default_factory=deque[Intent])
    flying: dict[str, Intent] = field(default_factory=dict[str, Intent])
    asked: list[Intent] = field(default_factory=list[Intent])

    def __post_init__(self) -> None:
        for lane in range(LANES):
            (Path(self.setup.workspace) / f"log{lane}").write_text("")
            (Path(self.setup.workspace) / f"ladder{lane}").write_text("top\n")
        (Path(self.setup.workspace) / "ran").write_text("")

    async def live(self, *, kill: bool) -> None:
        """One life: to its death, or until all that waits is answered."""
        self.waiting.extendleft(reversed(self.flying.values()))
        self.flying.clear()
        newborn = kill and self.random.random() < NEWBORN
        async with self.forge.birth(self.setup) as life, anyio.create_task_group() as tasks:
            if newborn:
                tasks.start_soon(self._kill, life, self.random.uniform(0, YOUTH))
            last = self.random.randrange(ANSWERS) if kill and not newborn else None
            try:
                await life.up()
                answered = 0
                while True:
                    await self._send_some(life, endless=kill)
                    if answered == last:
                        tasks.start_soon(self._kill, life, self.random.uniform(0, LATER))
                    if not self.flying:
                        return
                    said = await life.receive()
                    answered += 1
                    self._note(self.flying.pop(said.pop("id")), said)
            except GONE:
                if not kill:
                    raise
                tasks.cancel_scope.cancel()

    @staticmethod
    async def _kill(life: Life, seconds: float) -> None:
        await anyio.sleep(seconds)
        life.kill()

    async def _send_some(self, life: Life, *, endless: bool) -> None:
        while len(self.flying) < IN_FLIGHT and (endless or self.waiting):
            if not self.waiting:
                self.asked.append(intent(len(self.asked)))
                self.waiting.append(self.asked[-1])
            next_one = self.waiting[0]  # it stays there if the server is dead
            next_one.sends += 1
            sent = await life.send(next_one.tool, next_one.arguments, self.key_of(next_one))
            self.flying[sent] = self.waiting.popleft()

    def _note(self, answered: Intent, said: Said) -> None:
        answered.answers.append(said)
        again = answered.doubtful and len(answered.answers) < DOUBTED
        if again or self.random.random() < ASKED_AGAIN:
            self.waiting.append(answered)

    def times(self) -> dict[str, int]:
        """How often each effect is there, past any server."""
        workspace = Path(self.setup.workspace)
        lines = [(workspace.parent / "notes").read_text(), (workspace / "ran").read_text()]
        lines += [(workspace / f"log{lane}").read_text() for lane in range(LANES)]
        lines += [(workspace / f"ladder{lane}").read_text() for lane in range(LANES)]
        there = [line.removeprefix("rung ") for line in "".join(lines).splitlines()]
        db = apsw.Connection(str(workspace / "app.db"))
        there += [str(row[0]) for row in db.execute("SELECT label FROM mark")]
        assert (
            db.execute("SELECT n FROM counter").fetchall()
            == db.execute("SELECT count(*) FROM mark").fetchall()
        )
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
        found = {each.label: 0 for each in self.asked}
        for label in there:
            if label != "top":
                found[label] += 1
        return found

    def wrong(self) -> list[str]:
        """What was answered otherwise than it is, or twice not the same."""
        problems: list[str] = []
        times = self.times()
        for each in self.asked:
            told = [{**said, "disposition": None, "attempt": None} for said in each.answers]
            where = f"{each.label} ({each.tool}, sent {each.sends} times)"
            if any(said != told[0] for said in told):
                problems.append(f"{where} was told {each.answers}")
            if not told:
                problems.append(f"{where} was never answered")
                continue
            allowed = {1}
            if each.doubtful:
                allowed = {0, 1}
                error = each.answers[0]["error"]
                if each.tool != "note" or (error["code"], error["applied"]) != (
                    "UNKNOWN",
                    "unknown",
                ):
                    problems.append(f"{where} is in doubt: {error}")
            elif told[0]["status"] != "succeeded":
                problems.append(f"{where} was told {told[0]}")
            if times[each.label] not in allowed:
                problems.append(f"{where} is there {times[each.label]} times: {told}")
        return problems

    def left_behind(self) -> list[str]:
        """What lies about that should not."""
        workspace = Path(self.setup.workspace)
        files = {f"{kind}{lane}" for kind in ("ladder", "log") for lane in range(LANES)}
        strange = {entry.name for entry in workspace.iterdir()} - files - {"app.db", "ran"}
        return sorted(
            strange | {each.name for each in (Path(self.setup.state) / "instances").iterdir()}
        )


async def killed(folder: Path, random: Random, kills: int) -> dict[str, int]:
    """So many deaths; what there was to see, after all was looked at."""
    seen = {"calls": 0, "in_doubt": 0, "of_them_happened": 0, "sent_again": 0}
    async with forge() as born:
        for number in range(0, kills, EPOCH):
            epoch = Epoch(born, lay_out(folder / f"{number}"), random)
            for _ in range(min(EPOCH, kills - number)):
                await epoch.live(kill=True)
            await epoch.live(kill=False)
            assert not epoch.wrong(), "\n".join(epoch.wrong())
            assert not epoch.left_behind()
            journal = Path(epoch.setup.state) / "journal.db"
            assert not out_of_balance(journal)
            assert not broken_chain(journal)
            times = epoch.times()
            seen["calls"] += len(epoch.asked)
            seen["in_doubt"] += sum(each.doubtful for each in epoch.asked)
            seen["of_them_happened"] += sum(
                times[each.label] for each in epoch.asked if each.doubtful
            )
            seen["sent_again"] += sum(each.sends > len(each.answers) for each in epoch.asked)
    return seen


async def test_killed_at_random_moments_no_effect_is_doubled_and_no_answer_is_lost(
    tmp_path: Path,
) -> None:
    """Guard: the intent before and the outcome after each effect, `Orphans.settle`."""
    kills = rounds(fast=60, ci=1500, full=10000)
    with a_folder(tmp_path) as folder:
        seen = await killed(folder, Random(kills), kills)
    figure("kill -9 of the core at random points", kills=kills, doubled=0, lost=0, **seen)
    assert seen["sent_again"] > kills / 10, "too few deaths met a call"
    assert seen["in_doubt"] > 0


async def test_the_same_look_finds_what_is_doubled_where_keys_are_not_kept(tmp_path: Path) -> None:
    """The test above would see it."""
    with a_folder(tmp_path) as folder:
        async with forge() as born:
            epoch = Epoch(born, lay_out(folder / "fresh"), Random(1), fresh)
            for _ in range(20):
                await epoch.live(kill=True)
            await epoch.live(kill=False)
            assert any("2 times" in each for each in epoch.wrong())
