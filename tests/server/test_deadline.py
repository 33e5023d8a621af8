"""The deadline that a caller sends: what it bounds, and what it may not be."""

import math
import time
from typing import Any

import anyio
import pytest
from tests.support.place import Place, about, disposition, error, keyed
from tests.support.scripted import Plan
from tests.support.site import a_site, quiet

from surefoot_server.incoming import DeadlineMalformed, find_deadline
from surefoot_server.journal.states import Disposition
from surefoot_server.work import MARGIN
from surefoot_tools import meta
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Status

pytestmark = pytest.mark.anyio

APPEND = {"command": "echo x >> log"}


@pytest.mark.parametrize("early", [0.0, 1.0, 1e9])
async def test_a_deadline_that_is_over_at_arrival_is_refused_and_takes_no_key(
    place: Place, early: float
) -> None:
    """Guard: `anyio.current_time() >= request.deadline` in `Executor.execute`."""
    async with place.client() as client:
        over = about(IDEMPOTENCY_KEY="k", ATTEMPT=1, DEADLINE=time.time() - early)
        late = await client.call_tool("run_command", APPEND, meta=over)
        assert (error(late)["code"], error(late)["applied"]) == ("DEADLINE_EXCEEDED", "no")
        assert error(late)["origin"] == "client"
        assert disposition(late) == "denied"
        assert not (place.workspace / "log").exists()
        other = {"command": "echo y >> log"}
        assert disposition(await client.call_tool("run_command", other, meta=keyed("k", 2))) == (
            "ran"
        )


async def test_a_deadline_to_come_lets_the_call_run(place: Place) -> None:
    async with place.client() as client:
        ran = await client.call_tool(
            "run_command", APPEND, meta=about(DEADLINE=time.time() + 600.0)
        )
    assert disposition(ran) == "ran"


@pytest.mark.parametrize("value", ["1", "soon", True, [], {}, math.nan, math.inf, -math.inf])
def test_what_is_no_number_of_seconds_is_no_deadline(value: Any) -> None:
    """Guard: `app.find_deadline`."""
    with pytest.raises(DeadlineMalformed, match="number of seconds since the epoch"):
        find_deadline({"_meta": {meta.DEADLINE: value}})


@pytest.mark.parametrize("value", ["1", True, [1]])
async def test_a_malformed_deadline_is_refused(place: Place, value: Any) -> None:
    async with place.client() as client:
        refused = await client.call_tool("run_command", APPEND, meta=about(DEADLINE=value))
    assert (error(refused)["code"], disposition(refused)) == ("INVALID_ARGUMENT", "invalid")
    assert meta.DEADLINE in error(refused)["message"]
    assert not (place.workspace / "log").exists()


async def test_no_deadline_is_for_ever() -> None:
    assert find_deadline({}) == find_deadline({"_meta": {meta.DEADLINE: None}}) == math.inf


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_deadline_bounds_the_wait_for_somebody_else_s_run(elsewhere: bool) -> None:
    """Guard: `Executor._patience`; the run goes on."""
    async with a_site() as site:
        one = await site.serve()
        other = await site.serve() if elsewhere else one
        site.world.plans.append(Plan(hang="before"))
        ran = one.send("at_most_once", key="k")
        await quiet()
        soon = anyio.current_time() + 0.05
        with anyio.fail_after(20):  # the server's own patience is 45 s
            answer = await other.call("at_most_once", key="k", deadline=soon)
        told = answer.outcome.error
        assert told is not None
        assert answer.disposition is Disposition.JOINED
        assert (told.code, told.applied, told.origin) == (
            Code.UNAVAILABLE,
            Applied.UNKNOWN,
            Origin.SERVER,
        )
        assert told.retry_after is not None
        site.world.hung()[0].released.set()
        await ran.done.wait()
        assert ran.answer is not None
        assert ran.answer.outcome.status is Status.SUCCEEDED


async def test_a_tool_is_told_to_end_in_time_for_its_answer() -> None:
    """Guard: `work._before`."""
    async with a_site() as site:
        server = await site.serve()
        at = anyio.current_time() + 60.0
        for tool in ("safe", "at_most_once"):
            await server.call(tool, key=f"{tool}-k", deadline=at)
        await server.call("at_most_once", "b")
        assert site.world.deadlines == [at - MARGIN, at - MARGIN, math.inf]


@pytest.mark.parametrize(("wait", "attempts"), [(30.0, 1), (0.0, 2)])
async def test_a_retry_that_would_come_after_the_deadline_is_not_made(
    wait: float, attempts: int
) -> None:
    """Guard: `deadline` in `retry.retrying`; the wait of 30 s alone would be sat out."""
    async with a_site() as site:
        server = await site.serve()
        busy = Plan(effect=False, code=Code.UNAVAILABLE, retry_after=wait)
        site.world.plans.append(busy)
        at = anyio.current_time() + 20.0
        answer = await server.call("at_most_once", key="k", deadline=at)
        assert answer.attempt == attempts
        assert (answer.outcome.error is None) == (attempts == 2)


async def test_the_attempts_of_one_call_share_its_deadline() -> None:
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(Plan(effect=False, code=Code.UNAVAILABLE, retry_after=0.0))
        at = anyio.current_time() + 60.0
        await server.call("at_most_once", key="k", deadline=at)
        assert site.world.deadlines == [at - MARGIN] * 2


async def test_a_request_is_answered_at_its_deadline_and_the_run_goes_on() -> None:
    """Guard: `patience` in `Executor._in_a_task`; this tool does not look at its deadline."""
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(Plan(hang="before"))
        late = await server.call("at_most_once", key="k", deadline=anyio.current_time() + 0.05)
        assert late.outcome.error is not None
        assert (late.outcome.error.code, late.outcome.error.applied) == (
            Code.UNAVAILABLE,
            Applied.UNKNOWN,
        )
        (going,) = site.world.hung()
        going.released.set()
        again = await server.call("at_most_once", key="k")
        assert again.outcome.error is None
        assert list(site.world.effects.values()) == [1]
