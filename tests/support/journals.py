"""Journals to test: one place that several servers share, and servers that die there.

A server that dies is a child process and `kill -9`; in memory it is `crash`. What it does before is
one of `LAST_ACTS`.
"""

import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import anyio
import psycopg
from anyio.streams.text import TextReceiveStream
from uuid6 import uuid7

from surefoot_server.journal.chain import KEYS, Verdict, verify
from surefoot_server.journal.clock import Clock
from surefoot_server.journal.memory import Memory, MemoryJournal
from surefoot_server.journal.opening import open_journal
from surefoot_server.journal.records import Closing, Entry, Job, NewCall, Receipt, Row
from surefoot_server.journal.sql_journal import SqlJournal
from surefoot_server.journal.states import Delivery, Disposition
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error, Outcome, Status
from surefoot_tools.tool import Effect

PRINCIPAL = "local"
SAFE_CALLS = 40
"""How many `spool_calls` begins; every other one ends and is delivered."""


def new_call(
    key: str | None = None,
    *,
    effect: Effect = Effect.AT_MOST_ONCE,
    fingerprint: str | None = "f" * 64,
    at: float = 1000.0,
    call_id: str | None = None,
) -> NewCall:
    """A call about to begin."""
    return NewCall(
        call_id=call_id or uuid7().hex,
        principal=PRINCIPAL,
        key=key,
        tool="run_command",
        effect=effect.value,
        fingerprint=fingerprint,
        scope="scope",
        repeated=False,
        arguments='{"command":"true"}',
        evidence={"job": "1"},
        at=at,
    )


def receipt_of(call: NewCall, disposition: Disposition = Disposition.RAN, **other: Any) -> Receipt:
    """A request for it."""
    given: dict[str, Any] = {
        "receipt_id": uuid7().hex,
        "call_id": call.call_id,
        "principal": call.principal,
        "client": "test 1.0",
        "key": call.key,
        "tool": call.tool,
        "sender_attempt": 1,
        "disposition": disposition,
        "arguments_mac": "a" * 64,
        "received_at": call.at,
    }
    return Receipt(**(given | other))


def success(call: NewCall, number: int = 1, **other: Any) -> Closing:
    """Its end with a result."""
    outcome = Outcome(Status.SUCCEEDED, {"exit_code": 0})
    given: dict[str, Any] = {"at": call.at + 1} | other
    return Closing(call.call_id, number, outcome, **given)


def job_of(call: NewCall, name: str = "a") -> Job:
    """What it leaves behind."""
    return Job(f"{call.call_id}-{name}", call.call_id, call.principal, call.tool, "p", call.at + 1)


def failure(
    call: NewCall, number: int = 1, *, applied: Applied = Applied.NO, **other: Any
) -> Closing:
    """Its end with an error; in doubt if nobody knows whether it was applied."""
    code = Code.UNKNOWN if applied is Applied.UNKNOWN else Code.UNAVAILABLE
    outcome = Outcome.failed(Error(code, Origin.ENVIRONMENT, applied, "it did not work"))
    given: dict[str, Any] = {"at": call.at + 1} | other
    return Closing(call.call_id, number, outcome, **given)


async def begin_calls(journal: SqlJournal) -> None:
    """Begin three calls, and end one of them."""
    for name in ("one", "two", "three"):
        call = new_call(name)
        await journal.begin(call, receipt_of(call), durable=True)
        if name == "two":
            await journal.finish(success(call), durable=True)


async def spool_calls(journal: SqlJournal) -> None:
    """Safe calls, of which nothing is committed before the server dies."""
    for n in range(SAFE_CALLS):
        call = new_call(effect=Effect.SAFE, fingerprint=None, call_id=f"safe-{n:03}")
        receipt = receipt_of(call, receipt_id=f"receipt-{n:03}")
        journal.begin_safe(call, receipt)
        if n % 2 == 0:
            journal.finish_safe(success(call, receipt_id=receipt.receipt_id, answer_mac="m"))
            journal.deliver(receipt.receipt_id, Delivery.DELIVERED, 1002.0)


LAST_ACTS: dict[str, Callable[[SqlJournal], Awaitable[None]]] = {
    each.__name__: each for each in (begin_calls, spool_calls)
}


@dataclass
class Site:
    """One journal, whatever holds it, and the servers that are open on it."""

    state: Path
    place: str | None
    """None: in memory."""
    memory: Memory | None = None
    opened: list[SqlJournal] = field(default_factory=list[SqlJournal])

    def open(self, clock: Clock | None = None) -> SqlJournal:
        """Another server on it; closed with the site."""
        if self.memory is not None:
            journal: SqlJournal = MemoryJournal(self.memory, clock=clock)
        else:
            assert self.place is not None
            journal = open_journal(self.place, state=self.state, version="test", clock=clock)
        self.opened.append(journal)
        return journal

    def close(self) -> None:
        """Close all servers that are still open."""
        while self.opened:
            self.opened.pop().close()

    async def let_die(self, act: str) -> str:
        """A server does one of `LAST_ACTS` and is killed; its instance name."""
        if self.memory is not None:
            journal = MemoryJournal(self.memory)
            await LAST_ACTS[act](journal)
            journal.crash()
            return journal.instance
        command = [sys.executable, "-m", "tests.support.journals", str(self.place)]
        process = await anyio.open_process(
            [*command, str(self.state), act], stdin=DEVNULL, stdout=PIPE, stderr=None
        )
        async with process:
            assert process.stdout is not None
            said = ""
            async for text in TextReceiveStream(process.stdout):
                said += text
                if said.endswith("\n"):
                    break
            process.kill()
        assert said, "the child died before its time"
        instance = said.strip()
        if str(self.place).startswith("postgresql://"):
            await _until_noticed(str(self.place), instance)
        return instance


@contextmanager
def largest_file(size: int) -> Generator[None]:
    """Files of this process end at that many bytes, as on a disk that is full there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


async def verdict(journal: SqlJournal) -> Verdict:
    """What its chains say of its rows."""
    return verify(
        await journal.query("all_instances", {}),
        await journal.query("all_events", {}),
        {table: await journal.query(f"all_{table}s", {}) for table in KEYS if table != "instance"},
    )


async def _until_noticed(url: str, instance: str) -> None:
    """Wait until PostgreSQL has seen that a killed process is gone."""
    left = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE %s"
    with psycopg.connect(url, autocommit=True) as connection, anyio.fail_after(30):
        while connection.execute(left, [f"%{instance}"]).fetchall():  # noqa: ASYNC110 - not ours
            await anyio.sleep(0.02)


async def begun(journal: SqlJournal, key: str | None = "key") -> NewCall:
    """A call that has begun."""
    call = new_call(key)
    assert await journal.begin(call, receipt_of(call), durable=True) is None
    return call


async def seen(journal: SqlJournal, call: NewCall) -> Entry:
    """The call as the journal has it."""
    found = await journal.look(call.call_id)
    assert found is not None
    return found


async def row_of(journal: SqlJournal, table: str, **names: Any) -> Row:
    """The one row of a table with these columns."""
    rows = await journal.query(f"all_{table}s", {})
    (row,) = [row for row in rows if names.items() <= row.items()]
    return row


async def _die(place: str, state: str, act: str) -> None:
    journal = open_journal(place, state=Path(state), version="test")
    await LAST_ACTS[act](journal)
    os.write(1, f"{journal.instance}\n".encode())
    await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(partial(_die, *sys.argv[1:]))


def database_of(site: Site) -> str:
    """The name of its database."""
    return str(site.place).rpartition("/")[2]
