"""Jobs in the books: a row that begins with the end of its call and ends once, whoever dies."""

import json
from random import Random

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.identity import unbalanced
from tests.support.scripted import Plan, World
from tests.support.scripted_tools import LeavesJob, Records
from tests.support.site import Site, a_site, quiet, request

from surefoot_server.accounting import ledger_of, report
from surefoot_server.call import Request, answer_mac
from surefoot_server.executor import Executor
from surefoot_server.failure_report import FailureReport
from surefoot_server.faults import Faults
from surefoot_server.journal.memory import Memory, MemoryJournal
from surefoot_server.journal.states import Disposition
from surefoot_server.policy import Policy
from surefoot_tools.errors import Applied, Code
from surefoot_tools.jobs import JobEnd, JobState
from surefoot_tools.registry import Registry

pytestmark = pytest.mark.anyio

EXITED = JobEnd(JobState.EXITED, 3, None, 2e9)


def rows(site: Site) -> list[tuple[str, int | None, str | None]]:
    """State, exit code and signal of each job in the journal."""
    found = site.query("SELECT state, exit_code, signal FROM job ORDER BY begun_at, job_id")
    return [(str(state), code, name) for state, code, name in found]


def kinds(site: Site, table: str) -> list[str]:
    """What kinds of events wrote rows of a table, oldest first."""
    found = site.query("SELECT kind, rows FROM event ORDER BY id")
    return [kind for kind, names in found if any(n.startswith(table) for n in json.loads(names))]


async def test_the_row_of_a_job_begins_in_one_with_the_end_of_its_call() -> None:
    """Guard: `Operations.finish`."""
    async with a_site() as site:
        server = await site.serve()
        await server.call("leaves_job", key="k")
        await server.call("at_most_once", key="l")
        assert rows(site) == [("running", None, None)]
        assert kinds(site, "job/") == ["finish"]
        [(call, begun)] = site.query("SELECT call_id, begun_at FROM job")
        assert site.query("SELECT ended_at FROM call WHERE call_id = :c", c=call) == [(begun,)]
        assert site.verify().problems == []


async def test_the_end_of_a_job_is_recorded_at_once_and_by_one_of_two_servers() -> None:
    """Guard: `JobRows._wait`; `state = 'running'` in `end_job`."""
    async with a_site() as site:
        one = await site.serve()
        await one.call("leaves_job", key="k")
        await site.serve()  # it finds the job, and waits for it, too
        site.world.end_job("local/k", EXITED)
        await quiet()
        assert rows(site) == [("exited", 3, None)]
        assert site.query("SELECT ended_at FROM job") == [(2e9,)]
        assert kinds(site, "job/") == ["finish", "job ended"]
        assert site.world.looked >= 3
        assert site.verify().problems == []


async def test_a_job_that_ended_while_nobody_looked_is_settled_at_the_next_start() -> None:
    """Guard: `JobRows.settle` in `Housekeeping._round`."""
    async with a_site() as site:
        server = await site.serve()
        for key in "abc":
            await server.call("leaves_job", key=key)
        await server.crash()
        site.world.end_job("local/a", JobEnd(JobState.STOPPED, None, "SIGKILL", 1.0))
        del site.world.jobs["local/b"]  # cleared away
        await site.serve()
        stopped, lost, running = rows(site)
        assert (stopped, lost) == (("stopped", None, "SIGKILL"), ("lost", None, None))
        assert running == ("running", None, None)
        # On another clock it ended before it began.
        assert site.query("SELECT count(*) FROM job WHERE ended_at < begun_at") == [(0,)]


async def test_a_job_is_recorded_of_a_call_whose_server_died_before_it_could() -> None:
    """Guard: `Orphans._record`."""
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(Plan(hang="after", survives=True))
        sending = server.send("leaves_job", key="k")
        await quiet()
        await server.crash()
        await sending.done.wait()
        site.world.runs["local/k"][0].released.set()
        again = await site.serve()
        assert rows(site) == [("running", None, None)]
        site.world.end_job("local/k", EXITED)
        await quiet()
        assert rows(site) == [("exited", 3, None)]
        assert (await again.call("leaves_job", key="k")).disposition is Disposition.REPLAYED


async def test_an_answer_that_names_a_job_is_told_again_as_the_job_is_now() -> None:
    """Guard: `JobRows.refreshed` in `work.stored`."""
    async with a_site() as site:
        server = await site.serve()
        first = await server.call("leaves_job", key="k")
        assert first.text == "job local/k is running"
        site.world.end_job("local/k", EXITED)
        again = await server.call("leaves_job", key="k", sender_attempt=2)
        assert (again.text, again.replayed) == ("job local/k is exited", True)
        told = site.query("SELECT answer_mac FROM receipt WHERE sender_attempt = 2")
        assert told == [(answer_mac(server.journal.secret, again.outcome),)]
        await quiet()
        site.world.jobs.clear()  # only the journal knows by now
        assert (await server.call("leaves_job", key="k")).text == "job local/k is exited"


async def test_an_equal_call_without_a_key_is_told_of_the_lost_answer_as_the_job_is_now() -> None:
    async with a_site() as site:
        server = await site.serve()
        first = await server.call("leaves_job", delivery=None)
        await server.crash()
        site.world.end_job(str(first.call_id), EXITED)
        other = await site.serve()
        answer = await other.call("leaves_job")
        assert answer.disposition is Disposition.REPLAYED
        assert answer.text.endswith("is exited")
        assert len(rows(site)) == 1


async def test_a_job_in_a_place_that_a_server_has_not_is_left_to_others() -> None:
    """Guard: the look at the place in `JobRows.settle`."""
    async with a_site() as site:
        server = await site.serve()
        await server.call("leaves_job", key="k")
        await server.crash()
        site.world.jobs.clear()
        memory, world = site.memory, World()
        tool = LeavesJob(world, set())
        tool.records = Records(world, "elsewhere")
        journal = MemoryJournal(memory)
        async with executor(journal, tool) as elsewhere:
            await elsewhere.housekeeping.retain()
            await quiet()
        assert world.looked == 0
        assert rows(site) == [("running", None, None)]
        await site.serve()
        assert rows(site) == [("lost", None, None)]


def executor(journal: MemoryJournal, tool: LeavesJob) -> Executor:
    """A server with this tool and the failure report."""
    return Executor(
        Registry([tool, FailureReport(journal)]),
        journal,
        roots=[],
        policy=Policy(),
        faults=Faults(),
        random=Random(1),
    )


class Silent(Records):
    """Records of jobs whose ends nobody is woken for."""

    async def wait(self, job: str) -> None:
        """For ever."""
        await anyio.sleep_forever()


async def test_a_report_looks_at_jobs_first() -> None:
    """Guard: `JobRows.settle` in `Execution._attempt`."""
    world, journal = World(), MemoryJournal(Memory())
    tool = LeavesJob(world, set())
    tool.records = Silent(world)
    async with executor(journal, tool) as server:
        for key in "ab":
            await server.execute(request("leaves_job", key=key))
        world.end_job("local/a", EXITED)
        answer = await server.execute(Request(tool="failure_report", arguments={}))
    assert answer.outcome.result is not None
    counts = {"jobs": 2, "exited": 1, "timed_out": 0, "stopped": 0, "lost": 0, "running": 1}
    assert answer.outcome.result["jobs"] == counts
    assert "2 jobs: 1 exited, 0 timed out, 0 stopped, 0 lost, 1 running" in answer.text


async def test_what_a_tool_declares_secret_is_not_stored() -> None:
    """Guard: `Register._stored`."""
    async with a_site() as site:
        server = await site.serve()
        await server.call("leaves_job", "hunter2", key="k")
        assert site.query("SELECT arguments FROM call") == [('{"label": "[redacted]"}',)]


ENDS = (JobState.EXITED, JobState.TIMED_OUT, JobState.STOPPED)
DOINGS = ("call", "call", "fail", "doom", "end", "end", "clear", "crash", "join")


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, str | None, int]]:
    """What happens: what it is, under which key, and a number that chooses."""
    step = st.tuples(
        st.sampled_from(DOINGS), st.sampled_from([None, "a", "b", "c"]), st.integers(0, 5)
    )
    return draw(st.lists(step, max_size=20))


async def happen(site: Site, doing: str, key: str | None, number: int) -> None:
    """One thing of a history; at least one server is up before and after."""
    up = [each for each in site.servers if not each.over.is_set()]
    server, world = up[number % len(up)], site.world
    names = sorted(world.jobs)
    match doing:
        case "call":
            await server.call("leaves_job", str(number), key=key)
        case "fail":
            world.plans.append(Plan(code=Code.DEADLINE_EXCEEDED, applied=Applied.YES))
            await server.call("leaves_job", str(number), key=key)
            world.plans.clear()
        case "doom":
            world.plans.append(Plan(hang="after", survives=number % 2 == 0))
            sending = server.send("leaves_job", "doomed", key=key)
            await quiet()
            world.plans.clear()
            await server.crash()
            await sending.done.wait()
            for going in world.hung():
                going.released.set()
        case "end" if names:
            world.end_job(names[number % len(names)], JobEnd(ENDS[number % 3], at=site.at))
        case "clear" if names:
            world.jobs.pop(names[number % len(names)]).over.set()
        case "crash":
            await server.crash()
        case _:
            pass
    if (doing == "join" and len(up) < 3) or all(each.over.is_set() for each in site.servers):
        await site.serve()


async def check(site: Site) -> None:
    """Every job is in the books once, and stands there as it does in the world."""
    await quiet()
    server = await site.serve()  # its first round finds what those that died have left
    execute = site.memory.database.execute
    book = ledger_of(b"", lambda name: execute(name, {}))
    found = await report(server.journal, since=0.0, tool=None, limit=5)
    assert unbalanced(found, book) == []
    won = {each.call_id for each in book.calls if each.state == "succeeded"}
    assert {each.call_id for each in book.jobs} == won
    assert len(book.jobs) == len(won)
    for job in book.jobs:
        there = site.world.jobs.get(job.job_id)
        assert (job.state == "running") == (job.ended_at is None)
        if there is None:
            assert job.state != "running"
        else:
            assert job.state == ("running" if there.end is None else there.end.state)
    ends = [kind for kind in kinds(site, "job/") if kind == "job ended"]
    assert len(ends) == sum(each.state != "running" for each in book.jobs)
    assert site.verify().problems == []


async def live(history: list[tuple[str, str | None, int]]) -> None:
    """Live through a history."""
    async with a_site() as site:
        await site.serve()
        for doing, key, number in history:
            site.at += 1
            await happen(site, doing, key, number)
        await check(site)


@settings(max_examples=40, deadline=None)
@given(history=histories())
def test_the_books_of_jobs_add_up_over_any_history_of_ends_and_crashes(
    history: list[tuple[str, str | None, int]],
) -> None:
    anyio.run(live, history)
