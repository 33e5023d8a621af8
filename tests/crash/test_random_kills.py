"""A server under a stream of keyed calls is killed at random moments; each effect is there once."""

import itertools
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import anyio
import apsw
import pytest
from anyio.abc import TaskGroup
from mcp.shared.exceptions import MCPError
from tests.support.books import out_of_balance
from tests.support.place import Place, body, disposition, keyed
from tests.support.wire import ENVELOPE, Wire, wire

pytestmark = pytest.mark.anyio

IN_FLIGHT = 4
"""Sends that wait for their answers at the same time."""
CALLS_A_LIFE = 12
"""Answers that a server gives at most before it is killed; counted, so that the machine's speed
does not matter."""
LATEST = 0.02
"""Seconds, at most, between its last answer and its death: a few calls' worth, so that it dies
anywhere in one."""
GONE = (
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)
"""How a wire fails whose server died."""
LANES = 2
"""Files of each kind."""
RUNG = "rung {}\n"
Meta = Callable[["Intent"], dict[str, Any]]
"""What a send says of its call beside the arguments."""


@dataclass
class Intent:
    """A call that shall happen once."""

    label: str
    tool: str
    arguments: dict[str, Any]
    fault: str | None = None
    """What shall go wrong at its first attempt."""
    attempt: int = 0
    answers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Results, in the order of their arrival."""


def with_key(intent: Intent) -> dict[str, Any]:
    """Each send of a call bears the call's key."""
    return dict(keyed(intent.label, intent.attempt, intent.fault if intent.attempt == 1 else None))


def with_a_fresh_key(intent: Intent) -> dict[str, Any]:
    """Each send is a call of its own: what a caller without identity does."""
    return dict(with_key(replace(intent, label=f"{intent.label}.{intent.attempt}")))


def intents(count: int) -> list[Intent]:
    """Calls of three kinds: on logs, on ladders, and on rows of one table."""
    made: list[Intent] = []
    for number in range(count):
        label = f"i{number}"
        kind = number % 3
        if kind == 0:
            asked = {"path": f"log{number % LANES}", "content": f"{label}\n", "mode": "append"}
            made.append(Intent(label, "write_file", asked))
        elif kind == 1:
            step = {"old_text": "top\n", "new_text": f"{RUNG.format(label)}top\n"}
            made.append(
                Intent(label, "edit_file", {"path": f"ladder{number % LANES}", "edits": [step]})
            )
        else:
            insert = {"sql": "INSERT INTO mark VALUES (?)", "parameters": [label]}
            update = {"sql": "UPDATE counter SET n = n + 1"}
            asked = {"database": "app", "statements": [update, insert]}
            made.append(Intent(label, "execute_sql", asked))
    return made


@dataclass
class Stream:
    """Intents that are sent, several at a time, until each has its answer."""

    place: Place
    meta: Meta
    waiting: list[Intent]
    abreast: int = IN_FLIGHT
    """Sends in flight at most."""
    flying: dict[str, Intent] = field(default_factory=dict[str, Intent])
    serial: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    def lay_out(cls, place: Place, meta: Meta, waiting: list[Intent]) -> "Stream":
        """A stream over a workspace with all that its calls need."""
        for lane in range(LANES):
            (place.workspace / f"log{lane}").write_text("")
            (place.workspace / f"ladder{lane}").write_text("top\n")
        db = apsw.Connection(str(place.workspace / "app.db"))
        db.execute("CREATE TABLE mark (label TEXT)")
        db.close()
        return cls(place, meta, waiting)

    async def flow(self, life: tuple[int, float] | None = None) -> bool:
        """Serve the stream until it is dry or its server is dead.

        Args:
            life: The server is killed so many answers and seconds after its start.

        Returns:
            Whether the server died.
        """
        self.waiting = [*self.flying.values(), *self.waiting]
        self.flying = {}
        async with wire(self.place) as server, anyio.create_task_group() as tasks:
            await server.ask("up", "server/discover")
            try:
                await self._exchange(server, tasks, life)
            except GONE:
                return True
            finally:
                tasks.cancel_scope.cancel()
            _, _, status = await server.end()
            assert status == 0
        return False

    async def _exchange(
        self, server: Wire, tasks: TaskGroup, life: tuple[int, float] | None
    ) -> None:
        for answered in itertools.count():
            while (intent := self._next()) is not None:
                await self._send(server, intent)
            if life is not None and answered == life[0]:
                tasks.start_soon(self._kill, server, life[1])
            if not self.flying:
                return
            message = await server.receive()
            self.flying.pop(message["id"]).answers.append(message["result"])

    def _next(self) -> Intent | None:
        """The next call to send: one at a time on each file, on rows as many as they come."""
        if len(self.flying) == self.abreast:
            return None
        busy = {each.arguments.get("path") for each in self.flying.values()} - {None}
        for intent in self.waiting:
            if intent.arguments.get("path") not in busy:
                self.waiting.remove(intent)
                return intent
        return None

    @staticmethod
    async def _kill(server: Wire, seconds: float) -> None:
        await anyio.sleep(seconds)
        os.kill(server.process.pid, signal.SIGKILL)

    async def _send(self, server: Wire, intent: Intent) -> None:
        intent.attempt += 1
        request_id = f"{intent.label}/{next(self.serial)}"
        self.flying[request_id] = intent
        params = {
            "name": intent.tool,
            "arguments": intent.arguments,
            "_meta": {**ENVELOPE, **self.meta(intent)},
        }
        await server.send(
            {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}
        )

    def times(self, label: str) -> int:
        """How often the effect of an intent is there."""
        files = self.place.workspace
        log = "".join((files / f"log{lane}").read_text() for lane in range(LANES)).splitlines()
        ladder = "".join((files / f"ladder{lane}").read_text() for lane in range(LANES))
        rows = self.place.rows(f"SELECT count(*) FROM mark WHERE label = '{label}'")
        return log.count(label) + ladder.count(RUNG.format(label)) + rows[0][0]


async def all_is_there_once(place: Place, *, kills: int, seed: int) -> None:
    """Kill the servers of one stream of keyed calls so often, and look at what is there."""
    random = Random(seed)
    calls = intents(kills * (CALLS_A_LIFE + 2 * IN_FLIGHT))
    stream = Stream.lay_out(place, with_key, list(calls))
    for death in range(kills):
        life = random.randint(0, CALLS_A_LIFE), random.uniform(0.0, LATEST)
        assert await stream.flow(life), f"the calls were over before death {death}, seed {seed}"
    assert not await stream.flow()
    for intent in calls:
        assert [each.get("isError", False) for each in intent.answers] == [False], intent
    found = {intent.label: stream.times(intent.label) for intent in calls}
    assert {label: n for label, n in found.items() if n != 1} == {}, f"seed {seed}"
    assert place.rows("SELECT n FROM counter") == place.rows("SELECT count(*) FROM mark")
    names = sorted(entry.name for entry in place.workspace.iterdir())
    files = [f"{kind}{lane}" for kind in ("ladder", "log") for lane in range(LANES)]
    assert names == ["app.db", *files]
    assert not out_of_balance(place.config.state / "journal.db")
    assert any(intent.attempt > 1 for intent in calls), "no death met a call"


async def test_five_kills_in_a_stream_of_keyed_calls_lose_and_double_nothing(place: Place) -> None:
    """One call at a time on each file: what else may happen there is the last test's matter.

    Guard: the answers table, `recover` of the file tools, the inbox row of `ExecuteSql`.
    """
    await all_is_there_once(place, kills=5, seed=1)


@pytest.mark.slow
async def test_sixty_kills_in_a_stream_of_keyed_calls_lose_and_double_nothing(place: Place) -> None:
    """Guard: as with five."""
    await all_is_there_once(place, kills=60, seed=2)


@pytest.mark.parametrize(
    ("meta", "times"),
    [pytest.param(with_key, 1, marks=pytest.mark.slow), (with_a_fresh_key, 2)],
    ids=["kept", "fresh"],
)
async def test_deaths_double_effects_unless_the_calls_keep_their_keys(
    place: Place, meta: Meta, times: int
) -> None:
    """What the tests above look at shows a doubled effect where there is one."""
    calls = intents(3)
    for intent in calls:
        intent.fault = "kill:after_effect"
    stream = Stream.lay_out(place, meta, list(calls))
    stream.abreast = 1
    for _ in calls:
        assert await stream.flow()
    assert not await stream.flow()
    assert [stream.times(intent.label) for intent in calls] == [times] * 3


async def test_the_next_call_on_a_file_does_not_leave_the_one_before_it_in_doubt(
    place: Place,
) -> None:
    """What became of the first call is told by the file, and the second one changes it."""
    append = {"path": "log", "content": "first\n", "mode": "append"}
    async with place.process() as client:
        with pytest.raises(MCPError, match="closed"):
            await client.call_tool(
                "write_file", append, meta=keyed("first", 1, "kill:after_effect")
            )
    async with place.process() as client:
        other = {"path": "log", "content": "second\n", "mode": "append"}
        body(await client.call_tool("write_file", other, meta=keyed("second")))
        again = await client.call_tool("write_file", append, meta=keyed("first", 2))
    assert disposition(again) == "replayed"
    assert (place.workspace / "log").read_text() == "first\nsecond\n"
