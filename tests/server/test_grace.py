"""What ends a run early: a cancel, a lost connection, the grace, and the server's end."""

import math

import pytest
from tests.support.scripted import Plan
from tests.support.site import Sending, Server, Site, a_site, quiet

from surefoot_server import runs
from surefoot_server.call import Answer, Connection
from surefoot_server.journal.states import Disposition
from surefoot_tools.errors import Applied, Code
from surefoot_tools.outcome import Status
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

with_effect = pytest.mark.parametrize(
    "tool", [each.value for each in Effect if each is not Effect.SAFE]
)


def told(answer: Answer | None) -> tuple[Disposition, Status]:
    """What was done about a request, and how its call ended."""
    assert answer is not None
    return answer.disposition, answer.outcome.status


async def hanging(
    site: Site, server: Server, tool: str, *, key: str | None = "k", times: int = 1
) -> list[Sending]:
    """Equal requests, each on a connection of its own; the call waits to be released."""
    site.world.plans.append(Plan(hang="before"))
    found = [server.send(tool, key=key, connection=Connection()) for _ in range(times)]
    await quiet()
    return found


async def lose(sending: Sending) -> None:
    """Its connection goes away."""
    sending.request.connection.lost = True
    sending.scope.cancel()
    await sending.done.wait()


async def cancel(sending: Sending) -> None:
    """Its caller gives it up."""
    sending.scope.cancel()
    await sending.done.wait()


def state(site: Site) -> str:
    """Of the only call."""
    ((found,),) = site.query("SELECT state FROM call")
    return found


def deliveries(site: Site) -> list[str | None]:
    """Of all receipts, sorted."""
    return sorted(found for (found,) in site.query("SELECT coalesce(delivery, '-') FROM receipt"))


@with_effect
async def test_a_keyed_run_whose_connection_is_lost_is_kept_and_joined_by_its_key(
    tool: str,
) -> None:
    """Guard: `Runs.keep`."""
    async with a_site() as site:
        server = await site.serve(grace=math.inf)
        (first,) = await hanging(site, server, tool)
        await lose(first)
        assert state(site) == "running"
        second = server.send(tool, key="k")
        await quiet()
        site.world.hung()[0].released.set()
        await second.done.wait()
        assert told(second.answer) == (Disposition.JOINED, Status.SUCCEEDED)
        assert max(site.world.effects.values()) == 1


@with_effect
async def test_a_keyed_run_whose_connection_is_lost_may_end_by_itself_within_the_grace(
    tool: str,
) -> None:
    async with a_site() as site:
        server = await site.serve(grace=math.inf)
        (first,) = await hanging(site, server, tool)
        await lose(first)
        site.world.hung()[0].released.set()
        await quiet()
        assert told(await server.call(tool, key="k")) == (Disposition.REPLAYED, Status.SUCCEEDED)


async def test_after_the_grace_a_keyed_run_is_killed_and_recorded() -> None:
    """Guard: `Runs._end_after_grace`."""
    async with a_site() as site:
        server = await site.serve(grace=0.0)
        (first,) = await hanging(site, server, "at_most_once")
        await lose(first)
        await quiet()
        assert state(site) == "failed"
        answer = await server.call("at_most_once", key="k")
        assert told(answer) == (Disposition.REPLAYED, Status.FAILED)
        error = answer.outcome.error
        assert error is not None
        assert (error.code, error.applied) == (Code.CANCELLED, Applied.YES)


async def test_whoever_joins_within_the_grace_keeps_the_run_after_it() -> None:
    """Guard: `run.waiters` in `Runs._end_after_grace`."""
    async with a_site() as site:
        server = await site.serve(grace=0.05)
        (first,) = await hanging(site, server, "at_most_once")
        await lose(first)
        second = server.send("at_most_once", key="k")
        # The grace is over when a run that it is the end of is.
        site.world.plans.append(Plan(hang="before"))
        other = server.send("at_most_once", "b", key="other", connection=Connection())
        await quiet()
        await lose(other)
        while ("failed",) not in site.query("SELECT state FROM call WHERE key = 'other'"):
            await quiet()
        site.world.runs["local/k"][0].released.set()
        await second.done.wait()
        assert told(second.answer) == (Disposition.JOINED, Status.SUCCEEDED)


@with_effect
async def test_an_unkeyed_run_whose_connection_is_lost_is_killed_at_once(tool: str) -> None:
    async with a_site() as site:
        server = await site.serve(grace=math.inf)
        (first,) = await hanging(site, server, tool, key=None)
        await lose(first)
        assert state(site) != "running"
        assert deliveries(site) == ["lost"]
        assert site.world.effects.total() == 0


@with_effect
async def test_a_cancel_ends_a_run_that_nobody_else_waits_for_at_once(tool: str) -> None:
    """Guard: `Runs._leave`."""
    async with a_site() as site:
        server = await site.serve(grace=math.inf)
        (first,) = await hanging(site, server, tool)
        await cancel(first)
        assert state(site) != "running"
        assert deliveries(site) == ["stopped"]
        assert site.world.effects.total() == 0


@with_effect
@pytest.mark.parametrize("which", [0, 1])
async def test_a_cancel_does_not_end_a_run_that_another_waits_for(tool: str, which: int) -> None:
    """Guard: `run.waiters` in `Runs.wait`."""
    async with a_site() as site:
        server = await site.serve(grace=0.0)
        both = await hanging(site, server, tool, times=2)
        await cancel(both[which])
        assert state(site) == "running"
        site.world.hung()[0].released.set()
        stays = both[1 - which]
        await stays.done.wait()
        assert stays.answer is not None
        assert stays.answer.outcome.status is Status.SUCCEEDED
        assert max(site.world.effects.values()) == 1


async def test_a_caller_of_another_server_who_has_joined_keeps_the_run() -> None:
    """Guard: `elsewhere` in `Runs._leave`."""
    async with a_site() as site:
        server, other = await site.serve(grace=0.0), await site.serve()
        (first,) = await hanging(site, server, "at_most_once")
        joined = other.send("at_most_once", key="k", connection=Connection())
        await quiet()
        await cancel(first)
        assert state(site) == "running"
        site.world.hung()[0].released.set()
        await joined.done.wait()
        assert told(joined.answer) == (Disposition.JOINED, Status.SUCCEEDED)


@with_effect
async def test_the_last_of_several_who_leaves_ends_the_run(tool: str) -> None:
    async with a_site() as site:
        server = await site.serve(grace=math.inf)
        both = await hanging(site, server, tool, times=2)
        for each in both:
            await cancel(each)
        assert state(site) != "running"


async def test_lost_connections_of_all_who_wait_leave_the_grace_to_the_run() -> None:
    async with a_site() as site:
        server = await site.serve(grace=math.inf)
        both = await hanging(site, server, "at_most_once", times=2)
        for each in both:
            await lose(each)
        assert state(site) == "running"


async def test_an_orderly_end_lets_what_has_a_key_end_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guard: `Runs.drain`."""
    monkeypatch.setattr(runs, "DRAIN", math.inf)
    async with a_site() as site:
        server = await site.serve()
        (first,) = await hanging(site, server, "at_most_once")
        site.tasks.start_soon(server.end)
        await quiet()
        site.world.hung()[0].released.set()
        await server.over.wait()
        assert told(first.answer) == (Disposition.RAN, Status.SUCCEEDED)


async def test_an_orderly_end_kills_and_records_what_does_not_end_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "DRAIN", runs.KILL)
    async with a_site() as site:
        server = await site.serve()
        await hanging(site, server, "at_most_once")
        await server.end()
        assert state(site) == "failed"


async def test_an_orderly_end_kills_what_has_no_key_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "DRAIN", math.inf)
    async with a_site() as site:
        server = await site.serve()
        await hanging(site, server, "at_most_once", key=None)
        await server.end()
        assert state(site) == "failed"


def test_an_orderly_end_takes_five_seconds_at_most() -> None:
    assert runs.DRAIN == 5.0
    assert 0 < runs.KILL < runs.DRAIN
