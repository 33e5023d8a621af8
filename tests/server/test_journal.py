"""The journal file: who may read it, which is refused, and what if it cannot be written."""

import stat
from pathlib import Path

import anyio
import apsw
import pytest
from mcp import Client, StdioServerParameters
from tests.support.journals import begun, seen, verdict
from tests.support.place import Place, body, error, keyed

from surefoot_server.accounting import ledger
from surefoot_server.journal.clock import Clock
from surefoot_server.journal.opening import open_journal
from surefoot_server.journal.owners import Owner
from surefoot_server.journal.records import JournalUnavailable
from surefoot_server.journal.sqlite import SqliteJournal, check_sqlite

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ("3.51.2", False),
        ("3.51.3", True),
        ("3.54.1", True),
        ("3.50.6", False),
        ("3.50.7", True),
        ("3.44.5", False),
        ("3.44.6", True),
        ("3.40.1", False),
    ],
)
def test_an_sqlite_that_can_lose_commits_is_refused(version: str, good: bool) -> None:
    if good:
        check_sqlite(version)
    else:
        with pytest.raises(JournalUnavailable, match="upgrade"):
            check_sqlite(version)


async def test_the_journal_is_readable_by_its_owner_alone(place: Place) -> None:
    async with place.client() as client:
        await client.call_tool("run_command", {"command": "true"})
        files = list(place.config.state.glob("journal.db*"))
        assert files
        for file in files:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    SqliteJournal(path, version="test").close()
    db = apsw.Connection(str(path))
    db.execute("UPDATE setting SET value = 99 WHERE name = 'schema'")
    db.close()
    with pytest.raises(JournalUnavailable, match="version 99"):
        SqliteJournal(path, version="test")


def make_old(path: Path) -> None:
    """Make it a journal of version 2, which had no jobs."""
    db = apsw.Connection(str(path))
    db.execute("DROP TABLE job; UPDATE setting SET value = 2 WHERE name = 'schema'")
    db.close()


async def test_a_journal_of_version_2_is_brought_up_and_keeps_what_it_has(tmp_path: Path) -> None:
    """Guard: `UPGRADES` in `_set_up`."""
    path = tmp_path / "journal.db"
    old = SqliteJournal(path, version="test")
    call = await begun(old)
    old.close()
    make_old(path)
    for _ in range(2):
        journal = SqliteJournal(path, version="test")
        assert (await seen(journal, call)).call_id == call.call_id
        assert await journal.running_jobs() == []
        assert (await verdict(journal)).problems == []
        journal.close()


def test_a_journal_of_version_2_is_brought_up_by_who_only_reads(tmp_path: Path) -> None:
    """Guard: `_is_old`."""
    path = tmp_path / "journal.db"
    SqliteJournal(path, version="test").close()
    make_old(path)
    assert ledger(path).jobs == []


def test_the_clock_never_goes_back_and_follows_when_it_is_set_forward() -> None:
    """Guard: `Clock.__call__`."""
    wall, ticks = [1000.0], [5.0]
    clock = Clock(lambda: wall[0], lambda: ticks[0])
    assert clock() == 1000.0
    wall[0], ticks[0] = 1000.0 - 86400.0, 7.0
    assert clock() == 1002.0
    wall[0], ticks[0] = 5000.0, 8.0
    assert clock() == 5000.0
    clock.advance(6000.0)
    assert clock() == 6000.0


def test_an_owner_is_alive_until_it_closes(tmp_path: Path) -> None:
    one, other = Owner(tmp_path, "one"), Owner(tmp_path, "other")
    assert one.alive("other")
    assert one.alive("one")
    other.close()
    assert not one.alive("other")
    assert not one.alive("never")
    one.close()
    assert list(tmp_path.iterdir()) == []


def test_an_orderly_end_leaves_one_file_and_the_empty_folder_of_servers(tmp_path: Path) -> None:
    """Guard: `SqliteJournal.close`: who closes last folds the WAL in, and must be the writer."""
    open_journal(f"sqlite:///{tmp_path}/journal.db", state=tmp_path, version="test").close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["instances", "journal.db"]


async def test_without_a_journal_nothing_with_an_effect_is_begun_and_reading_goes_on(
    place: Place,
) -> None:
    """Guard: the order in `Execution.begin`; the file size limit makes the journal unwritable."""
    limited = 'ulimit -f 400; exec "$@"'
    parameters = StdioServerParameters(
        command="bash",
        args=["-c", limited, "bash", *place.command()],
        env=place.environment(),
    )
    done = 0
    with anyio.fail_after(60):
        async with Client(parameters, read_timeout_seconds=30) as client:
            while True:
                line = {"path": "log", "content": f"{done}\n", "mode": "append"}
                result = await client.call_tool("write_file", line, meta=keyed(f"k{done}"))
                if result.is_error:
                    break
                done += 1
            failed = error(result)
            shown = body(await client.call_tool("read_file", {"path": "log"}))
    assert (failed["code"], failed["origin"], failed["applied"]) == ("UNAVAILABLE", "server", "no")
    assert "journal" in failed["message"]
    assert done > 0
    assert shown["text"] == "".join(f"{number}\n" for number in range(done))
