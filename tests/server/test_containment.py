"""A tool that raises what no tool may ends its own call and nothing else."""

import asyncio  # noqa: TID251 - what a library may leak is asyncio's
from typing import ClassVar, Literal

import anyio
import pytest
from mcp import Client
from tests.support.place import Place, error

from surefoot_server.app import App
from surefoot_server.config import Config
from surefoot_tools.tool import Arguments, Context, Effect, Evidence, Group, Result, Tool

pytestmark = pytest.mark.anyio


class RaiseArguments(Arguments):
    """What to raise."""

    what: Literal["cancel", "exit", "nothing"]


class RaiseResult(Result):
    """That nothing was raised."""

    raised: bool

    def as_text(self) -> str:
        """One word."""
        return "nothing"


class Raise(Tool[RaiseArguments, RaiseResult]):
    """Raises what ends a task or a process; else waits to be told to go on."""

    name: ClassVar[str] = "raise"
    title: ClassVar[str] = "Raise"
    description: ClassVar[str] = "Raise."
    group: ClassVar[Group] = Group.ACCOUNTING
    effect: ClassVar[Effect] = Effect.SAFE
    Arguments = RaiseArguments
    Result = RaiseResult

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.go_on = anyio.Event()

    async def run(
        self, arguments: RaiseArguments, evidence: Evidence, context: Context
    ) -> RaiseResult:
        """Raise, or wait."""
        if arguments.what == "cancel":
            raise asyncio.CancelledError
        if arguments.what == "exit":
            raise SystemExit(3)
        self.begun.set()
        await self.go_on.wait()
        return RaiseResult(raised=False)


class Ending(Raise):
    """The same with an effect: it runs in a task of its own."""

    name: ClassVar[str] = "ending"
    effect: ClassVar[Effect] = Effect.AT_MOST_ONCE


class RaisingApp(App):
    """The server's own App, with these tools for all others."""

    def __init__(self, config: Config, tools: list[Raise]) -> None:
        super().__init__(config)
        self._tools = [*tools]


@pytest.mark.parametrize("what", ["cancel", "exit"])
@pytest.mark.parametrize("tool", ["raise", "ending"])
async def test_what_ends_a_task_or_a_process_ends_one_call(
    place: Place, tool: str, what: str
) -> None:
    """Guard: `contained`. On the SDK alone one ends the connection, the other hangs the call."""
    tools = [Raise(), Ending()]
    app = RaisingApp(place.config, tools)
    async with Client(app.server, mode="legacy") as client, anyio.create_task_group() as tasks:

        async def call_another() -> None:
            another = await client.call_tool("raise", {"what": "nothing"})
            assert not another.is_error

        tasks.start_soon(call_another)
        await tools[0].begun.wait()
        said = error(await client.call_tool(tool, {"what": what}))
        assert (said["code"], said["origin"]) == ("INTERNAL", "server")
        assert said["applied"] == ("no" if tool == "raise" else "unknown")
        tools[0].go_on.set()


@pytest.mark.parametrize("tool", ["raise", "ending"])
async def test_a_cancel_that_was_asked_for_is_still_one(place: Place, tool: str) -> None:
    """Guard: the look at the deadline in `contained`."""
    tools = [Raise(), Ending()]
    app = RaisingApp(place.config, tools)
    async with Client(app.server, mode="legacy") as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, tool, {"what": "nothing"})
            await tools[tool == "ending"].begun.wait()
            tasks.cancel_scope.cancel()
        report = await client.call_tool("failure_report", {})
    assert "CANCELLED" in str(report.content)
