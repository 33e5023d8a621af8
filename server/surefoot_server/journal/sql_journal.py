"""A journal in an SQL database: the methods of `records.Journal`, whichever database it is.

A member of the seam gives a database to write with, an owner, and a way to read.
"""

import asyncio  # noqa: TID251 - `call_later` runs without a task that somebody would have to own
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from surefoot_server.config import Retention
from surefoot_server.journal import operations, spool
from surefoot_server.journal.chain import Store
from surefoot_server.journal.operations import Operations, one_entry
from surefoot_server.journal.owners import Owner
from surefoot_server.journal.records import (
    Closing,
    Earlier,
    Entry,
    Job,
    NewCall,
    Receipt,
    Row,
    Standing,
)
from surefoot_server.journal.retention import BATCH, STEPS
from surefoot_server.journal.rows import to_job, to_job_end
from surefoot_server.journal.spool import Spool
from surefoot_server.journal.states import Delivery, State
from surefoot_server.journal.writer import Database, Inline, Writer
from surefoot_tools.jobs import JobEnd
from surefoot_tools.outcome import Error

FOLD_AFTER = 0.5
"""Seconds that a spooled line waits for a commit to go with, at most."""
FOLD_AT = 512
"""Spooled lines that are folded at once."""


class Ownership(Protocol):
    """Who is alive."""

    def alive(self, instance: str) -> bool:
        """Whether that server process still runs."""
        ...

    def close(self) -> None:
        """Stop being alive."""
        ...


class SqlJournal:
    """See `records.Journal` for the methods.

    Args:
        writing: Runs operations and commits them.
        doing: The operations of this instance.
        secret: The journal's own key.
        owner: Who is alive.
        spool: Where safe calls and deliveries wait; None: they are written at once.
    """

    def __init__(
        self,
        writing: Writer | Inline,
        doing: Operations,
        *,
        secret: bytes,
        owner: Ownership,
        spool: Spool | None,
    ) -> None:
        self.instance = doing.instance
        self.secret = secret
        self._writer = writing
        self._doing = doing
        self._owner = owner
        self._spool = spool
        self._folding = False

    @property
    def owner(self) -> str:
        """As whom this server owns the calls that it begins now."""
        return self._doing.owner

    def now(self) -> float:
        """Seconds since the epoch; never less than before."""
        return self._doing.now()

    def close(self) -> None:
        """Write what is queued, record the orderly end, and stop being an owner."""
        self._writer.post(self._doing.end)
        self._writer.close()
        if self._spool is not None:
            self._spool.close()
        self._owner.close()

    async def read(self, step: Callable[[Store], Any]) -> Any:
        """Run something that only reads, as last committed; a member may have a faster way."""
        return await self._writer.write(step, durable=False)

    async def find(self, principal: str, key: str) -> Entry | None:
        """The call that this key names."""
        names = {"principal": principal, "key": key}
        return await self.read(lambda store: one_entry(store.execute("find_key", names)))

    async def look(self, call_id: str) -> Entry | None:
        """The call with this id."""
        names = {"call_id": call_id}
        return await self.read(lambda store: one_entry(store.execute("find_call", names)))

    async def earlier(self, principal: str, fingerprint: str, since: float) -> list[Earlier]:
        """Calls asked for in the same words, with what became of their answers."""

        def step(store: Store) -> list[Earlier]:
            return operations.earlier(store, principal, fingerprint, since)

        found: list[Earlier] = await self.read(step)
        # What waits in the spool is asked for only where it matters.
        if self._spool is not None and any(
            told.delivery is None for each in found for told in each.told
        ):
            return await self._writer.write(step, durable=False)
        return found

    async def joined_elsewhere(self, call_id: str) -> bool:
        """Whether a request in another live server waits for this call."""
        names = {"call_id": call_id, "instance": self.instance}
        rows: list[Row] = await self.read(lambda store: store.execute("waiting_elsewhere", names))
        for row in rows:
            if await self.alive(row["instance"]):
                return True
        return False

    async def orphans(self) -> list[Entry]:
        """Calls whose owner is dead."""
        names = {"owner": self.owner}
        rows: list[Row] = await self.read(lambda store: store.execute("find_running", names))
        entries = [entry for row in rows if (entry := one_entry([row])) is not None]
        dead = {owner: not await self.alive(owner) for owner in {each.owner for each in entries}}
        return [entry for entry in entries if dead[entry.owner]]

    async def alive(self, owner: str) -> bool:
        """Whether that server process still runs."""
        return self._owner.alive(owner)

    async def begin(self, call: NewCall, receipt: Receipt, *, durable: bool) -> Entry | None:
        """Begin a call, or return the one that has its key."""
        return await self._writer.write(
            lambda store: self._doing.begin(store, call, receipt), durable=durable
        )

    def begin_safe(self, call: NewCall, receipt: Receipt) -> None:
        """Begin a safe call without waiting."""
        self._put(operations.begin_line(call, receipt, self.instance))

    def finish_safe(self, closing: Closing) -> None:
        """End a safe call without waiting."""
        self._put(operations.finish_line(closing))

    def deliver(self, receipt_id: str, delivery: Delivery, at: float) -> None:
        """Record what became of an answer without waiting."""
        self._put(operations.delivery_line(receipt_id, delivery, at))
        if delivery is Delivery.LOST:
            # Another server may be asked for the same within the moment that lines wait.
            self._writer.post(_nothing)

    def _put(self, line: Row) -> None:
        if self._spool is None:
            self._writer.post(lambda store: self._doing.fold(store, [line], self.instance))
            return
        waiting = self._spool.append(line)
        if waiting >= FOLD_AT and waiting % FOLD_AT == 0:
            self._writer.post(_nothing)
        elif not self._folding:
            self._folding = True
            asyncio.get_running_loop().call_later(FOLD_AFTER, self._fold)

    def _fold(self) -> None:
        self._folding = False
        self._writer.post(_nothing)

    async def reopen(
        self,
        seen: Standing,
        evidence: dict[str, Any],
        receipt: Receipt | None,
        *,
        closing: Closing | None = None,
        durable: bool,
    ) -> int | None:
        """Begin another attempt of a call that still stands as `seen`."""
        return await self._writer.write(
            lambda store: self._doing.reopen(store, seen, evidence, receipt, closing),
            durable=durable,
        )

    async def take_over(self, seen: Standing) -> bool:
        """Become the owner of a call whose owner is dead."""
        return await self._writer.write(
            lambda store: self._doing.take_over(store, seen), durable=True
        )

    async def finish(self, closing: Closing, *, durable: bool) -> None:
        """End an attempt and its call, in one transaction."""
        await self._writer.write(
            lambda store: self._doing.finish(store, closing), durable=durable, vital=True
        )

    async def running_jobs(self) -> list[Job]:
        """Jobs of which no end is recorded."""
        rows: list[Row] = await self.read(lambda store: store.execute("running_jobs", {}))
        return [to_job(row) for row in rows]

    async def job_end(self, job_id: str) -> JobEnd | None:
        """How a job ended, as recorded."""
        names = {"job_id": job_id}
        rows: list[Row] = await self.read(lambda store: store.execute("ended_job", names))
        return to_job_end(rows[0]) if rows else None

    async def end_job(self, job_id: str, end: JobEnd) -> bool:
        """Record how a job ended, once. What is on disk tells it again, so it is not flushed."""
        return await self._writer.write(
            lambda store: self._doing.end_job(store, job_id, end), durable=False
        )

    async def record(self, receipt: Receipt) -> None:
        """Record a request received."""
        await self._writer.write(lambda store: self._doing.record(store, receipt), durable=False)

    async def resolve(self, call_id: str, state: State, error: Error | None, said: str) -> bool:
        """Write what a person said of a call in doubt; False if it is not in doubt."""
        row = await self._writer.write(
            lambda store: self._doing.resolve(store, call_id, state, error, said), durable=True
        )
        return row is not None

    async def retain(self, retention: Retention, now: float) -> int:
        """Drop what is past its time, some rows a transaction, so that nobody waits for long."""
        await self._bury()
        dropped = 0
        for step in STEPS:
            while True:
                done = await self._writer.write(
                    lambda store, step=step: step(self._doing.chain, store, retention, now),
                    durable=False,
                )
                dropped += done
                if done < BATCH:
                    break
        return dropped

    async def _bury(self) -> None:
        """Record the end of server processes that died."""
        rows: list[Row] = await self.read(
            lambda store: store.execute("open_instances", {"owner": self.instance})
        )
        for row in rows:
            if not await self.alive(row["instance"]):
                name: str = row["instance"]
                await self._writer.write(
                    lambda store, name=name: self._doing.bury(store, name), durable=False
                )

    async def query(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Rows of a reading query; asked of the writer, so that it sees all that came before."""
        return await self._writer.write(
            lambda store: store.execute(name, parameters), durable=False
        )


def fold_dead(database: Database, doing: Operations, owner: Owner, directory: Path) -> None:
    """Fold what servers that died had spooled, and remove what they held in reserve.

    Args:
        database: To fold into.
        doing: Of this server, which says that it did so.
        owner: Knows who is alive on this machine.
        directory: Where the servers of one state directory keep their files.
    """
    for name, paths in spool.left_behind(directory).items():
        if owner.alive(name):
            continue
        # Both files at once: a call may begin in one and end in the other.
        lines = [line for path in paths for line in spool.read(path)]
        database.begin(durable=True)
        try:
            database.step(lambda store, lines=lines, name=name: doing.fold(store, lines, name))
            doing.chain.seal(database)
            database.commit()
        except BaseException:
            database.rollback()
            raise
        for path in paths:
            path.unlink(missing_ok=True)
    for path in directory.glob("*.ballast"):
        if not owner.alive(path.name.split(".")[0]):
            path.unlink(missing_ok=True)
    for path in directory.glob("*.lock"):
        owner.clear(path)


def _nothing(_store: Store) -> None:
    """The spool is folded with any transaction, also with one that does nothing else."""
