"""A day of calls in simulated seconds: the books add up, and nothing grows.

One call a second, with failures, repeats, restarts and crashes, and a wall clock that is set
forward and back by a day; results are kept for half an hour and keys for an hour. The journal is a
real file. Its flushes are left out: what is looked at here needs none, and they would be the day.
"""

import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import anyio
import anyio.lowlevel
import apsw
import pytest
from tests.support.identity import unbalanced
from tests.support.scripted import Plan
from tests.support.scripted_tools import LeavesJob
from tests.support.site import Sending, Server, Site, a_site
from tests.support.torture import MODE, figure, rounds

from surefoot_server import accounting
from surefoot_server.config import Retention
from surefoot_server.journal.sqlite import SqliteDatabase
from surefoot_server.journal.states import Disposition
from surefoot_tools.errors import Applied, Code
from surefoot_tools.jobs import JobEnd, JobState
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

CALLS = rounds(fast=600, ci=8_000, full=86_400)
A_LIFE = rounds(fast=150, ci=1_000, full=1_000)
"""Calls, about, between two restarts."""
HOUR = 3600
DAY = 86400.0
KEPT = Retention(results=HOUR / 2, keys=HOUR)
LOOK = rounds(fast=60, ci=60, full=60)
"""Seconds between two rounds of housekeeping."""
SAMPLE = 600
"""Seconds between two looks at what the process and the journal take."""
TOLERANCE = 0.05

TOOLS = [*(each.value for each in Effect), LeavesJob.name]
OPEN_JOBS = "SELECT job_id FROM job WHERE state = 'running'"

PLANS = [
    Plan(effect=False, code=Code.NOT_FOUND),
    Plan(effect=False, code=Code.UNAVAILABLE, retry_after=0.0),
    Plan(code=Code.DEADLINE_EXCEEDED, applied=Applied.YES),
    Plan(code=Code.UNKNOWN, applied=Applied.UNKNOWN),
]


@dataclass
class Sample:
    """What is taken at a time of the day."""

    at: float
    resident: int
    descriptors: int
    journal: int


@dataclass
class Day:
    """A day of one site."""

    site: Site
    random: Random
    sent: int = 0
    begun: deque[tuple[float, str]] = field(default_factory=deque[tuple[float, str]])
    """When each call that the journal should have ended, oldest first."""
    known: deque[tuple[str, str, str]] = field(
        default_factory=lambda: deque[tuple[str, str, str]](maxlen=50)
    )
    """The last keyed calls: tool, label, key."""
    samples: list[Sample] = field(default_factory=list[Sample])
    server: Server | None = None

    @property
    def up(self) -> Server:
        """The server that is up."""
        assert self.server is not None
        return self.server

    async def go_on(self) -> None:
        """Live through the whole day."""
        await self.start()
        ends = self.random.randrange(A_LIFE // 2, A_LIFE)
        for second in range(CALLS):
            self.site.at += 1.0
            await self.call()
            if second % LOOK == 0:
                await self.keep_house()
            if second == ends:
                await self.restart()
                ends += self.random.randrange(A_LIFE // 2, A_LIFE * 3 // 2)
            if second % SAMPLE == SAMPLE - 1:
                self.sample(second)

    async def start(self) -> None:
        """Start a server; it settles what the one before it left."""
        self.server = await self.site.serve(retention=KEPT, attempts=2)
        with anyio.fail_after(30):
            while self.rows("SELECT 1 FROM call WHERE state = 'running'"):
                for going in self.site.world.hung():
                    going.released.set()
                await self.up.journal.query("last_time", {})
        await self.keep_house()

    async def call(self) -> None:
        """One request, answered."""
        if self.random.random() < 0.1:
            self.site.world.plans.append(self.random.choice(PLANS))
        tool, label, key = self.next_call()
        answer = await self.up.call(tool, label, key=key, client=self.random.choice("ab"))
        self.site.world.plans.clear()
        self.sent += 1
        assert answer.receipt_id
        if answer.disposition is Disposition.RAN:
            self.note(answer.call_id or "")

    def next_call(self) -> tuple[str, str, str | None]:
        """A new call most of the time, or one sent again."""
        draw = self.random.random()
        if self.known and draw < 0.1:
            tool, label, key = self.random.choice(self.known)
            return tool, "another" if draw < 0.02 else label, key
        tool = self.random.choice(TOOLS)
        if draw < 0.5:
            return tool, f"u{self.random.randrange(20)}", None
        self.known.append((tool, "a", f"k{self.sent}"))
        return self.known[-1]

    def note(self, call_id: str) -> None:
        """A call ended now; it may have been there before."""
        self.begun.append((self.up.journal.now(), call_id))

    async def restart(self) -> None:
        """End in order, or crash with calls under way; someone may set the clock meanwhile."""
        if self.random.random() < 0.5:
            await self.up.end()
        else:
            await self.crash()
        draw = self.random.random()
        if draw < 0.2:
            self.site.set_forward += DAY
        elif draw < 0.4:
            self.site.set_forward -= DAY
        await self.start()
        self.site.servers = [self.up]
        self.forget_the_world()
        await self.check()

    async def crash(self) -> None:
        """Die with a call of each effect under way."""
        sendings: list[Sending] = []
        for effect in Effect:
            where = self.random.choice(["before", "after"])
            self.site.world.plans.append(Plan(hang=where, survives=self.random.random() < 0.5))
            key = None if self.random.random() < 0.3 else f"k{self.sent}-{effect}"
            sendings.append(self.up.send(effect.value, f"c{self.sent}", key=key))
            with anyio.fail_after(30):
                while self.site.world.plans:
                    await anyio.lowlevel.checkpoint()
        await self.up.crash()
        for each in sendings:
            await each.done.wait()
            self.sent += 1
            assert each.answer is None

    def forget_the_world(self) -> None:
        """The scripted world would grow; intents are done by now."""
        world = self.site.world
        many = {intent: n for intent, n in world.effects.items() if n > 1}
        assert all(self.may_repeat(intent) for intent in many), many
        for each in (world.effects, world.places, world.inbox, world.runs, world.deadlines):
            each.clear()
        self.known.clear()

    def may_repeat(self, intent: str) -> bool:
        """Twice is once for what reads, and for the idempotent."""
        principal, _, key = intent.rpartition("/")
        rows = self.rows(
            "SELECT effect FROM call WHERE call_id = ? OR (principal, key) = (?, ?)",
            intent,
            principal,
            key,
        )
        return rows in ([("safe",)], [("idempotent",)], [])

    async def keep_house(self) -> None:
        """A round of retention, and whether it dropped what it should and nothing else."""
        self.end_jobs()
        await self.up.executor.housekeeping.retain()
        now = self.up.journal.now()
        await self.up.journal.query("last_time", {})  # the spool is folded
        ended = "coalesce(ended_at, begun_at)"
        late = self.rows(f"SELECT count(*) FROM call WHERE {ended} < ?", now - KEPT.keys)
        assert late == [(0,)]
        kept = self.rows(
            "SELECT count(*) FROM call WHERE result IS NOT NULL AND ended_at < ?",
            now - KEPT.results,
        )
        assert kept == [(0,)]
        gone = self.rows(
            "SELECT count(*) FROM call WHERE state = 'succeeded' AND effect <> 'safe'"
            " AND result IS NULL AND ended_at >= ?",
            now - KEPT.results,
        )
        assert gone == [(0,)]
        while self.begun and self.begun[0][0] < now - KEPT.keys:
            self.begun.popleft()
        there = {call_id for (call_id,) in self.rows("SELECT call_id FROM call")}
        missing = [(now - at, each) for at, each in self.begun if each not in there]
        assert not missing, missing

    def end_jobs(self) -> None:
        """Half of the jobs end; what had ended before is cleared away."""
        jobs = self.site.world.jobs
        for name in [name for name, job in jobs.items() if job.end is not None]:
            del jobs[name]
        for name in jobs:
            if self.random.random() < 0.5:
                self.site.world.end_job(name, JobEnd(JobState.EXITED, 0, None, self.site.at))

    async def check(self) -> None:
        """The books add up."""
        running = {name for name, job in self.site.world.jobs.items() if job.end is None}
        with anyio.fail_after(30):  # whoever waits for the end of a job records it
            while not {name for (name,) in self.rows(OPEN_JOBS)} <= running:
                await self.up.journal.query("last_time", {})
        book = accounting.ledger(self.path)
        report = await accounting.report(self.up.journal, since=0.0, tool=None, limit=5)
        wrong = unbalanced(report, book)
        assert wrong == [], wrong
        assert all(call.state != "running" for call in book.calls)

    def rows(self, sql: str, *bindings: float | str) -> list[tuple[object, ...]]:
        """Rows of the journal's file, past the server."""
        database = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return list(database.execute(sql, bindings))
        finally:
            database.close()

    @property
    def path(self) -> Path:
        """Of the journal."""
        assert self.site.path is not None
        return self.site.path

    def sample(self, second: int) -> None:
        """Look at what is taken."""
        if not sys.platform.startswith("linux"):
            return
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = [each for each in self.path.parent.rglob("*") if each.is_file()]
        self.samples.append(
            Sample(
                second,
                pages * os.sysconf("SC_PAGE_SIZE"),
                len(os.listdir("/proc/self/fd")),
                sum(each.stat().st_size for each in files),
            )
        )

    def grown(self) -> dict[str, float]:
        """By what share each is larger at its largest after the second hour than until then."""
        before = [each for each in self.samples if each.at < 2 * HOUR]
        after = [each for each in self.samples if each.at >= 2 * HOUR]
        if not after:
            return {}
        return {
            name: max(getattr(each, name) for each in after)
            / max(getattr(each, name) for each in before)
            - 1
            for name in ("resident", "descriptors", "journal")
        }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In memory where there is such a place; no transaction is flushed."""
    begin = SqliteDatabase.begin

    def unflushed(database: SqliteDatabase, *, durable: bool) -> None:
        del durable
        begin(database, durable=False)

    monkeypatch.setattr(SqliteDatabase, "begin", unflushed)
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


async def test_the_books_of_a_day_add_up_and_nothing_grows(folder: Path) -> None:
    async with a_site(folder / "journal.db") as site:
        day = Day(site, Random(3))
        await day.go_on()
        await day.check()
        grown = day.grown()
    share = {name: f"{value:+.1%}" for name, value in grown.items()}
    figure("simulated day", calls=day.sent, **share)
    if MODE == "full":
        assert all(value <= TOLERANCE for value in grown.values()), share
