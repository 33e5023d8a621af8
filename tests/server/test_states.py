"""The answers table, row by row, through the executor; and the table itself, as data."""

import pytest
from tests.support.scripted import Plan
from tests.support.site import Server, Site, a_site, quiet

from surefoot_server.call import Answer
from surefoot_server.config import Retention
from surefoot_server.journal.states import (
    ANSWERS,
    TRANSITIONS,
    Change,
    Disposition,
    Reply,
    Seen,
    State,
    may,
    reply,
)
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error, Status
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

HELD = [Effect.IDEMPOTENT, Effect.VERIFIABLE, Effect.TRANSACTIONAL, Effect.AT_MOST_ONCE]
"""The effects whose calls take a key for good."""
held = pytest.mark.parametrize("tool", [each.value for each in HELD])
DAY = 86400.0


def failed(answer: Answer) -> Error:
    """The error of an answer that is one."""
    assert answer.outcome.error is not None, answer
    return answer.outcome.error


def told(answer: Answer) -> tuple[Disposition, Status]:
    """What was done about a request, and how its call ended."""
    return answer.disposition, answer.outcome.status


async def cut_off(site: Site, tool: str, *, hang: str, survives: bool = False) -> Server:
    """A call under the key `k` whose server died; another server that lived through it."""
    dying, living = await site.serve(), await site.serve()
    site.world.plans.append(Plan(hang=hang, survives=survives))
    dying.send(tool, key="k")
    await quiet()
    await dying.crash()
    return living


@held
async def test_a_new_key_runs(tool: str) -> None:
    async with a_site() as site:
        answer = await (await site.serve()).call(tool, key="k")
        assert told(answer) == (Disposition.RAN, Status.SUCCEEDED)
        assert answer.outcome.result == {"number": 1}


@pytest.mark.parametrize("tool", [each.value for each in Effect])
@pytest.mark.parametrize("running", [False, True])
async def test_a_known_key_with_another_fingerprint_is_refused(tool: str, running: bool) -> None:
    """Guard: the row 'known, with another fingerprint' of `states.ANSWERS`."""
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(Plan(hang="before" if running else None))
        server.send(tool, "a", key="k")
        await quiet()
        runs = len(site.world.runs)
        error = failed(await server.call(tool, "b", key="k"))
        assert (error.code, error.origin, error.applied) == (
            Code.INVALID_ARGUMENT,
            Origin.CLIENT,
            Applied.NO,
        )
        assert error.message.startswith("key used for another call")
        assert len(site.world.runs) == runs


async def test_a_key_of_a_safe_call_runs_again_as_the_next_attempt() -> None:
    async with a_site() as site:
        server = await site.serve()
        first, second = [await server.call("safe", key="k") for _ in range(2)]
        assert (first.attempt, second.attempt) == (1, 2)
        assert first.call_id == second.call_id
        assert second.disposition is Disposition.RAN
        assert second.outcome.result == {"number": 2}


@held
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_key_that_runs_is_joined(tool: str, elsewhere: bool) -> None:
    """Guard: `Executor._join`, `Executor._join_elsewhere`."""
    async with a_site() as site:
        one = await site.serve()
        other = await site.serve() if elsewhere else one
        site.world.plans.append(Plan(hang="before"))
        ran, joined = one.send(tool, key="k"), other.send(tool, key="k")
        await quiet()
        (going,) = site.world.hung()
        going.released.set()
        await ran.done.wait()
        await joined.done.wait()
        assert ran.answer is not None
        assert joined.answer is not None
        assert told(ran.answer) == (Disposition.RAN, Status.SUCCEEDED)
        assert told(joined.answer) == (Disposition.JOINED, Status.SUCCEEDED)
        assert joined.answer.outcome == ran.answer.outcome
        assert max(site.world.effects.values()) == 1


@held
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_join_that_takes_too_long_is_told_so_and_the_run_goes_on(
    tool: str, elsewhere: bool
) -> None:
    """Guard: `Executor._patience`, `Executor._give_up`."""
    async with a_site() as site:
        one = await site.serve(join_wait=0.0)
        other = await site.serve(join_wait=0.0) if elsewhere else one
        site.world.plans.append(Plan(hang="before"))
        ran = one.send(tool, key="k")
        await quiet()
        answer = await other.call(tool, key="k")
        error = failed(answer)
        assert answer.disposition is Disposition.JOINED
        assert (error.code, error.applied) == (Code.UNAVAILABLE, Applied.UNKNOWN)
        assert error.retry_after is not None
        (going,) = site.world.hung()
        going.released.set()
        await ran.done.wait()
        later = await other.call(tool, key="k")
        assert told(later) == (Disposition.REPLAYED, Status.SUCCEEDED)
        assert max(site.world.effects.values()) == 1


@held
async def test_a_failure_without_effect_that_may_be_tried_again_runs_as_the_next_attempt(
    tool: str,
) -> None:
    async with a_site() as site:
        server = await site.serve(attempts=1)
        site.world.plans.append(Plan(effect=False, code=Code.UNAVAILABLE, retry_after=0.0))
        first = await server.call(tool, key="k")
        assert (failed(first).applied, first.attempt) == (Applied.NO, 1)
        second = await server.call(tool, key="k")
        assert told(second) == (Disposition.RAN, Status.SUCCEEDED)
        assert (second.attempt, second.call_id) == (2, first.call_id)


@held
async def test_a_success_is_replayed(tool: str) -> None:
    async with a_site() as site:
        server, other = await site.serve(), await site.serve()
        first = await server.call(tool, key="k")
        for each in (server, other):
            again = await each.call(tool, key="k")
            assert again.replayed
            assert (again.outcome, again.text) == (first.outcome, first.text)
        assert max(site.world.effects.values()) == 1


@held
@pytest.mark.parametrize(
    "plan",
    [
        Plan(effect=False, code=Code.NOT_FOUND),
        Plan(code=Code.DEADLINE_EXCEEDED, applied=Applied.YES),
    ],
)
async def test_a_final_failure_is_replayed(tool: str, plan: Plan) -> None:
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(plan)
        first = await server.call(tool, key="k")
        again = await server.call(tool, key="k")
        assert told(again) == (Disposition.REPLAYED, Status.FAILED)
        assert again.outcome == first.outcome
        assert sum(map(len, site.world.runs.values())) == 1


@pytest.mark.parametrize("hang", ["before", "after"])
async def test_an_idempotent_call_of_a_dead_server_runs_again(hang: str) -> None:
    async with a_site() as site:
        server = await cut_off(site, "idempotent", hang=hang)
        answer = await server.call("idempotent", key="k")
        assert told(answer) == (Disposition.RAN, Status.SUCCEEDED)
        assert answer.attempt == 2


async def test_a_verifiable_call_of_a_dead_server_whose_state_is_as_after_has_succeeded() -> None:
    async with a_site() as site:
        server = await cut_off(site, "verifiable", hang="after")
        answer = await server.call("verifiable", key="k")
        assert told(answer) == (Disposition.REPLAYED, Status.SUCCEEDED)
        assert answer.outcome.result == {"number": 1}


async def test_a_verifiable_call_of_a_dead_server_whose_state_is_as_before_runs() -> None:
    async with a_site() as site:
        server = await cut_off(site, "verifiable", hang="before")
        answer = await server.call("verifiable", key="k")
        assert told(answer) == (Disposition.RAN, Status.SUCCEEDED)
        assert (answer.attempt, site.world.effects) == (2, {"local/k": 1})


@pytest.mark.parametrize("hang", ["before", "after"])
async def test_a_verifiable_call_of_a_dead_server_over_which_another_wrote_is_in_doubt(
    hang: str,
) -> None:
    async with a_site() as site:
        server = await cut_off(site, "verifiable", hang=hang)
        site.world.places["local/k"] = "of a stranger"
        answer = await server.call("verifiable", key="k")
        assert told(answer) == (Disposition.IN_DOUBT, Status.IN_DOUBT)
        assert failed(answer).code is Code.UNKNOWN


@pytest.mark.parametrize("hang", ["before", "after"])
async def test_a_transaction_of_a_dead_server_runs_again_and_commits_once(hang: str) -> None:
    async with a_site() as site:
        server = await cut_off(site, "transactional", hang=hang)
        answer = await server.call("transactional", key="k")
        assert told(answer) == (Disposition.RAN, Status.SUCCEEDED)
        assert (answer.attempt, site.world.effects) == (2, {"local/k": 1})


async def test_a_command_of_a_dead_server_that_finished_is_answered_from_its_own_record() -> None:
    async with a_site() as site:
        server = await cut_off(site, "at_most_once", hang="before", survives=True)
        site.world.hung()[0].released.set()
        answer = await server.call("at_most_once", key="k")
        assert told(answer) == (Disposition.REPLAYED, Status.SUCCEEDED)
        assert answer.outcome.result == {"number": 1}


async def test_a_command_of_a_dead_server_that_still_runs_is_adopted_and_joined() -> None:
    async with a_site() as site:
        server = await cut_off(site, "at_most_once", hang="before", survives=True)
        adopts, joins = (server.send("at_most_once", key="k") for _ in range(2))
        await quiet()
        site.world.hung()[0].released.set()
        await adopts.done.wait()
        await joins.done.wait()
        for each in (adopts, joins):
            assert each.answer is not None
            assert told(each.answer) == (Disposition.JOINED, Status.SUCCEEDED)
            assert each.answer.outcome.result == {"number": 1}


async def test_a_command_of_a_dead_server_without_a_record_is_in_doubt() -> None:
    async with a_site() as site:
        server = await cut_off(site, "at_most_once", hang="after")
        answer = await server.call("at_most_once", key="k")
        assert told(answer) == (Disposition.IN_DOUBT, Status.IN_DOUBT)
        assert sum(map(len, site.world.runs.values())) == 1


async def doubted(site: Site) -> tuple[Server, Answer]:
    """A call under the key `k` that is in doubt."""
    server = await cut_off(site, "at_most_once", hang="after")
    return server, await server.call("at_most_once", key="k")


async def test_a_key_in_doubt_says_since_when_and_what_is_known_and_the_ways_out() -> None:
    """Guard: `answers.in_doubt`."""
    async with a_site() as site:
        server, first = await doubted(site)
        site.at += 1000
        again = await server.call("at_most_once", key="k")
        assert again.disposition is Disposition.IN_DOUBT
        assert again.outcome == first.outcome
        error = failed(again)
        assert (error.code, error.applied) == (Code.UNKNOWN, Applied.UNKNOWN)
        assert "its record is cut off" in error.message
        assert "2027-01-15T08:00:00Z" in error.message
        for way_out in ("new key", "repeat: true", "surefoot journal resolve k"):
            assert way_out in (error.hint or "")
        assert sum(map(len, site.world.runs.values())) == 1


async def test_a_call_in_doubt_that_happened_as_a_person_says_is_done() -> None:
    async with a_site() as site:
        server, first = await doubted(site)
        said = "happened: I looked"
        assert await server.journal.resolve(first.call_id or "", State.SUCCEEDED, None, said)
        again = await server.call("at_most_once", key="k")
        error = failed(again)
        assert (error.code, error.applied) == (Code.FAILED_PRECONDITION, Applied.YES)
        assert said in error.message
        assert again.replayed
        assert site.verify().problems == []


async def test_a_call_in_doubt_that_did_not_happen_as_a_person_says_runs_again() -> None:
    async with a_site() as site:
        server, first = await doubted(site)
        error = Error(Code.ABORTED, Origin.CLIENT, Applied.NO, "did not happen", retry_after=0.0)
        assert await server.journal.resolve(first.call_id or "", State.FAILED, error, "no")
        again = await server.call("at_most_once", key="k")
        assert told(again) == (Disposition.RAN, Status.SUCCEEDED)
        assert (again.call_id, again.attempt) == (first.call_id, 2)
        assert site.verify().problems == []


async def test_only_a_call_in_doubt_can_be_resolved() -> None:
    async with a_site() as site:
        server = await site.serve()
        done = await server.call("at_most_once", key="k")
        assert not await server.journal.resolve(done.call_id or "", State.SUCCEEDED, None, "so")


@held
async def test_a_call_whose_result_expired_is_known_to_be_done_until_it_is_forgotten(
    tool: str,
) -> None:
    """Guard: the row 'ended, its result not kept' of `states.ANSWERS`; `forget_calls`."""
    async with a_site() as site:
        server = await site.serve(retention=Retention(results=7 * DAY, keys=90 * DAY))
        await server.call(tool, key="k")
        site.at += 7 * DAY
        await server.executor.housekeeping.retain()
        assert (await server.call(tool, key="k")).outcome.status is Status.SUCCEEDED
        site.at += 1
        await server.executor.housekeeping.retain()
        gone = await server.call(tool, key="k")
        error = failed(gone)
        assert (error.code, error.applied) == (Code.FAILED_PRECONDITION, Applied.YES)
        assert error.message == "done at 2027-01-15T08:00:00Z, result no longer kept"
        assert gone.replayed
        site.at += 83 * DAY - 1
        await server.executor.housekeeping.retain()
        assert failed(await server.call(tool, key="k")).code is Code.FAILED_PRECONDITION
        site.at += 1
        await server.executor.housekeeping.retain()
        anew = await server.call(tool, key="k")
        assert told(anew) == (Disposition.RAN, Status.SUCCEEDED)
        assert anew.attempt == 1
        assert site.verify().problems == []


async def test_a_failure_does_not_expire_before_its_key_is_forgotten() -> None:
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(Plan(effect=False, code=Code.NOT_FOUND))
        first = await server.call("at_most_once", key="k")
        site.at += 30 * DAY
        await server.executor.housekeeping.retain()
        assert (await server.call("at_most_once", key="k")).outcome == first.outcome


def every_seen() -> list[Seen]:
    """Every combination of what can be seen."""
    answers = (False, True)
    return [
        Seen(known, same, effect, state, alive, again, expired)
        for known in answers
        for same in answers
        for effect in Effect
        for state in State
        for alive in answers
        for again in answers
        for expired in answers
    ]


def test_every_row_of_the_answers_table_is_reached_and_every_sight_has_one() -> None:
    first = {next(n for n, row in enumerate(ANSWERS) if row.holds(seen)) for seen in every_seen()}
    assert first == set(range(len(ANSWERS)))


def test_nothing_runs_again_under_a_key_of_another_call_or_beside_a_live_run() -> None:
    for seen in every_seen():
        if seen.known and not seen.same:
            assert reply(seen) is Reply.CONFLICT
        elif seen.known and seen.effect is not Effect.SAFE and seen.state is State.RUNNING:
            assert reply(seen) is (Reply.JOIN if seen.alive else Reply.RECOVER)


def test_no_change_of_state_ends_a_success_with_an_effect_but_by_forgetting() -> None:
    after = [each for each in TRANSITIONS if each.before is State.SUCCEEDED]
    assert [(each.change, each.when) for each in after] == [(Change.AGAIN, "it is safe")]
    assert not may(State.SUCCEEDED, Change.FINISH, State.FAILED)
    assert not may(State.FAILED, Change.RESOLVE, State.SUCCEEDED)
