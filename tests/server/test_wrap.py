"""The proxy: what passes through it unchanged, and what of a call it keeps, repeats or refuses."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from tests.support.behind import Behind, told
from tests.support.until import until

from surefoot_server.wrap import upstream
from surefoot_server.wrap.child import Child
from surefoot_tools import meta

pytestmark = pytest.mark.anyio

REQUESTS: list[tuple[str, dict[str, Any] | None]] = [
    ("tools/list", None),
    ("tools/list", {"cursor": "8"}),
    ("resources/list", None),
    ("resources/templates/list", None),
    ("resources/read", {"uri": "test://a"}),
    ("prompts/list", None),
    ("prompts/get", {"name": "greet", "arguments": {"who": "you"}}),
    (
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "who", "value": ""}},
    ),
]


def theirs(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what the proxy adds."""
    about = result.get("_meta", {})
    kept = {name: each for name, each in about.items() if not name.startswith("dev.surefoot/")}
    others = {name: each for name, each in result.items() if name != "_meta"}
    return {**others, "_meta": kept} if kept else others


@pytest.fixture(params=["legacy", "modern"])
def same(request: pytest.FixtureRequest, tmp_path: Path) -> Behind:
    """A server of either era, for a client of the same."""
    return Behind(tmp_path, request.param)


@pytest.fixture
def behind(tmp_path: Path) -> Behind:
    """A server of the era of handshakes."""
    return Behind(tmp_path)


async def test_everything_but_calls_passes_as_it_is(same: Behind) -> None:
    modern = same.era == "modern"
    async with same.direct(modern=modern) as wire:
        greeting = wire.greeting
        direct = [await wire.request(*each) for each in REQUESTS]
        sent = await wire.call("send")
    async with same.wrapped(modern=modern) as wire:
        assert wire.greeting == greeting
        assert [await wire.request(*each) for each in REQUESTS] == direct
        assert theirs(await wire.call("send")) == sent
        with pytest.raises(MCPError, match="no such method"):
            await wire.request("theirs/own")


async def test_a_key_that_comes_again_gets_the_whole_result_and_the_tool_runs_once(
    same: Behind,
) -> None:
    async with same.wrapped(modern=same.era == "modern") as wire:
        first = await wire.call("send", "k")
        again = await wire.call("send", "k")
        failed = [await wire.call("fail", "f") for _ in "12"]
        for _ in "12":
            with pytest.raises(MCPError) as refused:
                await wire.call("refuse", "r")
            assert refused.value.error.code == 4001
            assert refused.value.error.data == [1]
    assert theirs(again) == theirs(first)
    assert (told(first)["disposition"], told(again)["disposition"]) == ("ran", "replayed")
    assert theirs(failed[0]) == theirs(failed[1])
    assert failed[0]["content"] == [{"type": "text", "text": "the line is dead"}]
    assert same.count("send") == same.count("fail") == same.count("refuse") == 1


@pytest.mark.parametrize(
    ("tool", "disposition", "attempts"),
    [("die", "in_doubt", 1), ("put_and_die", "ran", 2), ("look_and_die", "ran", 2)],
)
async def test_a_server_that_dies_over_a_call_is_started_again_and_the_call_as_its_effect_allows(
    behind: Behind, tool: str, disposition: str, attempts: int
) -> None:
    """Guard: `_carrier` and `Upstream._standing`."""
    async with behind.wrapped() as wire:
        await wire.request("logging/setLevel", {"level": "error"})
        await wire.request("resources/subscribe", {"uri": "test://a"})
        result = await wire.call(tool, "k")
        if tool == "die":
            error = result["_meta"][meta.ERROR]
            assert (error["code"], error["applied"]) == ("UNAVAILABLE", "unknown")
            assert "the disk is on fire" in error["message"]
            result = await wire.call(tool, "k")
        assert told(result)["disposition"] == disposition
        assert await wire.request("resources/list")
    assert behind.count(tool) == attempts
    for said in ("initialize tester", "notifications/initialized", "told error", "told test://a"):
        assert behind.count(said) == 2


@pytest.mark.slow  # it waits between its starts
async def test_a_server_that_never_starts_is_unavailable_with_its_last_words(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `Upstream._failed`."""
    async with behind.wrapped() as wire:
        await wire.call("send", "k")
        monkeypatch.setenv("BARE_DIES", "1")
        await wire.call("die", "d")
        result = await wire.call("send", "k2")
        error = result["_meta"][meta.ERROR]
        assert (error["code"], error["applied"]) == ("UNAVAILABLE", "no")
        assert "no licence" in error["message"]
        replayed = await wire.call("send", "k")
        assert told(replayed)["disposition"] == "replayed"
        monkeypatch.delenv("BARE_DIES")
        with anyio.fail_after(30):
            while "_meta" not in result or meta.ERROR in result["_meta"]:
                result = await wire.call("send", "k2")
    assert behind.count("send") == 2


async def test_a_server_that_did_not_start_is_left_alone_for_a_while(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `Upstream._failed`."""
    monkeypatch.setattr(upstream, "FIRST_WAIT", 60)
    monkeypatch.setenv("BARE_DIES", "1")

    async def ignore(*_: Any) -> dict[str, Any]:
        return {}

    async def forget(*_: Any) -> None:
        pass

    async with anyio.create_task_group() as tasks:
        server = upstream.Upstream(
            Child(behind.command), tasks, on_request=ignore, on_notify=forget, begun=lambda: None
        )
        for _ in "123":
            with pytest.raises(upstream.Gone, match="no licence"):
                await server.initialize({"clientInfo": {"name": "a"}, "protocolVersion": "1"})
    assert behind.count("pid") == 1


async def test_a_client_is_told_that_the_server_does_not_start(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARE_DIES", "1")
    inside = pytest.RaisesExc(MCPError, match="no licence")
    with pytest.RaisesGroup(inside, flatten_subgroups=True):
        async with behind.wrapped():
            pass


async def test_a_cancel_reaches_the_server_and_the_call_stays_in_doubt(behind: Behind) -> None:
    async with behind.wrapped() as wire:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.call, "wait", "k")
            await until(lambda: behind.count("wait") == 1)
            tasks.cancel_scope.cancel()
        await until(lambda: behind.count("cancelled") == 1)
        await until(lambda: behind.query("SELECT state FROM call") == [("in_doubt",)])
        assert told(await wire.call("wait", "k"))["disposition"] == "in_doubt"
    assert behind.count("cancelled True") == 1


async def test_progress_and_the_questions_of_a_server_reach_the_client(behind: Behind) -> None:
    async with behind.wrapped() as wire:
        await wire.call("progress", progressToken="mine")
        told_of = await wire.news("notifications/progress", 2)
        asked = await wire.call("ask", "k")
        again = await wire.call("ask", "k")
    about = {"progressToken": "mine", "total": 2}
    assert told_of == [{**about, "progress": n, "theirs": n} for n in (1, 2)]
    assert asked["content"][0]["text"] == "asked: accept"
    assert told(again)["disposition"] == "replayed"
    assert wire.asked == ["elicitation/create"]
    assert behind.count("ask accept") == 1


async def test_a_round_that_asks_for_input_takes_no_key_yet(tmp_path: Path) -> None:
    behind = Behind(tmp_path, "modern")
    async with behind.wrapped(modern=True) as wire:
        first = await wire.call("ask", "k")
        assert first["resultType"] == "input_required"
        assert first["requestState"] == "asked"
        given = {"sure": {"action": "accept"}}
        more = {"requestState": "asked", "inputResponses": given}
        params = {"name": "ask", "arguments": {}, **more, "_meta": {meta.IDEMPOTENCY_KEY: "k"}}
        second, third = [await wire.request("tools/call", params) for _ in "12"]
    assert second["content"][0]["text"] == "asked: accept"
    assert told(second)["attempt"] == 2
    assert told(third)["disposition"] == "replayed"
    assert behind.count("ask") == 1


async def test_news_of_changes_reach_the_client_and_the_tools_are_looked_at_again(
    behind: Behind,
) -> None:
    """Guard: `Proxy._told`."""
    async with behind.wrapped() as wire:
        await wire.call("change")
        lists = behind.count("list")
        await wire.news("notifications/tools/list_changed")
        assert await wire.news("notifications/resources/updated") == [{"uri": "test://a"}]
        await wire.call("look")
    assert behind.count("list") > lists


async def test_a_client_of_the_later_era_is_translated_for_an_earlier_server(
    behind: Behind,
) -> None:
    """Guard: `eras.newer`, `eras.discovery` and `ClientSide.listen`."""
    async with behind.wrapped(modern=True) as wire:
        assert wire.greeting["supportedVersions"] == ["2026-07-28"]
        assert wire.greeting["instructions"] == "Send little."
        listed = await wire.request("tools/list")
        assert (listed["resultType"], listed["ttlMs"]) == ("complete", 0)
        assert (await wire.call("send", "k"))["resultType"] == "complete"
        wanted = {"toolsListChanged": True, "resourceSubscriptions": ["test://a"]}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.request, "subscriptions/listen", {"notifications": wanted})
            (about,) = await wire.news("notifications/subscriptions/acknowledged")
            assert about["notifications"] == wanted
            await wire.call("change")
            (updated,) = await wire.news("notifications/resources/updated")
            assert updated["_meta"] == about["_meta"]
            assert await wire.news("notifications/tools/list_changed")
            tasks.cancel_scope.cancel()
        await until(lambda: behind.count("told test://a") == 2)
        asked = await wire.call("ask")
        assert asked["content"][0]["text"] == "asked: error"
    assert behind.count("initialize tester []") == 1  # it cannot be asked, and so says


async def test_a_client_of_the_earlier_era_is_translated_for_a_later_server(
    tmp_path: Path,
) -> None:
    """Guard: `eras.older`, `eras.greeting` and `ClientSide.input_for`."""
    behind = Behind(tmp_path, "modern")
    async with behind.wrapped() as wire:
        assert wire.greeting["serverInfo"] == {"name": "bare", "version": "1", "theirs": 1}
        assert wire.greeting["capabilities"]["tools"] == {}
        assert "ttlMs" not in await wire.request("tools/list")
        asked = await wire.call("ask", "k")
        assert asked["content"][0]["text"] == "asked: accept"
        assert "resultType" not in asked
    assert wire.asked == ["elicitation/create"]


async def test_the_streams_of_news_of_the_later_era_pass_by_their_names(tmp_path: Path) -> None:
    """Guard: `ClientSide.listening`."""
    behind = Behind(tmp_path, "modern")
    async with behind.wrapped(modern=True) as wire:
        await wire.call("look")  # from now on the ids of both sides differ
        async with anyio.create_task_group() as tasks:
            wanted = {"toolsListChanged": True}
            tasks.start_soon(wire.request, "subscriptions/listen", {"notifications": wanted})
            await wire.news("notifications/subscriptions/acknowledged")
            await wire.call("change")
            assert await wire.news("notifications/tools/list_changed")
            tasks.cancel_scope.cancel()
        await until(lambda: behind.count("cancelled True") == 1)


async def test_an_answer_that_nobody_can_read_is_an_error_and_leaves_doubt(
    behind: Behind,
) -> None:
    """Guard: `child._unreadable`."""
    async with behind.wrapped() as wire:
        with pytest.raises(MCPError, match="not valid JSON"):
            await wire.call("garbage", "k")
        with pytest.raises(MCPError, match="not valid JSON"):
            await wire.call("garbage", "k")
    assert behind.count("garbage") == 1


async def test_a_server_that_is_gone_after_it_has_asked_leaves_doubt(
    tmp_path: Path,
) -> None:
    """Guard: `Proxy._pass`: what it has done before it asked, nobody knows."""
    behind = Behind(tmp_path, "modern")
    folder = tmp_path / "work"
    folder.mkdir()
    child = Child(behind.command, folder)
    async with behind.wrapped(target=child) as wire:

        async def gone() -> None:
            await until(child.over)
            folder.rmdir()  # so that it cannot be started again

        wire.before_answer = gone
        error = (await wire.call("ask_and_die", "k"))["_meta"][meta.ERROR]
        assert "did not start" in error["message"]
        assert error["applied"] == "unknown"
        assert told(await wire.call("ask_and_die", "k"))["disposition"] == "in_doubt"


def test_the_same_command_in_another_folder_is_another_server(tmp_path: Path) -> None:
    """Guard: `Child.identity`."""
    here, there = [Child(["serve", "."], tmp_path / name).identity for name in ("here", "there")]
    assert here != there
    assert here == Child(["serve", "."], tmp_path / "here").identity


async def test_an_unkeyed_call_is_made_twice_when_it_was_meant_twice(behind: Behind) -> None:
    async with behind.wrapped() as wire:
        first = await wire.call("send", arguments={"a": 1})
        second = await wire.call("send", arguments={"a": 1, "repeat": True})
    assert told(first)["call_id"] != told(second)["call_id"]
    assert behind.lines.count('send {"a": 1}') == 2


async def test_the_same_key_before_another_server_is_another_call(
    behind: Behind, tmp_path: Path
) -> None:
    async with behind.wrapped() as wire:
        await wire.call("send", "k")
    other = Behind(tmp_path, "modern")
    async with other.wrapped(modern=True) as wire:
        result = await wire.call("send", "k")
    assert told(result)["disposition"] == "conflict"


async def test_malformed_calls_and_keys_are_refused_with_a_receipt(behind: Behind) -> None:
    async with behind.wrapped() as wire:
        with pytest.raises(MCPError):
            await wire.request("tools/call", {"name": 7})
        refused = await wire.call("send", "not a key")
        assert refused["_meta"][meta.ERROR]["code"] == "INVALID_ARGUMENT"
        unknown = await wire.call("theirs", "k")
        assert unknown["_meta"][meta.ERROR]["code"] == "UNIMPLEMENTED"
    assert behind.query("SELECT count(*) FROM receipt WHERE disposition = 'invalid'") == [(3,)]
    assert behind.count("send") == 0
