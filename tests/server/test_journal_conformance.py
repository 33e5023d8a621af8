"""What every journal promises, asked of each of them: memory, SQLite, PostgreSQL.

In the order of the methods of `records.Journal`, whose docstrings are the promises.
"""

from collections import Counter

import anyio
import pytest
from tests.support.journals import (
    PRINCIPAL,
    Site,
    begun,
    failure,
    job_of,
    new_call,
    receipt_of,
    row_of,
    seen,
    success,
    verdict,
)

from surefoot_server.journal.clock import Clock
from surefoot_server.journal.records import (
    Fenced,
    Standing,
)
from surefoot_server.journal.sql_journal import SqlJournal
from surefoot_server.journal.states import State
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.jobs import JobEnd, JobState
from surefoot_tools.outcome import Error
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

RACERS = 16


async def test_a_server_that_opens_a_journal_is_not_before_what_was_written(site: Site) -> None:
    """Guard: `Clock.advance` in the opening of each journal."""
    if site.memory is not None:
        pytest.skip("servers in one memory share a process, and its clock")
    late = Clock(lambda: 9e9, lambda: 0.0)
    journal = site.open(late)
    for _ in range(3):
        await begun(journal, None)  # at another time
    early = site.open(Clock(lambda: 1000.0, lambda: 0.0))
    assert early.now() >= 9e9


async def test_find_and_look_give_the_call_as_it_began(site: Site) -> None:
    journal, other = site.open(), site.open()
    call = await begun(journal)
    found = await other.find(PRINCIPAL, "key")
    assert found is not None
    assert (found.call_id, found.state, found.owner) == (call.call_id, State.RUNNING, journal.owner)
    assert (found.attempts, found.evidence, found.begun_at) == (1, {"job": "1"}, 1000.0)
    assert found == await other.look(call.call_id)
    assert await other.find("somebody else", "key") is None
    assert await other.find(PRINCIPAL, "another key") is None
    assert await other.look("no such call") is None


async def test_a_second_begin_of_a_key_gives_the_call_that_has_it_and_writes_nothing(
    site: Site,
) -> None:
    journal, other = site.open(), site.open()
    call = await begun(journal)
    twin = new_call("key")
    found = await other.begin(twin, receipt_of(twin), durable=True)
    assert found is not None
    assert found.call_id == call.call_id
    assert len(await other.query("all_calls", {})) == 1
    assert len(await other.query("all_receipts", {})) == 1


async def test_calls_without_a_key_are_calls_of_their_own(site: Site) -> None:
    journal = site.open()
    await begun(journal, None)
    await begun(journal, None)
    assert len(await journal.query("all_calls", {})) == 2


async def test_of_many_begins_of_one_key_at_once_one_begins(site: Site) -> None:
    servers = [site.open(), site.open()]
    taken: Counter[str] = Counter()

    async def race(server: SqlJournal) -> None:
        call = new_call("key")
        found = await server.begin(call, receipt_of(call), durable=True)
        taken["begun" if found is None else "taken"] += 1

    async with anyio.create_task_group() as tasks:
        for n in range(RACERS):
            tasks.start_soon(race, servers[n % 2])
    assert taken == {"begun": 1, "taken": RACERS - 1}
    assert len(await servers[0].query("all_calls", {})) == 1


async def test_finish_ends_call_attempt_and_receipt_in_one(site: Site) -> None:
    journal = site.open()
    call = new_call("key")
    receipt = receipt_of(call)
    await journal.begin(call, receipt, durable=True)
    closing = success(call, receipt_id=receipt.receipt_id, answer_mac="m")
    await journal.finish(closing, durable=True)
    found = await seen(journal, call)
    assert (found.state, found.result, found.ended_at) == (
        State.SUCCEEDED,
        {"exit_code": 0},
        1001.0,
    )
    attempt = await row_of(journal, "attempt", call_id=call.call_id)
    assert (attempt["state"], attempt["ended_at"]) == ("succeeded", 1001.0)
    assert (await row_of(journal, "receipt", call_id=call.call_id))["answer_mac"] == "m"
    events = await journal.query("all_events", {})
    assert [event["kind"] for event in events][-1] == "finish"


async def test_a_failure_keeps_its_error_and_an_unknown_effect_is_in_doubt(site: Site) -> None:
    journal = site.open()
    failed, doubtful = await begun(journal, "failed"), await begun(journal, "doubtful")
    await journal.finish(failure(failed), durable=True)
    await journal.finish(failure(doubtful, applied=Applied.UNKNOWN), durable=True)
    found = await seen(journal, failed)
    assert (found.state, found.error) == (
        State.FAILED,
        Error(Code.UNAVAILABLE, Origin.ENVIRONMENT, Applied.NO, "it did not work"),
    )
    assert (await seen(journal, doubtful)).state is State.IN_DOUBT


async def test_an_outcome_is_told_once_and_a_second_end_changes_nothing(site: Site) -> None:
    """Guard: `ended_at IS NULL` in `close_call`."""
    journal = site.open()
    call = await begun(journal)
    await journal.finish(success(call), durable=True)
    before = await seen(journal, call)
    await journal.finish(failure(call, at=1005.0), durable=True)
    assert await seen(journal, call) == before


async def test_what_a_call_leaves_behind_begins_with_its_end_and_ends_once(site: Site) -> None:
    """Guard: `state = 'running'` in `end_job`."""
    journal, other = site.open(), site.open()
    call = await begun(journal)
    job = job_of(call)
    assert await other.running_jobs() == []
    await journal.finish(success(call, job=job), durable=True)
    await journal.finish(success(call, job=job_of(call, "again")), durable=True)  # it has ended
    assert await other.running_jobs() == [job]
    assert await other.job_end(job.job_id) is None
    end = JobEnd(JobState.STOPPED, None, "SIGTERM", 1003.0)
    ended: Counter[bool] = Counter()

    async def race(server: SqlJournal) -> None:
        ended[await server.end_job(job.job_id, end)] += 1

    async with anyio.create_task_group() as tasks:
        for n in range(RACERS):
            tasks.start_soon(race, (journal, other)[n % 2])
    assert ended == {True: 1, False: RACERS - 1}
    assert await other.job_end(job.job_id) == end
    assert not await journal.end_job("no such job", end)
    assert await journal.running_jobs() == []
    scope = {"since": 0.0, "tool": "run_command", "principal": None}
    assert await journal.query("count_jobs", scope) == [{"state": "stopped", "n": 1}]
    assert (await verdict(journal)).problems == []


async def test_who_is_not_the_owner_leaves_no_job_behind(site: Site) -> None:
    """Guard: the order in `Operations.finish`."""
    journal, other = site.open(), site.open()
    call = await begun(journal)
    assert await other.take_over((await seen(other, call)).standing)
    with pytest.raises(Fenced):
        await journal.finish(success(call, job=job_of(call)), durable=True)
    assert await other.running_jobs() == []


async def test_a_result_that_is_not_to_be_kept_is_not_kept(site: Site) -> None:
    journal = site.open()
    call = await begun(journal)
    await journal.finish(success(call, keep_result=False), durable=True)
    found = await seen(journal, call)
    assert (found.state, found.result, found.expired) == (State.SUCCEEDED, None, True)


async def test_who_is_not_the_owner_cannot_finish_a_call(site: Site) -> None:
    """Guard: `Operations._explain_fence`."""
    journal, other = site.open(), site.open()
    call = await begun(journal)
    assert await other.take_over((await seen(other, call)).standing)
    with pytest.raises(Fenced):
        await journal.finish(success(call), durable=True)
    assert (await seen(other, call)).state is State.RUNNING
    await other.finish(success(call), durable=True)
    assert (await seen(journal, call)).state is State.SUCCEEDED


async def test_another_attempt_begins_and_closes_the_one_before_in_one(site: Site) -> None:
    journal = site.open()
    call = await begun(journal)
    standing = Standing(call.call_id, State.RUNNING, journal.owner)
    number = await journal.reopen(standing, {"job": "2"}, None, closing=failure(call), durable=True)
    assert number == 2
    found = await seen(journal, call)
    assert (found.state, found.attempts, found.evidence) == (State.RUNNING, 2, {"job": "2"})
    attempts = await journal.query("all_attempts", {})
    assert [(row["number"], row["state"]) for row in attempts] == [(1, "failed"), (2, "running")]
    await journal.finish(success(call, 2), durable=True)
    assert (await seen(journal, call)).state is State.SUCCEEDED


async def test_a_failed_call_reopens_as_a_new_one_of_another_server(site: Site) -> None:
    journal, other = site.open(), site.open()
    call = await begun(journal)
    await journal.finish(failure(call), durable=True)
    receipt = receipt_of(call, sender_attempt=2)
    standing = (await seen(other, call)).standing
    assert await other.reopen(standing, {}, receipt, durable=True) == 2
    found = await seen(journal, call)
    assert (found.state, found.owner, found.error, found.ended_at) == (
        State.RUNNING,
        other.owner,
        None,
        None,
    )
    assert len(await journal.query("all_receipts", {})) == 2


async def test_a_call_reopens_only_where_it_was_seen(site: Site) -> None:
    """Guard: `reopen_call`, which holds state and owner against what was seen."""
    journal, other = site.open(), site.open()
    call = await begun(journal)
    await journal.finish(failure(call), durable=True)
    standing = (await seen(other, call)).standing
    assert await journal.reopen(standing, {}, None, durable=True) == 2
    assert await other.reopen(standing, {}, None, durable=True) is None
    wrong = Standing(call.call_id, State.RUNNING, other.owner)
    assert await other.reopen(wrong, {}, None, durable=True) is None
    assert (await seen(other, call)).attempts == 2


async def test_of_many_that_reopen_a_call_one_does(site: Site) -> None:
    servers = [site.open(), site.open()]
    call = await begun(servers[0])
    await servers[0].finish(failure(call), durable=True)
    standing = (await seen(servers[0], call)).standing
    numbers: list[int | None] = []

    async def race(server: SqlJournal) -> None:
        numbers.append(await server.reopen(standing, {}, None, durable=True))

    async with anyio.create_task_group() as tasks:
        for n in range(RACERS):
            tasks.start_soon(race, servers[n % 2])
    # The owner's own second try finds the call running, so it stands elsewhere, too.
    assert Counter(numbers) == {2: 1, None: RACERS - 1}


async def test_an_older_attempt_that_ends_late_does_not_end_the_call(site: Site) -> None:
    """Guard: `operations._close_call`; attempts of a safe call may run side by side."""
    journal = site.open()
    call = new_call("key", effect=Effect.SAFE)
    await journal.begin(call, receipt_of(call), durable=False)
    await journal.reopen((await seen(journal, call)).standing, {}, None, durable=False)
    await journal.finish(failure(call, 1), durable=False)
    assert (await seen(journal, call)).state is State.RUNNING
    await journal.finish(success(call, 2), durable=False)
    assert (await seen(journal, call)).state is State.SUCCEEDED
    attempts = await journal.query("all_attempts", {})
    assert [row["state"] for row in attempts] == ["failed", "succeeded"]


async def test_a_change_of_state_that_is_not_in_the_table_is_refused(site: Site) -> None:
    """Guard: `states.may`, asked by every operation."""
    journal = site.open()
    call = await begun(journal)
    with pytest.raises(Exception, match="may not go"):
        await journal.resolve(call.call_id, State.RUNNING, None, "never")
    with pytest.raises(Exception, match="may not go"):
        await journal.resolve(call.call_id, State.IN_DOUBT, None, "never")
    assert (await seen(journal, call)).state is State.RUNNING


async def test_the_calls_of_a_dead_server_are_orphans_and_one_takes_each_over(site: Site) -> None:
    dead = await site.let_die("begin_calls")
    servers = [site.open(), site.open()]
    mine = await begun(servers[0], "mine")
    for server in servers:
        orphans = await server.orphans()
        assert [each.key for each in orphans] == ["one", "three"]
        assert not any([await server.alive(each.owner) for each in orphans])
    assert not await servers[0].alive(dead)
    assert await servers[1].alive((await seen(servers[1], mine)).owner)
    one = (await servers[0].orphans())[0]
    won: list[bool] = []

    async def race(server: SqlJournal) -> None:
        won.append(await server.take_over(one.standing))

    async with anyio.create_task_group() as tasks:
        for n in range(RACERS):
            tasks.start_soon(race, servers[n % 2])
    assert Counter(won) == {True: 1, False: RACERS - 1}
    assert [each.key for each in await servers[1].orphans()] == ["three"]
    assert (await verdict(servers[0])).problems == []


async def test_an_owner_is_alive_until_it_closes(site: Site) -> None:
    journal, other = site.open(), site.open()
    assert await other.alive(journal.owner)
    assert await other.alive(journal.instance)
    assert await other.alive(other.owner)
    site.opened.remove(journal)
    journal.close()
    assert not await other.alive(journal.owner)
    assert not await other.alive(journal.instance)
    assert not await other.alive("never was")
