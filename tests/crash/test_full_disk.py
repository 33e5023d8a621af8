"""The journal's disk or the table of descriptors is full: nothing happens without an intent, and
no outcome of what happened is lost.

The state directory lies on a small file system in memory, filled up but for so many pages; a life
makes calls until they are refused, and is killed. What it knew is then read from the journal.
"""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.support.books import broken_chain, out_of_balance
from tests.support.core import Setup
from tests.support.lives import Forge, Said, a_folder, forge, lay_out
from tests.support.torture import figure, rounds

pytestmark = pytest.mark.anyio

PAGE = 4096
MOST = 160
"""Pages free at most: room for some calls, with a ballast of 32 pages already taken up."""
REFUSED = 3
"""Refusals after which a life has seen enough."""
CALLS = 60
"""Calls of a life at most."""


@contextmanager
def a_small_disk(at: Path) -> Generator[Path]:
    """A file system of its own in memory; skips where it cannot be mounted."""
    at.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(at)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"cannot mount a small file system (needs root): {made.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def fill(disk: Path, free: int) -> None:
    """Leave so many pages."""
    room = os.statvfs(disk)
    left = room.f_bavail * room.f_frsize - free * PAGE
    # The server may write meanwhile: then a little less is left.
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        file.write(b"\0" * max(0, left))


def notes(setup: Setup) -> Counter[str]:
    """The effects that are there."""
    path = Path(setup.workspace).parent / "notes"
    return Counter(path.read_text().splitlines() if path.exists() else [])


def calls(setup: Setup) -> dict[str, str]:
    """The state of each call by key, as the journal has it."""
    db = apsw.Connection(f"{setup.state}/journal.db")
    found = {str(key): str(state) for key, state in db.execute("SELECT key, state FROM call")}
    db.close()
    return found


async def until_refused(born: Forge, setup: Setup, disk: Path, free: int) -> dict[str, Said]:
    """What the calls of a life are told while its journal's disk fills up; then it is killed."""
    told: dict[str, Said] = {}
    async with born.life(setup, fold_after=0.01) as life:
        await life.ask("note", {"line": "first"}, "first")
        fill(disk, free)
        refused = 0
        while refused < REFUSED and len(told) < CALLS:
            key = f"k{len(told)}"
            told[key] = await life.ask("note", {"line": key}, key)
            refused += told[key]["status"] != "succeeded"
        life.kill()
        await life.died()
    (disk / "filler").unlink()
    return told


async def swept(folder: Path, sizes: range, *, ballast: bool) -> tuple[int, int, list[str]]:
    """A life for each size; effects, lives whose outcomes were saved or lost, and what is wrong."""
    effects, lost, wrong = 0, 0, list[str]()
    with a_small_disk(folder / "disk") as disk:
        async with forge() as born:
            for free in sizes:
                place = lay_out(folder / f"{free}")
                setup = replace(place, state=str(disk / f"state{free}"), ballast=ballast)
                told = await until_refused(born, setup, disk, free)
                known, there = calls(setup), notes(setup)
                effects += there.total()
                wrong += [f"{free}: {key} is there {n} times" for key, n in there.items() if n > 1]
                wrong += [f"{free}: {key} has no intent" for key in there if key not in known]
                lost += sum(known.get(key) != "succeeded" for key in there)
                for key, said in told.items():
                    happened = there[key]
                    allowed = {"yes": {1}, "no": {0}, "unknown": {0, 1}}[applied(said)]
                    if happened not in allowed:
                        wrong.append(f"{free}: {key} is there {happened} times: {said}")
                async with born.life(setup) as life:  # there is room again
                    for key, said in told.items():
                        again = await life.ask("note", {"line": key}, key)
                        if said["status"] == "succeeded" and again["result"] != said["result"]:
                            if ballast:
                                wrong.append(f"{free}: {key} was told {said}, then {again}")
                        elif said["error"] and applied(said) == "no" and again["error"]:
                            wrong.append(f"{free}: {key} could run now: {again}")
                if ballast:
                    wrong += out_of_balance(Path(setup.state) / "journal.db")
                    wrong += broken_chain(Path(setup.state) / "journal.db")
                shutil.rmtree(setup.state)
    return effects, lost, wrong


def applied(said: Said) -> str:
    """What an answer says of the effect."""
    return "yes" if said["error"] is None else said["error"]["applied"]


async def test_a_full_disk_loses_no_outcome_and_lets_nothing_happen_without_an_intent(
    tmp_path: Path,
) -> None:
    """Guard: `Ballast`, `Groups._commit_vital`, `SqliteDatabase.make_room`."""
    step = rounds(fast=16, ci=4, full=1)
    sizes = range(0, MOST, step)
    effects, lost, wrong = await swept(tmp_path, sizes, ballast=True)
    assert not wrong, "\n".join(wrong)
    figure("ENOSPC at a write of the journal", sizes=len(sizes), effects=effects, lost=lost)
    assert lost == 0


async def test_without_ballast_a_full_disk_does_lose_outcomes(tmp_path: Path) -> None:
    """The test above would see it."""
    step = rounds(fast=20, ci=4, full=1)
    _, lost, _ = await swept(tmp_path, range(0, MOST, step), ballast=False)
    figure("ENOSPC without ballast", lost=lost)
    assert lost > 0


TOOLS = ("note", "write_file", "execute_sql")


def asked(tool: str, key: str) -> dict[str, Any]:
    """The arguments of a call that can be told by its key."""
    match tool:
        case "note":
            return {"line": key}
        case "write_file":
            return {"path": "log", "content": f"{key}\n", "mode": "append"}
        case _:
            insert = {"sql": "INSERT INTO mark VALUES (?)", "parameters": [key]}
            return {"database": "app", "statements": [insert]}


def happened(setup: Setup, tool: str, key: str) -> int:
    """How often an effect is there."""
    match tool:
        case "note":
            return notes(setup)[key]
        case "write_file":
            path = Path(setup.workspace) / "log"
            return path.read_text().splitlines().count(key) if path.exists() else 0
        case _:
            db = apsw.Connection(f"{setup.workspace}/app.db")
            db.set_busy_timeout(5000)
            ((n,),) = db.execute("SELECT count(*) FROM mark WHERE label = ?", (key,))
            db.close()
            return n


async def test_a_full_table_of_descriptors_is_answered_with_what_is_there(tmp_path: Path) -> None:
    """The journal's own files are open from the start: it records when nothing can be opened.

    Guard: the first read of `SqliteJournal`.
    """
    most = rounds(fast=5, ci=24, full=24)
    told: Counter[str] = Counter()
    with a_folder(tmp_path) as folder:
        async with forge() as born:
            for more in range(most):
                setup = lay_out(folder / f"{more}")
                said: dict[tuple[str, str], Said] = {}
                async with born.life(setup, descriptors=more) as life:
                    for number in range(2):
                        for tool in TOOLS:
                            key = f"{tool}{number}"
                            said[tool, key] = await life.ask(tool, asked(tool, key), key)
                for (tool, key), each in said.items():
                    told[f"{tool}, applied={applied(each)}"] += 1
                    allowed = {"yes": {1}, "no": {0}, "unknown": {0, 1}}[applied(each)]
                    there = happened(setup, tool, key)
                    assert there in allowed, f"{more}: {key} is there {there} times: {each}"
                async with born.life(setup) as life:
                    for (tool, key), each in said.items():
                        again = await life.ask(tool, asked(tool, key), key)
                        told_same = again["error"] == each["error"] is not None
                        assert told_same or again["error"] is None, f"{more}: {each}, then {again}"
                        there = happened(setup, tool, key)
                        assert there == (again["error"] is None), f"{more}: {there}, {again}"
                assert not out_of_balance(Path(setup.state) / "journal.db")
    figure("EMFILE", limits=most, **{name.replace(", ", "_"): n for name, n in told.items()})
    assert any(name.endswith("no") for name in told)
    assert not any(name.endswith("unknown") for name in told), told


async def test_what_became_of_an_effect_is_seen_when_others_took_the_last_descriptor(
    tmp_path: Path,
) -> None:
    """Guard: `Spare.released`, `is_table_full`, asked by `Execution._look`."""
    asked = {"path": "log", "content": "x\n"}
    with a_folder(tmp_path) as folder:
        setup = lay_out(folder)
        async with forge() as born, born.life(setup, exhausts=True, descriptors=64) as life:
            said = await life.ask("write_file", asked, "k")
            life.kill()
        assert said["status"] == "succeeded", said
        assert calls(setup) == {"k": "succeeded"}
