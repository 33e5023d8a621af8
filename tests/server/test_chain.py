"""The chain of events tells any change that was not made by the journal itself."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.journals import (
    Site,
    failure,
    job_of,
    largest_file,
    new_call,
    receipt_of,
    success,
    verdict,
)

from surefoot_server.config import Retention
from surefoot_server.journal.chain import Verdict, verify
from surefoot_server.journal.memory import Memory
from surefoot_server.journal.records import Closing, Fenced, JournalUnavailable, NewCall, Row
from surefoot_server.journal.sql_journal import SqlJournal
from surefoot_server.journal.sqlite import SqliteReader
from surefoot_server.journal.states import Change, Delivery, Disposition, State, may
from surefoot_tools.errors import Applied
from surefoot_tools.jobs import JobEnd, JobState
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

TABLES = ("call", "attempt", "receipt", "job", "event", "instance")
NOT_VOUCHED_FOR = {("event", "id")}
"""The number of a row in the file says nothing but the order, and that is in `seq`."""


async def _some_history(site: Site) -> None:
    """Two servers, calls of all ends, retention, and the end of one of the servers."""
    journal, other = site.open(), site.open()
    for n, closing in enumerate((success, failure, success)):
        call = new_call(f"old-{n}", at=100.0)
        receipt = receipt_of(call)
        await journal.begin(call, receipt, durable=False)
        job = job_of(call) if n == 0 else None
        end = closing(call, receipt_id=receipt.receipt_id, answer_mac="m", job=job)
        await journal.finish(end, durable=False)
    await other.retain(Retention(results=50.0, keys=500.0), 1000.0)
    for n in range(3):
        call = new_call(f"new-{n}", at=1000.0)
        receipt = receipt_of(call)
        await other.begin(call, receipt, durable=False)
        job = job_of(call)
        await other.finish(
            success(call, receipt_id=receipt.receipt_id, answer_mac="m", job=job), durable=False
        )
        if n > 0:
            await journal.end_job(job.job_id, JobEnd(JobState.EXITED, n, None, 1002.0))
        other.deliver(receipt.receipt_id, Delivery.DELIVERED, 1001.0)
    await other.record(receipt_of(new_call(), Disposition.DENIED, call_id=None))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A journal file with some history, closed."""
    site = Site(tmp_path / "state", str(tmp_path / "journal.db"))
    anyio.run(_some_history, site)
    site.close()
    return tmp_path / "journal.db"


def look(path: Path) -> Verdict:
    reader = SqliteReader(path)
    try:
        tables = {name: reader.rows(f"all_{name}s", {}) for name in TABLES}
    finally:
        reader.close()
    events, instances = tables.pop("event"), tables.pop("instance")
    return verify(instances, events, tables)


def _altered(value: Any) -> Any:
    """The same but for one byte, or one bit of a number."""
    match value:
        case None:
            return "x"
        case str():
            return chr(ord(value[0]) ^ 1) + value[1:] if value else "x"
        case float():
            return value + 0.25
        case _:
            return value + 1


def _places(path: Path) -> Iterator[tuple[str, int, str, Any]]:
    """Each value of each row: table, place in it, column, value."""
    db = apsw.Connection(str(path))
    for table in TABLES:
        columns = [str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")]
        for place, row in enumerate(db.execute(f"SELECT * FROM {table}").fetchall()):
            for column, value in zip(columns, row, strict=True):
                if (table, column) not in NOT_VOUCHED_FOR:
                    yield table, place, column, value
    db.close()


def _change(path: Path, table: str, place: int, setting: str, values: tuple[Any, ...]) -> bool:
    """Alter or delete the row at a place; False where the table itself does not allow that."""
    db = apsw.Connection(str(path))
    keys = "call_id, number" if table == "attempt" else "rowid"
    where = f"({keys}) = (SELECT {keys} FROM {table} LIMIT 1 OFFSET {place})"
    try:
        db.execute(f"{setting} WHERE {where}", values)
    except apsw.ConstraintError:
        return False
    finally:
        db.close()
    return True


def test_a_journal_that_nobody_touched_holds(written: Path) -> None:
    found = look(written)
    assert found.problems == []
    assert found.events > 10
    assert len(found.heads) == 2


@pytest.mark.slow
def test_one_byte_changed_in_any_column_of_any_row_is_told(written: Path, tmp_path: Path) -> None:
    """Guard: `chain.row_digest` and `chain.link`."""
    copy = tmp_path / "copy.db"
    tried = missed = 0
    for table, place, column, value in _places(written):
        shutil.copyfile(written, copy)
        setting = f"UPDATE {table} SET {column} = ?"
        if not _change(copy, table, place, setting, (_altered(value),)):
            continue
        tried += 1
        if not look(copy).problems:
            missed += 1
            print("missed", table, place, column, value)
    assert tried > 200
    assert missed == 0


def test_a_row_taken_out_of_any_table_is_told(written: Path, tmp_path: Path) -> None:
    """Guard: `chain.verify`, by `seq` for events and by the digests that are left for rows."""
    copy = tmp_path / "copy.db"
    places = {(table, place) for table, place, _, _ in _places(written)}
    for table, place in sorted(places):
        shutil.copyfile(written, copy)
        assert _change(copy, table, place, f"DELETE FROM {table}", ())
        assert look(copy).problems, (table, place)


def test_an_event_or_a_row_put_in_is_told(written: Path, tmp_path: Path) -> None:
    for table in TABLES:
        copy = tmp_path / f"{table}.db"
        shutil.copyfile(written, copy)
        db = apsw.Connection(str(copy))
        columns = [str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")]
        fresh = {
            "call_id": "'x'",
            "receipt_id": "'x'",
            "instance": "'x'",
            "key": "'x'",
            "job_id": "'x'",
        }
        if table == "event":
            fresh = {"id": "max(id) + 1", "seq": "max(seq) + 1"}
        values = ", ".join(fresh.get(column, column) for column in columns)
        db.execute(f"INSERT INTO {table} SELECT {values} FROM {table} LIMIT 1")
        db.close()
        assert look(copy).problems, table


def test_two_events_that_changed_places_are_told(written: Path) -> None:
    db = apsw.Connection(str(written))
    db.execute("UPDATE event SET id = -id WHERE id > 1")
    db.close()
    assert look(written).problems


def test_a_cut_end_of_a_chain_is_told(written: Path) -> None:
    """Guard: `Chain.seal`."""
    db = apsw.Connection(str(written))
    db.execute("DELETE FROM event WHERE kind = 'end'")
    db.close()
    assert any("last events are missing" in problem for problem in look(written).problems)


ENDS: dict[str, Callable[[NewCall, int], Closing]] = {
    "finish": success,
    "fail": failure,
    "doubt": partial(failure, applied=Applied.UNKNOWN),
    "leave": lambda call, number: success(call, number, job=job_of(call)),
}
OTHER_STEPS = ["begin", "safe", "again", "take", "resolve", "deliver", "record", "retain"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*ENDS, *OTHER_STEPS, "over", "restart"]),
        st.integers(0, 5),
        st.integers(0, 1),
    ),
    max_size=40,
)


class _Life:
    """Random steps by two servers on one journal; what each sees of a call's states."""

    def __init__(self) -> None:
        self.site = Site(Path(), None, Memory())
        self.servers = [self.site.open(), self.site.open()]
        self.now = 1000.0
        self.states: dict[str, State] = {}

    async def step(self, what: str, name: int, which: int) -> None:
        self.now += 7.0
        server = self.servers[which]
        found = await server.find("local", f"key-{name}")
        call = new_call(
            f"key-{name}",
            at=self.now,
            call_id=None if found is None else found.call_id,
            effect=Effect.IDEMPOTENT,
        )
        number = 1 if found is None else found.attempts
        match what:
            case "begin":
                await server.begin(call, receipt_of(call), durable=False)
            case "safe":
                self._read(server)
            case _ if what in ENDS:
                await server.finish(ENDS[what](call, number), durable=False)
            case "again" if found is not None:
                await server.reopen(found.standing, {}, receipt_of(call), durable=False)
            case "take" if found is not None:
                await server.take_over(found.standing)
            case "resolve":
                await server.resolve(call.call_id, State.FAILED, None, "did not happen")
            case "deliver":
                await self._deliver(server, call)
            case "record":
                await server.record(receipt_of(call, Disposition.JOINED))
            case "over":
                await server.end_job(job_of(call).job_id, JobEnd(JobState.LOST))
            case "retain":
                await server.retain(Retention(results=20.0, keys=60.0), self.now)
            case "restart":
                server.close()
                self.servers[which] = self.site.open()
            case _:
                pass

    async def _deliver(self, server: SqlJournal, call: NewCall) -> None:
        for receipt in await server.query("call_receipts", {"call_id": call.call_id}):
            server.deliver(receipt["receipt_id"], Delivery.LOST, self.now)

    def _read(self, server: SqlJournal) -> None:
        call = new_call(effect=Effect.SAFE, fingerprint=None, at=self.now)
        receipt = receipt_of(call)
        server.begin_safe(call, receipt)
        server.finish_safe(success(call, receipt_id=receipt.receipt_id))
        server.deliver(receipt.receipt_id, Delivery.DELIVERED, self.now)

    async def check(self) -> None:
        server = self.servers[0]
        rows: dict[str, Row] = {r["call_id"]: r for r in await server.query("all_calls", {})}
        for call_id, row in rows.items():
            before, after = self.states.get(call_id), State(row["state"])
            assert before == after or _one_step(before, after), (before, after)
        self.states = {call_id: State(row["state"]) for call_id, row in rows.items()}


def _one_step(before: State | None, after: State) -> bool:
    # A safe call may begin and end in one step.
    return before is None or any(may(before, change, after) for change in Change)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_after_any_history_the_chain_holds_and_each_change_of_state_is_one_of_the_table(
    steps: list[tuple[str, int, int]],
) -> None:
    """Guard: `operations._check`, and `Chain.append` in each operation."""

    async def live() -> None:
        life = _Life()
        for step in steps:
            try:
                await life.step(*step)
            except Fenced:
                pass  # it is another server's call, or nobody's
            except JournalUnavailable as e:
                assert "may not go" in str(e)
            await life.check()
        found = await verdict(life.servers[0])
        assert found.problems == []
        _numbers_hold(await life.servers[0].query("all_attempts", {}))

    anyio.run(live)


def _numbers_hold(attempts: list[Row]) -> None:
    by_call: dict[str, list[int]] = {}
    for row in attempts:
        by_call.setdefault(row["call_id"], []).append(row["number"])
    assert all(numbers == [*range(1, len(numbers) + 1)] for numbers in by_call.values())


async def test_what_could_not_be_committed_leaves_no_gap_in_the_chain(tmp_path: Path) -> None:
    """Guard: `Chain.reset` in `Groups._try`; the disk is full when the transaction is written."""
    site = Site(tmp_path / "state", str(tmp_path / "journal.db"))
    journal = site.open()
    call, lost = new_call("key"), new_call("lost")
    await journal.begin(call, receipt_of(call), durable=True)
    size = tmp_path.joinpath("journal.db-wal").stat().st_size
    with largest_file(size), pytest.raises(JournalUnavailable, match="cannot be written"):
        await journal.begin(lost, receipt_of(lost), durable=True)
    await journal.finish(success(call), durable=True)
    assert [row["key"] for row in await journal.query("all_calls", {})] == ["key"]
    assert (await verdict(journal)).problems == []
    site.close()


async def test_a_row_that_is_refused_leaves_nothing_of_its_call(site: Site) -> None:
    """Guard: the savepoint in `step` of each database."""
    journal = site.open()
    call, other = new_call("key"), new_call("other")
    broken = receipt_of(call, sender_attempt=2**80)
    with pytest.raises(JournalUnavailable, match="refused a row"):
        await journal.begin(call, broken, durable=True)
    await journal.begin(other, receipt_of(other), durable=True)
    assert [row["key"] for row in await journal.query("all_calls", {})] == ["other"]
    assert (await verdict(journal)).problems == []
