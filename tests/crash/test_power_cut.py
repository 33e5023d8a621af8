"""The power is cut: whatever was answered is on record, and the effect is there.

Servers write to a file system in an image file; acknowledgements are kept outside of it. At a cut
the server is killed and the image is copied as it is: what was never flushed is gone in the copy.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import anyio
import apsw
import pytest
from tests.support.core import Setup
from tests.support.lives import GONE, Forge, Life, Said, forge, lay_out
from tests.support.loop_image import LoopImage, a_loop_image
from tests.support.torture import figure, rounds

pytestmark = pytest.mark.anyio

IN_FLIGHT = 4
ANSWERS = 12
"""Answers between two cuts, at most."""
LATER = 0.01
"""Seconds from the last of them to the cut, at most."""


def asked(number: int) -> tuple[str, dict[str, Any]]:
    """The n-th call: a note, a file, or rows."""
    label = f"k{number}"
    match number % 3:
        case 0:
            return "note", {"line": label}
        case 1:
            return "write_file", {"path": label, "content": label}
        case _:
            insert = {"sql": "INSERT INTO mark VALUES (?)", "parameters": [label]}
            return "execute_sql", {"database": "app", "statements": [insert]}


@dataclass
class Cuts:
    """Lives on one image, what they acknowledged, and what cuts would have left of it."""

    image: LoopImage
    setup: Setup
    random: Random
    told: dict[str, Said] = field(default_factory=dict[str, Said])
    """Acknowledged answers by key; kept here, outside of the image."""
    lost: list[str] = field(default_factory=list[str])
    asked: int = 0

    async def live_and_cut(self, born: Forge) -> None:
        """One life up to a cut, and the look at what the cut would have left."""
        async with born.life(self.setup) as life, anyio.create_task_group() as tasks:
            last, answered = self.random.randint(1, ANSWERS), 0
            try:
                for _ in range(IN_FLIGHT):
                    await self._send(life)
                while True:
                    said = await life.receive()
                    self.told[said["id"].split("/")[0]] = said
                    answered += 1
                    if answered == last:
                        tasks.start_soon(self._cut, life, self.random.uniform(0, LATER))
                    await self._send(life)
            except GONE:
                tasks.cancel_scope.cancel()
        with self.image.after_a_cut() as left:
            self.lost += self._missing(left)

    @staticmethod
    async def _cut(life: Life, seconds: float) -> None:
        await anyio.sleep(seconds)
        life.kill()

    async def _send(self, life: Life) -> None:
        tool, arguments = asked(self.asked)
        await life.send(tool, arguments, f"k{self.asked}")
        self.asked += 1

    def _missing(self, left: Path) -> list[str]:
        """What was acknowledged, and is not on record or has no effect in what a cut left."""
        try:
            records = _records(left / "place" / "state" / "journal.db")
        except apsw.Error as e:
            return [f"the journal cannot be read: {e}"]
        workspace = left / "place" / "workspace"
        db = apsw.Connection(str(workspace / "app.db"))
        rows = Counter(str(row[0]) for row in db.execute("SELECT label FROM mark"))
        db.close()
        missing: list[str] = []
        for key, said in self.told.items():
            number = int(key.removeprefix("k"))
            if said["status"] != "succeeded" or records.get(key) != "succeeded":
                missing.append(f"{key} was told {said['status']}, recorded: {records.get(key)}")
            elif number % 3 == 1 and (workspace / key).read_text() != key:
                missing.append(f"{key}: its file does not hold it")
            elif number % 3 == 2 and rows[key] != 1:
                missing.append(f"{key}: its rows are there {rows[key]} times")
        return missing


def _records(journal: Path) -> dict[str, str]:
    """The state of each call by key."""
    if not journal.exists():
        return {}
    db = apsw.Connection(str(journal))
    found = {str(key): str(state) for key, state in db.execute("SELECT key, state FROM call")}
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    return found


async def cut(folder: Path, cuts: int, *, flushes: bool) -> Cuts:
    """So many cuts of servers that flush, or that do not."""
    with a_loop_image(folder) as image:
        setup = lay_out(image.at / "place")
        subject = Cuts(image, Setup(setup.state, setup.workspace, flushes=flushes), Random(cuts))
        async with forge() as born:
            async with born.life(subject.setup):
                pass  # whatever is older than the first call is on the device
            image.sync()
            for _ in range(cuts):
                await subject.live_and_cut(born)
    return subject


async def test_after_a_power_cut_each_acknowledged_call_is_on_record(tmp_path: Path) -> None:
    """Guard: `durable` of `SqliteDatabase.begin`, the flushes of `Staged`."""
    cuts = rounds(fast=3, ci=40, full=300)
    subject = await cut(tmp_path, cuts, flushes=True)
    figure("power cuts", cuts=cuts, acknowledged=len(subject.told), without=len(subject.lost))
    assert subject.told
    assert not subject.lost, "\n".join(subject.lost)


async def test_without_flushes_a_power_cut_takes_acknowledged_calls(tmp_path: Path) -> None:
    """The test above would see it: this is what `synchronous=NORMAL` is worth."""
    cuts = rounds(fast=2, ci=5, full=20)
    subject = await cut(tmp_path, cuts, flushes=False)
    figure("power cuts, NORMAL", acknowledged=len(subject.told), without=len(subject.lost))
    assert subject.lost
