"""Delivery-aware doubt: what a call without a key must know of an equal one before it."""

from typing import Any

import anyio
import pytest
from tests.support.place import Place, error
from tests.support.scripted import Plan
from tests.support.site import Server, Site, a_site, gone, quiet

from surefoot_server.call import Answer
from surefoot_server.journal.states import Delivery, Disposition
from surefoot_tools.errors import Applied, Code
from surefoot_tools.outcome import Status
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

RESTING = [Effect.IDEMPOTENT, Effect.VERIFIABLE, Effect.TRANSACTIONAL, Effect.AT_MOST_ONCE]
with_effect = pytest.mark.parametrize("tool", [each.value for each in RESTING])
WINDOW = 900.0
"""Seconds for which an answer that did not arrive makes doubt."""


def told(answer: Answer | None) -> tuple[Disposition, Status]:
    """What was done about a request, and how its call ended."""
    assert answer is not None
    return answer.disposition, answer.outcome.status


def names_the_way(answer: Answer | None) -> bool:
    """Whether an answer tells how to do it once more on purpose."""
    assert answer is not None
    said = answer.outcome.error
    return "repeat: true" in (answer.note if said is None else said.hint or "")


def happened(site: Site) -> int:
    """How often any effect happened."""
    return sum(site.world.effects.values())


@with_effect
async def test_two_equal_calls_at_once_on_live_connections_are_two_calls(tool: str) -> None:
    async with a_site() as site:
        server = await site.serve()
        site.world.plans += [Plan(hang="before"), Plan(hang="after")]
        both = [server.send(tool), server.send(tool)]
        await quiet()
        for going in site.world.hung():
            going.released.set()
        for each in both:
            await each.done.wait()
            assert told(each.answer) == (Disposition.RAN, Status.SUCCEEDED)
        assert happened(site) == 2


@with_effect
async def test_an_equal_call_after_a_delivered_answer_simply_runs(tool: str) -> None:
    async with a_site() as site:
        server = await site.serve()
        for _ in range(20):
            answer = await server.call(tool)
            assert told(answer) == (Disposition.RAN, Status.SUCCEEDED)
            assert not names_the_way(answer)
        assert happened(site) == 20


@with_effect
async def test_an_answer_on_its_way_on_a_live_connection_is_no_reason_for_doubt(tool: str) -> None:
    """Guard: `doubt._may_arrive`."""
    async with a_site() as site:
        server, other = await site.serve(), await site.serve()
        await server.call(tool, delivery=None)
        assert told(await other.call(tool))[0] is Disposition.RAN
        assert happened(site) == 2


@with_effect
async def test_a_lost_answer_is_replayed_to_the_next_equal_call(tool: str) -> None:
    """Guard: `doubt.doubtful`."""
    async with a_site() as site:
        server = await site.serve()
        first = await server.call(tool, delivery=Delivery.LOST)
        second = await server.call(tool)
        assert second.replayed
        assert second.outcome == first.outcome
        assert second.call_id == first.call_id
        assert names_the_way(second)
        assert happened(site) == 1
        third = await server.call(tool)
        assert told(third) == (Disposition.RAN, Status.SUCCEEDED)


@with_effect
async def test_the_answer_of_a_server_that_died_is_replayed_to_the_next_equal_call(
    tool: str,
) -> None:
    async with a_site() as site:
        dying, server = await site.serve(), await site.serve()
        first = await dying.call(tool, delivery=None)
        await dying.crash()
        second = await server.call(tool)
        assert second.replayed
        assert second.outcome == first.outcome
        assert names_the_way(second)
        assert happened(site) == 1


@with_effect
async def test_a_lost_failure_with_effect_is_replayed_to_the_next_equal_call(tool: str) -> None:
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(Plan(code=Code.DEADLINE_EXCEEDED, applied=Applied.YES))
        await server.call(tool, delivery=Delivery.LOST)
        second = await server.call(tool)
        assert told(second) == (Disposition.REPLAYED, Status.FAILED)
        assert names_the_way(second)
        assert happened(site) == 1


@with_effect
async def test_after_a_lost_failure_without_effect_an_equal_call_runs(tool: str) -> None:
    """Guard: `doubt._had_no_effect`."""
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(Plan(effect=False, code=Code.NOT_FOUND))
        first = await server.call(tool, delivery=Delivery.LOST)
        second = await server.call(tool)
        assert told(second) == (Disposition.RAN, Status.SUCCEEDED)
        assert second.call_id != first.call_id


async def died_of(site: Site, tool: str, plan: Plan) -> Server:
    """An unkeyed call whose server died of it; another server that lived through it."""
    dying, server = await site.serve(), await site.serve()
    site.world.plans.append(plan)
    dying.send(tool)
    await quiet()
    await dying.crash()
    return server


async def test_a_call_that_still_runs_after_its_server_died_is_joined() -> None:
    async with a_site() as site:
        server = await died_of(site, "at_most_once", Plan(hang="before", survives=True))
        second = server.send("at_most_once")
        await quiet()
        site.world.hung()[0].released.set()
        await second.done.wait()
        assert told(second.answer) == (Disposition.JOINED, Status.SUCCEEDED)
        assert names_the_way(second.answer)
        assert happened(site) == 1


async def test_a_keyed_call_kept_for_its_grace_is_joined_by_an_equal_call_without_a_key() -> None:
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(Plan(hang="before"))
        connection = gone()
        connection.lost = False
        first = server.send("at_most_once", key="k", connection=connection)
        await quiet()
        connection.lost = True
        first.scope.cancel()
        await first.done.wait()
        second = server.send("at_most_once")
        await quiet()
        site.world.hung()[0].released.set()
        await second.done.wait()
        assert told(second.answer) == (Disposition.JOINED, Status.SUCCEEDED)
        assert names_the_way(second.answer)
        assert happened(site) == 1


async def test_a_call_of_which_nobody_can_tell_is_in_doubt_for_the_next_equal_one() -> None:
    async with a_site() as site:
        server = await died_of(site, "at_most_once", Plan(hang="after"))
        for _ in range(2):
            answer = await server.call("at_most_once")
            assert told(answer) == (Disposition.IN_DOUBT, Status.IN_DOUBT)
            assert names_the_way(answer)
        assert happened(site) == 1


@pytest.mark.parametrize("tool", ["verifiable", "transactional", "idempotent"])
@pytest.mark.parametrize("hang", ["before", "after"])
async def test_a_call_of_a_dead_server_that_can_be_settled_is_done_once(
    tool: str, hang: str
) -> None:
    async with a_site() as site:
        server = await died_of(site, tool, Plan(hang=hang))
        answer = await server.call(tool)
        assert answer.outcome.status is Status.SUCCEEDED
        # twice the same is once, for the idempotent
        assert happened(site) == 1 or tool == "idempotent"


@with_effect
async def test_a_call_that_completed_in_spite_of_a_cancel_is_replayed(tool: str) -> None:
    """Guard: `Executor._gone`."""
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(Plan(hang="after"))
        first = server.send(tool)
        await quiet()
        site.world.hung()[0].released.set()
        first.scope.cancel()  # both at once: what is released comes first
        await first.done.wait()
        second = await server.call(tool)
        assert second.outcome.error is None or second.disposition is not Disposition.RAN
        assert happened(site) == 1 or tool == "idempotent"


async def test_a_cancel_that_stopped_its_call_is_an_answer() -> None:
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(Plan(hang="before"))
        first = server.send("at_most_once")
        await quiet()
        first.scope.cancel()
        await first.done.wait()
        assert told(await server.call("at_most_once")) == (Disposition.RAN, Status.SUCCEEDED)


async def test_a_call_killed_because_its_connection_was_lost_is_no_answer() -> None:
    async with a_site() as site:
        server = await site.serve()
        site.world.plans.append(Plan(hang="after"))
        connection = gone()
        first = server.send("at_most_once", connection=connection)
        await quiet()
        first.scope.cancel()
        await first.done.wait()
        second = await server.call("at_most_once")
        assert told(second) == (Disposition.REPLAYED, Status.FAILED)
        assert names_the_way(second)


@with_effect
async def test_doubt_ends_after_fifteen_minutes(tool: str) -> None:
    """Guard: `since` in `Executor._unkeyed`."""
    async with a_site() as site:
        server = await site.serve()
        await server.call(tool, delivery=Delivery.LOST)
        site.at += WINDOW
        assert (await server.call(tool, delivery=Delivery.LOST)).replayed
        site.at += 0.001
        assert told(await server.call(tool))[0] is Disposition.RAN


@pytest.mark.parametrize("more", [{"label": "b"}, {"principal": "other"}])
async def test_a_lost_answer_says_nothing_of_other_calls(more: dict[str, Any]) -> None:
    async with a_site() as site:
        server = await site.serve()
        await server.call("at_most_once", delivery=Delivery.LOST)
        assert told(await server.call("at_most_once", **more))[0] is Disposition.RAN


@with_effect
async def test_repeat_runs_once_more_on_purpose_and_clears_the_doubt(tool: str) -> None:
    async with a_site() as site:
        server = await site.serve()
        first = await server.call(tool, delivery=Delivery.LOST)
        again = await server.call(tool, repeat=True)
        assert told(again) == (Disposition.RAN, Status.SUCCEEDED)
        assert again.call_id != first.call_id
        third = await server.call(tool)
        assert told(third)[0] is Disposition.RAN
        assert happened(site) == 3


async def test_the_lost_answer_of_a_repeat_is_replayed_itself() -> None:
    async with a_site() as site:
        server = await site.serve()
        await server.call("at_most_once", delivery=Delivery.LOST)
        second = await server.call("at_most_once", repeat=True, delivery=Delivery.LOST)
        third = await server.call("at_most_once")
        assert third.replayed
        assert third.call_id == second.call_id


@with_effect
async def test_repeat_has_no_meaning_under_a_key_and_is_not_in_the_fingerprint(tool: str) -> None:
    """Guard: `executor._without_repeat`."""
    async with a_site() as site:
        server = await site.serve()
        first = await server.call(tool, key="k")
        for repeat in (True, False):
            again = await server.call(tool, key="k", repeat=repeat)
            assert again.replayed
            assert again.outcome == first.outcome
        assert happened(site) == 1


async def test_repeat_is_offered_by_the_tools_with_an_effect_and_by_no_other(place: Place) -> None:
    async with place.client() as client:
        tools = (await client.list_tools()).tools
    offered = {tool.name for tool in tools if "repeat" in tool.input_schema["properties"]}
    reading = {tool.name for tool in tools if tool.annotations and tool.annotations.read_only_hint}
    assert offered == {tool.name for tool in tools} - reading
    assert offered


@pytest.mark.parametrize("value", [True, False])
async def test_repeat_is_refused_by_name_where_there_is_no_effect(
    place: Place, value: bool
) -> None:
    async with place.client() as client:
        refused = await client.call_tool("list_directory", {"path": ".", "repeat": value})
    assert error(refused)["code"] == "INVALID_ARGUMENT"
    assert "repeat" in error(refused)["message"]


async def test_a_repeat_that_is_no_boolean_is_refused_by_name(place: Place) -> None:
    async with place.client() as client:
        refused = await client.call_tool("run_command", {"command": "true", "repeat": "yes"})
    assert error(refused)["code"] == "INVALID_ARGUMENT"
    assert "repeat" in error(refused)["message"]


@with_effect
async def test_a_command_given_twice_on_purpose_at_once_from_two_servers_runs_twice(
    tool: str,
) -> None:
    async with a_site() as site:
        servers = [await site.serve(), await site.serve()]
        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(server.call, tool)
        assert happened(site) == 2
