"""What the proxy makes of another server's list of tools: their effects, and their arguments."""

from pathlib import Path

import pytest
from tests.support.behind import Behind, told

from surefoot_server.wrap import proxy
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio


@pytest.fixture
def behind(tmp_path: Path) -> Behind:
    """A server of the era of handshakes."""
    return Behind(tmp_path)


async def test_effects_come_from_the_hints_unless_they_are_declared(behind: Behind) -> None:
    """Guard: `Catalogue._tool`."""
    effects = {"put": Effect.AT_MOST_ONCE, "fail": Effect.SAFE}
    async with behind.wrapped(effects=effects) as wire:
        for tool in ("look", "put", "send", "fail", "broken", "look", "put"):
            await wire.call(tool)
    assert sorted(set(behind.query("SELECT tool, effect FROM call"))) == [
        ("broken", "at_most_once"),
        ("fail", "safe"),
        ("look", "safe"),
        ("put", "at_most_once"),
        ("send", "at_most_once"),
    ]
    assert behind.count("put") == behind.count("look") == 2


async def test_an_argument_repeat_of_a_tool_that_cannot_be_read_is_its_own(behind: Behind) -> None:
    """Guard: `Catalogue._tool`."""
    async with behind.wrapped() as wire:
        for tool in ("blurred", "broken"):
            await wire.call(tool, "k" + tool, {"repeat": True})
    assert [line for line in behind.lines if "repeat" in line] == [
        'blurred {"repeat": true}',
        'broken {"repeat": true}',
    ]


@pytest.mark.parametrize("lists", ["dying", "never"])
async def test_a_server_whose_list_never_comes_is_called_all_the_same_with_all_arguments(
    behind: Behind, monkeypatch: pytest.MonkeyPatch, lists: str
) -> None:
    """Guard: `Catalogue.assume` and `proxy.LISTING`."""
    if lists == "never":
        monkeypatch.setattr(proxy, "LISTING", 0.2)
    monkeypatch.setenv("BARE_LISTS", lists)
    async with behind.wrapped() as wire:
        result = await wire.call("look", "k", {"repeat": True})
    assert told(result)["disposition"] == "ran"
    assert behind.count('look {"repeat": true}') == 1
    assert behind.query("SELECT effect FROM call") == [("at_most_once",)]


@pytest.mark.parametrize(("lists", "pages"), [("on and on", 3), ("in a circle", 2)])
async def test_a_list_of_tools_without_an_end_is_left_and_what_it_told_is_used(
    behind: Behind, monkeypatch: pytest.MonkeyPatch, lists: str, pages: int
) -> None:
    """Guard: `Proxy._listed`."""
    monkeypatch.setattr(proxy, "MOST_PAGES", 3)
    monkeypatch.setenv("BARE_LISTS", lists)
    async with behind.wrapped() as wire:
        for _ in "12":
            assert told(await wire.call("look", "k"))["disposition"] == "ran"
    assert behind.count("list") == pages
    assert behind.query("SELECT effect FROM call") == [("safe",)]
