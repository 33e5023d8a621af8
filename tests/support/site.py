"""Servers without MCP on one journal in memory, which can be killed; for tests of the executor.

Time is the site's own; nothing here waits for the machine's clock.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel
from tests.support.scripted import World
from tests.support.scripted_tools import tools

from surefoot_server.access import Access
from surefoot_server.call import Answer, Connection, Request
from surefoot_server.executor import Executor
from surefoot_server.faults import Faults
from surefoot_server.journal.chain import KEYS, Store, Verdict, verify
from surefoot_server.journal.clock import Clock
from surefoot_server.journal.memory import Memory, MemoryJournal
from surefoot_server.journal.records import Row
from surefoot_server.journal.sqlite import SqliteJournal
from surefoot_server.journal.states import Delivery
from surefoot_server.journal.writer import Inline, Operation, Writer
from surefoot_server.policy import Policy
from surefoot_tools.registry import Registry

T = TypeVar("T")
QUIET = 60
"""Turns of the event loop after which whatever could go on has done so."""


class Killed(BaseException):
    """What a server feels that was killed: not even its `except Exception` runs."""


class NoJitter(Random):
    """Draws nothing, so that no retry waits."""

    def uniform(self, a: float, b: float) -> float:
        """The lower end."""
        return a


class _Mortal(Inline):
    def __init__(self, writer: Inline | Writer, dead: Callable[[], bool]) -> None:
        self._writer = writer
        self._dead = dead

    def post(self, operation: Operation) -> None:
        if not self._dead():
            self._writer.post(operation)

    async def write(
        self, operation: Callable[[Store], T], *, durable: bool, vital: bool = False
    ) -> T:
        if self._dead():
            raise Killed
        return await self._writer.write(operation, durable=durable, vital=vital)

    def close(self) -> None:
        self._writer.close()


class MortalJournal(MemoryJournal):
    """A journal whose server can be killed: from then on it writes nothing any more."""

    def __init__(self, memory: Memory, clock: Clock) -> None:
        super().__init__(memory, clock=clock)
        self.dead = False
        self._writer = _Mortal(self._writer, lambda: self.dead)

    def crash(self) -> None:
        """Die as by `kill -9`."""
        self.dead = True
        super().crash()

    async def read(self, step: Callable[[Store], Any]) -> Any:
        """Read at once, unless dead."""
        if self.dead:
            raise Killed
        return await super().read(step)


class MortalFile(SqliteJournal):
    """The same in a file: what its server had spooled stays for the next one."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, version="test", clock=clock)
        self.dead = False
        self._writer = _Mortal(self._writer, lambda: self.dead)

    def crash(self) -> None:
        """Die as by `kill -9`: its lock is free, and no end is recorded."""
        self.dead = True
        self._writer.close()
        if self._spool is not None:
            self._spool.close()
        self._owner.close()
        self._reading.close()

    async def read(self, step: Callable[[Store], Any]) -> Any:
        """Read at once, unless dead."""
        if self.dead:
            raise Killed
        return await super().read(step)

    def _put(self, line: Row) -> None:
        if not self.dead:
            super()._put(line)


@dataclass(eq=False)
class Sending:
    """A request on its way."""

    request: Request
    server: "Server"
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    answer: Answer | None = None
    """None while it is open, and when it was cancelled or its server died."""
    failure: Exception | None = None


class Server:
    """One server of a site; `executor` is its door."""

    def __init__(self, site: "Site", policy: Policy, roots: list[str]) -> None:
        self.site = site
        self.running: set[str] = set()
        self._open: set[Sending] = set()
        self.journal = site.journal()
        self.executor = Executor(
            Registry(tools(site.world, self.running)),
            self.journal,
            roots=roots,
            policy=policy,
            faults=Faults(),
            random=NoJitter(),
        )
        self.scope = anyio.CancelScope()
        self.over = anyio.Event()
        self._end = anyio.Event()

    async def host(self, started: anyio.Event) -> None:
        """Live until killed or ended."""
        try:
            with self.scope:
                async with self.executor:
                    started.set()
                    await self._end.wait()
        except* Killed:
            pass
        finally:
            self.over.set()

    async def crash(self) -> None:
        """Die as by `kill -9`; what it ran dies too, unless it survives."""
        self.journal.crash()
        self.site.world.die(self.running)
        self.scope.cancel()
        await self.over.wait()
        for sending in list(self._open):
            sending.scope.cancel()
            await sending.done.wait()

    async def end(self) -> None:
        """End in order."""
        self._end.set()
        await self.over.wait()
        self.journal.close()

    async def call(self, tool: str, label: str = "a", **more: Any) -> Answer:
        """Send a request and wait for its answer; the names are those of `Request`, and `repeat`.

        The answer is delivered, unless `delivery` says otherwise; None leaves that open.
        """
        delivery = more.pop("delivery", Delivery.DELIVERED)
        answer = await self.executor.execute(request(tool, label, **more))
        if delivery is not None:
            self.deliver(answer, delivery)
        return answer

    def deliver(self, answer: Answer, delivery: Delivery = Delivery.DELIVERED) -> None:
        """Tell what became of an answer."""
        self.journal.deliver(answer.receipt_id, delivery, self.journal.now())

    def send(self, tool: str, label: str = "a", **more: Any) -> Sending:
        """Send a request without waiting; its answer is not delivered."""
        sending = Sending(request(tool, label, **more), self)
        self._open.add(sending)
        self.site.tasks.start_soon(self._send, sending)
        return sending

    async def _send(self, sending: Sending) -> None:
        try:
            with sending.scope, suppress(Killed):
                try:
                    answer = await self.executor.execute(sending.request)
                except Exception as e:
                    sending.failure = e
                    raise
                sending.answer = None if self.journal.dead else answer
        finally:
            self._open.discard(sending)
            sending.done.set()


def request(tool: str, label: str = "a", **more: Any) -> Request:
    """A request for a scripted tool."""
    arguments: dict[str, Any] = {"label": label}
    if "repeat" in more:
        arguments["repeat"] = more.pop("repeat")
    if "principal" in more:
        more["access"] = Access(more.pop("principal"))
    return Request(tool=tool, arguments=arguments, **more)


class Site:
    """A world, a journal, and the servers on them.

    Args:
        tasks: Where the servers live.
        path: Of a journal file; None: the journal is in memory.
    """

    def __init__(self, tasks: anyio.abc.TaskGroup, path: Path | None = None) -> None:
        self.tasks = tasks
        self.path = path
        self.world = World()
        self.memory = Memory()
        self.at = 1_800_000_000.0
        self.set_forward = 0.0
        """Seconds by which somebody set the wall clock."""
        self.servers: list[Server] = []

    def journal(self) -> MortalJournal | MortalFile:
        """The journal of a new server, with a clock of its own."""
        clock = Clock(lambda: self.at + self.set_forward, lambda: self.at)
        if self.path is not None:
            return MortalFile(self.path, clock)
        for row in self.memory.database.execute("last_time", {}):
            clock.advance(row["at"])
        return MortalJournal(self.memory, clock)

    async def serve(self, *, roots: list[str] | None = None, **policy: Any) -> Server:
        """Start a server; it has made its first round of housekeeping when this returns."""
        server = Server(self, Policy(**policy), roots or [])
        started = anyio.Event()
        self.tasks.start_soon(server.host, started)
        await started.wait()
        self.servers.append(server)
        await quiet()
        return server

    def query(self, sql: str, **names: Any) -> list[tuple[Any, ...]]:
        """Rows of the journal, past every server."""
        return list(self.memory.database.connection.execute(sql, names))

    def verify(self) -> Verdict:
        """Hold the rows against the chains of events."""

        def rows(name: str) -> list[Row]:
            return self.memory.database.execute(name, {})

        tables = {each: rows(f"all_{each}s") for each in KEYS if each != "instance"}
        return verify(rows("all_instances"), rows("all_events"), tables)


async def quiet() -> None:
    """Let everything go on that can."""
    for _ in range(QUIET):
        await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def a_site(path: Path | None = None) -> AsyncGenerator[Site]:
    """A site whose servers are killed at the end; `path` of a journal in a file."""
    async with anyio.create_task_group() as tasks:
        site = Site(tasks, path)
        yield site
        for server in site.servers:
            if not server.over.is_set():
                await server.crash()
        tasks.cancel_scope.cancel()


def gone() -> Connection:
    """A connection that is lost."""
    return Connection(lost=True)
