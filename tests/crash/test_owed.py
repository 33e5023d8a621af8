"""What the journal could not take is told once it can; what the dead left is seen to."""

from collections.abc import Generator
from pathlib import Path

import apsw
import pytest
from tests.support.books import broken_chain, out_of_balance
from tests.support.core import Setup
from tests.support.lives import GONE, Said, a_folder, forge, lay_out, until

pytestmark = pytest.mark.anyio

TOOLS = {
    "note": {"line": "x"},
    "write_file": {"path": "f", "content": "x\n", "mode": "append"},
    "execute_sql": {"database": "app", "statements": [{"sql": "UPDATE counter SET n = n + 1"}]},
}
TWICE = 2
"""How often an outcome is tried to be recorded before it is owed."""


@pytest.fixture
def setup(tmp_path: Path) -> Generator[Setup]:
    """A workspace."""
    with a_folder(tmp_path) as folder:
        yield lay_out(folder)


def times(setup: Setup, tool: str) -> int:
    """How often the effect is there."""
    workspace = Path(setup.workspace)
    match tool:
        case "note":
            return len((workspace.parent / "notes").read_text().splitlines())
        case "write_file":
            return len((workspace / "f").read_text().splitlines())
        case _:
            db = apsw.Connection(str(workspace / "app.db"))
            ((n,),) = db.execute("SELECT n FROM counter")
            db.close()
            return n


def states(setup: Setup) -> list[str]:
    """The states of all calls with an effect."""
    db = apsw.Connection(f"{setup.state}/journal.db", flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(5000)
    found = [str(row[0]) for row in db.execute("SELECT state FROM call WHERE effect <> 'safe'")]
    db.close()
    return found


@pytest.mark.parametrize("tool", TOOLS)
async def test_an_outcome_refused_twice_is_told_to_its_key_once_the_journal_works(
    setup: Setup, tool: str
) -> None:
    """Guard: `Outcomes.pay`, asked by `Execution.recover`."""
    async with forge() as born, born.life(setup, refuses=TWICE) as life:
        first = await life.ask(tool, TOOLS[tool], "k")
        assert (first["status"], first["disposition"]) == ("succeeded", "ran")
        assert states(setup) == ["running"]
        again = await life.ask(tool, TOOLS[tool], "k")
        assert (again["status"], again["disposition"]) == ("succeeded", "replayed")
        assert again["result"] == first["result"]
        assert states(setup) == ["succeeded"]
        assert times(setup, tool) == 1
        life.kill()
        await life.died()
    assert not broken_chain(Path(setup.state) / "journal.db")
    assert not out_of_balance(Path(setup.state) / "journal.db")


@pytest.mark.parametrize("tool", TOOLS)
async def test_an_outcome_refused_once_is_recorded_at_the_second_try(
    setup: Setup, tool: str
) -> None:
    """Guard: the second try of `Outcomes.finish`."""
    async with forge() as born, born.life(setup, refuses=TWICE - 1) as life:
        assert (await life.ask(tool, TOOLS[tool], "k"))["status"] == "succeeded"
        assert states(setup) == ["succeeded"]


@pytest.mark.parametrize("tool", TOOLS)
async def test_an_owed_outcome_of_a_server_that_dies_is_found_out_or_in_doubt(
    setup: Setup, tool: str
) -> None:
    """Guard: `Execution.recover`; nothing is run again, nothing is guessed."""
    async with forge() as born:
        async with born.life(setup, refuses=TWICE) as life:
            first = await life.ask(tool, TOOLS[tool], "k")
            life.kill()
            await life.died()
        async with born.life(setup) as life:
            again = await life.ask(tool, TOOLS[tool], "k")
    if tool == "note":
        assert (again["status"], again["error"]["applied"]) == ("in_doubt", "unknown")
    else:
        assert (again["status"], again["result"]) == ("succeeded", first["result"])
    assert times(setup, tool) == 1


async def test_an_owed_outcome_is_paid_at_an_orderly_end(setup: Setup) -> None:
    """Guard: `Execution.pay` at the end of `Executor`."""
    async with forge() as born:
        async with born.life(setup, refuses=TWICE) as life:
            await life.ask("note", TOOLS["note"], "k")
        assert states(setup) == ["succeeded"]


async def quiet(setup: Setup) -> None:
    """Wait until no call is running."""
    await until(lambda: "running" not in states(setup))


@pytest.mark.parametrize("point", ["after_intent", "after_effect"])
async def test_the_next_server_finds_out_unasked_what_became_of_calls(
    setup: Setup, point: str
) -> None:
    """Guard: `Housekeeping.recover` at the start of a server."""
    asked: list[Said] = []
    async with forge() as born:
        for tool in TOOLS:
            with pytest.raises(GONE):
                async with born.life(setup) as life:
                    await life.ask(tool, TOOLS[tool], f"k/{tool}", fault=f"kill:{point}")
        async with born.life(setup) as life:
            await quiet(setup)
            asked = [await life.ask(tool, TOOLS[tool], f"k/{tool}") for tool in TOOLS]
    told = dict(zip(TOOLS, asked, strict=True))
    assert told["note"]["status"] == "in_doubt"
    assert told["write_file"]["status"] == told["execute_sql"]["status"] == "succeeded"
    assert times(setup, "write_file") == times(setup, "execute_sql") == 1
    assert not broken_chain(Path(setup.state) / "journal.db")
    assert not out_of_balance(Path(setup.state) / "journal.db")


async def test_the_next_change_of_a_file_does_not_hide_what_became_of_the_one_before_it(
    setup: Setup,
) -> None:
    """The server that makes it lived all the time, and had no reason to look into anything.

    Guard: `Orphans.before`.
    """
    async with forge() as born, born.life(setup) as other:
        with pytest.raises(GONE):
            async with born.life(setup) as life:
                await life.ask("write_file", TOOLS["write_file"], "k", fault="kill:after_effect")
        more = {**TOOLS["write_file"], "content": "y\n"}
        assert (await other.ask("write_file", more, "l"))["disposition"] == "ran"
        again = await other.ask("write_file", TOOLS["write_file"], "k")
    assert (again["status"], again["disposition"]) == ("succeeded", "replayed")
    assert (Path(setup.workspace) / "f").read_text() == "x\ny\n"


async def test_what_a_dead_server_had_spooled_is_on_record_after_the_next_start(
    setup: Setup,
) -> None:
    """Guard: `fold_dead`: safe calls and deliveries survive a `kill -9`."""
    (Path(setup.workspace) / "f").write_text("x")
    async with forge() as born:
        async with born.life(setup, fold_after=3600.0) as life:
            for _ in range(5):
                assert (await life.ask("read_file", {"path": "f"}))["status"] == "succeeded"
            life.kill()
            await life.died()
        left = list((Path(setup.state) / "instances").glob("*.spool"))
        assert sum(path.stat().st_size for path in left) > 0
        async with born.life(setup):
            pass
    db = apsw.Connection(f"{setup.state}/journal.db")
    sql = "SELECT disposition, delivery FROM receipt"
    # The last answer was read by us, but its delivery may not have been noted by the server yet.
    found = db.execute(sql).fetchall()
    assert [row[0] for row in found] == ["ran"] * 5
    assert [row[1] for row in found].count("delivered") >= 4
    assert db.execute("SELECT DISTINCT state FROM call").fetchall() == [("succeeded",)]
    db.close()
    assert not broken_chain(Path(setup.state) / "journal.db")
