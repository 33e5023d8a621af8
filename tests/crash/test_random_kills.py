"""A server under a stream of calls is killed at random moments; each effect is there once.

This is the real server process, spoken to over its pipes; `test_kill_anywhere` kills far more of
the core. Commands may be in doubt where nobody can tell what became of them; nothing else may.
"""

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
from tests.support.books import broken_chain, out_of_balance
from tests.support.place import Place, body, disposition, keyed
from tests.support.torture import figure, rounds
from tests.support.wire import ENVELOPE, Wire, wire

from surefoot_tools import meta as meta_names

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

    @property
    def keyed(self) -> bool:
        """Whether its sends bear a key; those of reads do not."""
        return self.tool != "read_file"

    @property
    def doubtful(self) -> bool:
        """Whether it was told that nobody knows what became of it."""
        error = self.answers[0].get("_meta", {}).get(meta_names.ERROR) if self.answers else None
        return error is not None and (error["code"], error["applied"]) == ("UNKNOWN", "unknown")


def with_key(intent: Intent) -> dict[str, Any]:
    """Each send of a call bears the call's key."""
    if not intent.keyed:
        return {}
    return dict(keyed(intent.label, intent.attempt, intent.fault if intent.attempt == 1 else None))


def with_a_fresh_key(intent: Intent) -> dict[str, Any]:
    """Each send is a call of its own: what a caller without identity does."""
    return dict(with_key(replace(intent, label=f"{intent.label}.{intent.attempt}")))


def intents(count: int, kinds: int = 5) -> list[Intent]:
    """Calls of these kinds: on logs, on ladders, on rows of one table, commands, reads."""
    made: list[Intent] = []
    for number in range(count):
        label = f"i{number}"
        kind = number % kinds
        if kind == 0:
            asked = {"path": f"log{number % LANES}", "content": f"{label}\n", "mode": "append"}
            made.append(Intent(label, "write_file", asked))
        elif kind == 1:
            step = {"old_text": "top\n", "new_text": f"{RUNG.format(label)}top\n"}
            made.append(
                Intent(label, "edit_file", {"path": f"ladder{number % LANES}", "edits": [step]})
            )
        elif kind == 3:
            made.append(Intent(label, "run_command", {"command": f"echo {label} >> ran"}))
        elif kind == 4:
            made.append(Intent(label, "read_file", {"path": f"log{number % LANES}"}))
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
        (place.workspace / "ran").write_text("")
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
        log += (files / "ran").read_text().splitlines()
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
    doubted = [each for each in calls if each.tool == "run_command" and each.doubtful]
    for intent in calls:
        assert len(intent.answers) == 1, intent
        assert intent in doubted or not intent.answers[0].get("isError", False), intent
    for intent in calls:
        allowed = {0, 1} if intent in doubted else {int(intent.keyed)}
        assert stream.times(intent.label) in allowed, f"{intent}, seed {seed}"
    await told_the_same_again(place, doubted)
    assert place.rows("SELECT n FROM counter") == place.rows("SELECT count(*) FROM mark")
    names = sorted(entry.name for entry in place.workspace.iterdir())
    files = [f"{kind}{lane}" for kind in ("ladder", "log") for lane in range(LANES)]
    assert names == ["app.db", *files, "ran"]
    journal = place.config.state / "journal.db"
    assert not out_of_balance(journal)
    assert not broken_chain(journal)
    reads = sum(not intent.keyed for intent in calls)
    db = apsw.Connection(str(journal))
    ((receipts,),) = db.execute("SELECT count(*) FROM receipt WHERE tool = 'read_file'")
    db.close()
    assert receipts >= reads, "a read was answered, and its receipt is lost"
    figure(
        "kill -9 of the stdio server under load",
        kills=kills,
        calls=len(calls),
        doubled=0,
        lost=0,
        commands_in_doubt=len(doubted),
    )
    assert any(intent.attempt > 1 for intent in calls), "no death met a call"


async def told_the_same_again(place: Place, doubted: list[Intent]) -> None:
    """Ask once more for calls in doubt: the same server may not say one thing, then another."""
    async with wire(place) as server:
        await server.ask("up", "server/discover")
        for intent in doubted:
            again = await server.ask(
                intent.label,
                "tools/call",
                name=intent.tool,
                arguments=intent.arguments,
                _meta=with_key(intent),
            )
            assert again["result"]["_meta"][meta_names.ERROR]["code"] == "UNKNOWN", again
        await server.end()


@pytest.mark.slow
async def test_killed_under_a_stream_of_calls_the_server_loses_and_doubles_nothing(
    place: Place,
) -> None:
    """Two hundred kills in full, twenty in CI.

    Guard: the answers table, `recover` of the file tools, the inbox row of `ExecuteSql`.
    """
    kills = rounds(fast=2, ci=20, full=200)
    await all_is_there_once(place, kills=kills, seed=kills)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("meta", "times"),
    [(with_key, 1), (with_a_fresh_key, 2)],
    ids=["kept", "fresh"],
)
async def test_deaths_double_effects_unless_the_calls_keep_their_keys(
    place: Place, meta: Meta, times: int
) -> None:
    """What the tests above look at shows a doubled effect where there is one."""
    calls = intents(3, kinds=3)
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
