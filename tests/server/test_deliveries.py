"""What the transport tells of answers, and what an equal call without a key is told then."""

from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from tests.support.place import Place, body, disposition, keyed

from surefoot_server.app import App
from surefoot_tools import meta

pytestmark = pytest.mark.anyio

APPEND = {"command": "echo x >> log"}


class Wired:
    """A client of an `App` whose transport tells what becomes of answers, as the test says."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.app = App(place.config)
        self.app.door.exchange.tracked = True
        self.client = Client(self.app.server)

    async def call(self, **more: Any) -> types.CallToolResult:
        """Append a line."""
        return await self.client.call_tool("run_command", APPEND | more)

    def written(self) -> None:
        """Every answer is fully written."""
        for request_id in range(100):
            self.app.door.exchange.written(request_id)

    def cancelled(self) -> None:
        """Every request is given up."""
        for request_id in range(100):
            self.app.door.exchange.cancelled(request_id)

    def lines(self) -> int:
        """How often it happened."""
        return len((self.place.workspace / "log").read_text().splitlines())


async def test_an_answer_that_the_transport_wrote_is_delivered(place: Place) -> None:
    """Guard: `Exchange.written`."""
    wired = Wired(place)
    async with wired.client:
        await wired.call()
        wired.written()
        wired.app.door.exchange.lost()
        second = await wired.call()
        assert disposition(second) == "ran"
    assert wired.lines() == 2


async def test_an_answer_that_was_not_written_when_the_connection_went_is_lost(
    place: Place,
) -> None:
    """Guard: `Exchange.lost`."""
    wired = Wired(place)
    async with wired.client:
        await wired.call()
        wired.app.door.exchange.lost()
        second = await wired.call()
        assert disposition(second) == "replayed"
        assert (second.meta or {})[meta.REPLAYED] is True
        assert body(second)["exit_code"] == 0
        assert "repeat: true" in str(second.content)
        third = await wired.call(repeat=True)
        assert disposition(third) == "ran"
    assert wired.lines() == 2


async def test_an_answer_written_after_its_request_was_cancelled_is_lost(place: Place) -> None:
    """Guard: `Exchange.cancelled`."""
    wired = Wired(place)
    async with wired.client:
        await wired.call()
        wired.cancelled()
        wired.written()
        assert disposition(await wired.call()) == "replayed"
    assert wired.lines() == 1


async def test_a_cancel_after_an_answer_was_written_changes_nothing(place: Place) -> None:
    wired = Wired(place)
    async with wired.client:
        await wired.call()
        wired.written()
        wired.cancelled()
        assert disposition(await wired.call()) == "ran"
    assert wired.lines() == 2


async def test_a_lost_keyed_answer_is_told_to_an_equal_call_without_a_key(place: Place) -> None:
    wired = Wired(place)
    async with wired.client:
        await wired.client.call_tool("run_command", APPEND, meta=keyed("k"))
        wired.app.door.exchange.lost()
        assert disposition(await wired.call()) == "replayed"
    assert wired.lines() == 1
