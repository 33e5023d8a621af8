"""Calls through the extension: keys, errors, rounds, cancels; what the tool said stays whole."""

from typing import Any, Literal

import anyio
import mcp_types as types
import pytest
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.server.extension import Extension
from mcp.shared.exceptions import MCPError
from tests.support.office import PNG, Office, error, said
from tests.support.place import disposition, keyed

from surefoot_server.extension import Surefoot
from surefoot_server.journal.opening import open_journal
from surefoot_server.journal.states import State
from surefoot_tools import meta

pytestmark = pytest.mark.anyio

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


@ERAS
async def test_a_key_replays_the_whole_result_and_the_tool_does_not_run_again(
    office: Office, mode: str
) -> None:
    """Guard: `Surefoot.intercept_tool_call`."""
    async with Client(office.server(), mode=mode) as client:
        first = await client.call_tool("send", {"to": "a"}, meta=keyed("k"))
        second = await client.call_tool("send", {"to": "a"}, meta=keyed("k"))
        assert (disposition(first), disposition(second)) == ("ran", "replayed")
        assert (second.meta or {})[meta.REPLAYED] is True
        assert said(first) == said(second)
        assert said(first)["content"][1] == PNG.model_dump(by_alias=True, exclude_none=True)
        assert said(first)["_meta"] == {"office/number": 7}
        assert first.structured_content == {"to": "a"}
        other = await client.call_tool("send", {"to": "b"}, meta=keyed("k"))
        assert error(other)["code"] == "INVALID_ARGUMENT"
    assert office.sent == ["a"]
    assert office.keys == ["local/k"]


async def test_a_key_outlives_the_server(office: Office) -> None:
    for expected in ("ran", "replayed"):
        async with Client(office.server()) as client:
            result = await client.call_tool("send", {"to": "a"}, meta=keyed("k"))
            assert disposition(result) == expected
    assert office.sent == ["a"]
    assert office.query("SELECT tool, state, principal FROM call") == [
        ("send", "succeeded", "local")
    ]


async def test_equal_calls_without_a_key_are_two_calls(office: Office) -> None:
    async with Client(office.server()) as client:
        for _ in range(2):
            assert disposition(await client.call_tool("send", {"to": "a"})) == "ran"
    assert office.sent == ["a", "a"]


async def test_a_lost_answer_is_replayed_with_a_note_and_repeat_runs_it_once_more(
    office: Office,
) -> None:
    """Guard: `without_repeat`; the tool itself never sees `repeat`."""
    given: list[Any] = []

    class Spy(Extension):
        """Sees what the tool gets."""

        identifier = "test/spy"

        async def intercept_tool_call(self, params: Any, ctx: Any, call_next: Any) -> Any:
            """Note the arguments."""
            given.append(params.arguments)
            return await call_next(ctx)

    surefoot = Surefoot(office.state)
    surefoot.door.exchange.tracked = True
    async with Client(office.server(surefoot, extensions=[surefoot, Spy()])) as client:
        first = await client.call_tool("send", {"to": "a"})
        surefoot.door.exchange.lost()
        second = await client.call_tool("send", {"to": "a"})
        assert disposition(second) == "replayed"
        assert said(second)["content"][:-1] == said(first)["content"]
        assert "repeat: true" in said(second)["content"][-1]["text"]
        third = await client.call_tool("send", {"to": "a", "repeat": True})
        assert (disposition(third), said(third)) == ("ran", said(first))
    assert office.sent == ["a", "a"]
    assert given == [{"to": "a"}, {"to": "a"}]


async def test_a_tool_with_an_argument_repeat_keeps_it_and_is_told_another_way(
    office: Office,
) -> None:
    """Guard: `ForeignTool.of`, `repeat_argument`."""
    surefoot = Surefoot(office.state)
    surefoot.door.exchange.tracked = True
    async with Client(office.server(surefoot)) as client:
        await client.call_tool("again", {"repeat": True})
        surefoot.door.exchange.lost()
        second = await client.call_tool("again", {"repeat": True})
        note = said(second)["content"][-1]["text"]
        assert meta.REPEAT in note
        assert "with repeat: true" not in note
        third = await client.call_tool("again", {"repeat": True}, meta={meta.REPEAT: True})
        assert disposition(third) == "ran"
    assert office.sent == ["again True", "again True"]


@ERAS
async def test_an_error_reaches_the_client_whole_also_under_its_key_again(
    office: Office, mode: str
) -> None:
    """Guard: `ForeignTool._failure` and `Outcome.failed`."""
    async with Client(office.server(), mode=mode) as client:
        first = await client.call_tool("fail", {}, meta=keyed("k"))
        assert said(first)["content"][0]["text"] == "the line is dead"
        assert (len(first.content), first.structured_content) == (2, {"why": "dead"})
        about = error(first)
        assert (about["code"], about["origin"], about["applied"]) == ("UNKNOWN", "tool", "unknown")
        second = await client.call_tool("fail", {}, meta=keyed("k"))
        assert said(second) == said(first)
        assert disposition(second) == "in_doubt"
        assert "new key" in error(second)["hint"]
    assert office.sent == ["fail"]


async def test_an_error_of_which_a_person_says_that_it_happened_is_not_the_answer_any_more(
    office: Office,
) -> None:
    """Guard: the query `resolve_call`."""
    async with Client(office.server()) as client:
        await client.call_tool("fail", {}, meta=keyed("k"))
    ((call_id,),) = office.query("SELECT call_id FROM call")
    journal = open_journal(office.state / "journal.db", state=office.state, version="0")
    assert await journal.resolve(call_id, State.SUCCEEDED, None, "it is in the log")
    journal.close()
    async with Client(office.server()) as client:
        again = await client.call_tool("fail", {}, meta=keyed("k"))
        assert "it is in the log" in error(again)["message"]
        assert error(again)["applied"] == "yes"
    assert office.sent == ["fail"]


async def test_an_error_that_was_delivered_keeps_nobody_from_another_try(office: Office) -> None:
    """Guard: `doubt._arrived`; without a key."""
    async with Client(office.server()) as client:
        for _ in range(2):
            assert disposition(await client.call_tool("fail", {})) == "ran"
    assert office.sent == ["fail", "fail"]


async def test_an_error_that_says_that_nothing_was_applied_may_come_again(office: Office) -> None:
    """And is not retried by us: guard `Execution._attempts`."""
    given = {"applied": "no", "wait": 0}
    async with Client(office.server()) as client:
        first = await client.call_tool("fail", given, meta=keyed("k"))
        assert (error(first)["code"], error(first)["applied"]) == ("UNAVAILABLE", "no")
        assert office.sent == ["fail"]
        second = await client.call_tool("fail", given, meta=keyed("k"))
        assert disposition(second) == "ran"
        assert (second.meta or {})[meta.CALL]["attempt"] == 2


async def test_an_error_of_an_idempotent_tool_stands_under_its_key(office: Office) -> None:
    async with Client(office.server()) as client:
        results = [await client.call_tool("put", {"on": False}, meta=keyed("k")) for _ in "12"]
        assert said(results[0]) == said(results[1])
        assert error(results[0])["applied"] == "unknown"
    assert office.sent == ["put"]


async def test_a_safe_tool_runs_again_under_its_key(office: Office) -> None:
    async with Client(office.server()) as client:
        results = [await client.call_tool("look", {}, meta=keyed("k")) for _ in "12"]
        assert [disposition(each) for each in results] == ["ran", "ran"]
        assert results[1].structured_content == {"result": 2}


async def test_a_round_that_asks_back_takes_no_key_yet(office: Office) -> None:
    """Guard: `ForeignTool._take`; and the SDK's seal of the state stays whole."""
    async with Client(office.server()) as client:
        call: Any = client.session.call_tool
        asked: Any = None
        for _ in "12":
            asked = await call("ask", {}, meta=keyed("k"), allow_input_required=True)
            assert isinstance(asked, types.InputRequiredResult)
        assert asked.request_state != "asked"
        answer = types.ElicitResult(action="accept", content={"sure": True})
        given: Any = {"input_responses": {"sure": answer}, "request_state": asked.request_state}
        for expected in ("ran", "replayed"):
            done = await call("ask", {}, meta=keyed("k"), **given)
            assert disposition(done) == expected
            assert said(done)["content"][0]["text"] == "sent"
        forged = {**given, "request_state": "asked"}
        with pytest.raises(MCPError):
            await call("ask", {}, meta=keyed("k2"), **forged)
    assert office.sent == ["ask"]
    assert office.query("SELECT state, result IS NULL FROM call") == [("succeeded", 0)]
    assert office.query("SELECT state FROM attempt ORDER BY number") == [
        ("failed",),
        ("failed",),
        ("succeeded",),
    ]


async def test_a_client_that_answers_what_it_is_asked_needs_no_key(office: Office) -> None:
    async def answer(
        context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        del context, params
        return types.ElicitResult(action="accept", content={"sure": True})

    async with Client(office.server(), elicitation_callback=answer) as client:
        assert said(await client.call_tool("ask", {}))["content"][0]["text"] == "sent"
    assert office.sent == ["ask"]


@ERAS
@pytest.mark.parametrize(("code", "times"), [(7, 1), (-32021, 2)])
async def test_a_protocol_error_stays_one_and_has_one_receipt(
    office: Office, mode: str, code: int, times: int
) -> None:
    """Guard: `Passed`; what a server refuses before it begins may come again."""
    async with Client(office.server(), mode=mode) as client:
        for _ in "12":
            with pytest.raises(MCPError) as raised:
                await client.call_tool("refuse", {"code": code}, meta=keyed("k"))
            assert (raised.value.error.code, raised.value.error.data) == (code, {"needs": "more"})
            assert raised.value.error.message == "not like this"
    assert office.sent == ["refuse"] * times
    assert office.query("SELECT count(*) FROM receipt") == [(2,)]


async def test_what_the_sdk_refuses_has_a_receipt(office: Office) -> None:
    """Guard: `Surefoot._enter`: the middleware."""

    class Nameless(types.RequestParams):
        """Parameters that are none of `tools/call`."""

    class Wrong(types.Request[Nameless, Literal["tools/call"]]):
        """A call of nothing."""

        method: Literal["tools/call"] = "tools/call"

    async with Client(office.server()) as client:
        with pytest.raises(MCPError):
            request: Any = Wrong(params=Nameless())
            await client.session.send_request(request, types.CallToolResult)
    assert office.query("SELECT disposition FROM receipt") == [("invalid",)]


async def test_a_cancel_reaches_the_tool_and_its_key_is_in_doubt(office: Office) -> None:
    async with Client(office.server(), mode="legacy") as client:
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                await client.call_tool("wait", {}, meta=keyed("k"))

            tasks.start_soon(call)
            await office.begun.wait()
            tasks.cancel_scope.cancel()
        await office.stopped.wait()
        await client.call_tool("wait", {}, meta=keyed("k"))  # may still join the run that ends
        again = await client.call_tool("wait", {}, meta=keyed("k"))
        assert disposition(again) == "in_doubt"
        assert error(again)["applied"] == "unknown"
    assert office.sent == ["wait"]


@ERAS
async def test_two_requests_with_one_key_share_a_run_and_progress_passes(
    office: Office, mode: str
) -> None:
    told: list[tuple[float, str | None]] = []
    seen: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        del total
        told.append((progress, message))

    async with Client(office.server(), mode=mode) as client:

        async def call() -> None:
            result = await client.call_tool("wait", {}, meta=keyed("k"), progress_callback=note)
            assert said(result)["content"][0]["text"] == "done"
            seen.append(disposition(result))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await office.begun.wait()
            tasks.start_soon(call)
            office.gate.set()
    assert sorted(seen) in (["joined", "ran"], ["ran", "replayed"])
    assert office.sent == ["wait"]
    assert told == [(1, "half")]


@pytest.mark.parametrize(("much", "kept"), [(900, True), (1100, False)])
async def test_a_large_result_is_answered_and_not_kept(
    office: Office, much: int, kept: bool
) -> None:
    """Guard: `ForeignTool.keeps`."""
    server = office.server(Surefoot(office.state, most_kept=2100))
    async with Client(server) as client:
        first = await client.call_tool("count", {"much": much}, meta=keyed("k"))
        assert first.structured_content == {"result": "x" * much}
        second = await client.call_tool("count", {"much": much}, meta=keyed("k"))
        if kept:
            assert said(second) == said(first)
        else:
            about = error(second)
            assert (about["code"], about["applied"]) == ("FAILED_PRECONDITION", "yes")
    assert office.sent == ["count"]
