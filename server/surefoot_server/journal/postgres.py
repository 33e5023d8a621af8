"""The journal in PostgreSQL 15 or newer, shared by servers on many machines.

Transactions are serial: each takes the journal's advisory lock before anything else, as SQLite's
BEGIN IMMEDIATE does. So what one of them has read stays true until it commits, whoever else writes;
rows need no locks in any order; and events have ids in the order of their commits, which pruning
rests on. That costs little, for each server commits in groups.

When a connection is lost during COMMIT, nobody tells whether it committed. The journal does: what
the transaction sealed as the end of this server's chain is there, or is not. To look, a new session
ends what is left of the old one and takes the lock, so that nothing is on its way any more.
"""

import os
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from uuid6 import uuid7

from surefoot_server.journal.chain import Chain, Store
from surefoot_server.journal.clock import Clock
from surefoot_server.journal.operations import Operations
from surefoot_server.journal.owners import Owner
from surefoot_server.journal.postgres_connection import (
    JOBS,
    LOST,
    SCHEMA,
    Reading,
    connect,
    execute,
)
from surefoot_server.journal.postgres_owner import PostgresOwner, halves, lock_key
from surefoot_server.journal.postgres_reader import SCHEMA_VERSION, check_version, journal_address
from surefoot_server.journal.records import JournalUnavailable, Row
from surefoot_server.journal.spool import Spool
from surefoot_server.journal.sql_journal import SqlJournal, fold_dead
from surefoot_server.journal.writer import Groups, Writer
from surefoot_tools.database.postgres_url import Address

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""A stricter one would go on seeing what was there before the lock was taken."""
JOURNAL_LOCK = lock_key("journal")
SETTLE_SECONDS = 10.0
"""How long a lost COMMIT is asked after before its callers are told that nobody knows."""
SETTLE_PAUSE = 0.2

T = TypeVar("T")


class PostgresDatabase:
    """See `writer.Database` for the methods.

    Args:
        address: Of the database.
        owner: Whose lock each transaction looks at.
        chain: Of this server; set to where the journal has it whenever a transaction begins.
    """

    def __init__(self, address: Address, owner: PostgresOwner, chain: Chain) -> None:
        self._address = address
        self._owner = owner
        self._chain = chain
        self._application = f"surefoot journal {owner.instance}"
        self._connection = connect(address, self._application)
        self._was_lost = False
        self.held = True
        """Whether the owner held its lock when the transaction began."""
        self.epoch = owner.epoch
        """The owner's, as the journal has it."""

    def execute(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Run a named statement."""
        return execute(self._connection, name, parameters)

    def begin(self, *, durable: bool) -> None:
        """Begin a transaction that no other writer shares.

        Nothing is done yet when a lost connection shows here, so a new one goes on.
        """
        try:
            self._enter(durable=durable)
        except LOST:
            if not self._connection.closed:
                self.rollback()
                raise
            self._reconnect()
            self._enter(durable=durable)

    def _enter(self, *, durable: bool) -> None:
        # What the server has as its default is not asked: a power cut would.
        flushed = "on" if durable else "off"
        high, low = halves(lock_key(self._owner.name))
        # One message to the server: statements without parameters may come together.
        cursor = self._connection.execute(
            f"{BEGIN}; SET LOCAL synchronous_commit = {flushed};"  # noqa: S608 - numbers and own names
            f" SELECT pg_advisory_xact_lock({JOURNAL_LOCK});"
            f" SELECT i.epoch, i.seq, i.chain, EXISTS (SELECT 1 FROM pg_locks l"
            f"  WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            f"  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            f"  AND classid = {high} AND objid = {low}) AS held"
            f" FROM instance i WHERE instance = '{self._owner.instance}';"
            f" SAVEPOINT step".encode()
        )
        found: list[Row] = []
        while cursor.nextset():
            if cursor.description is not None:
                found = cursor.fetchall()
        if not found:
            raise psycopg.OperationalError("the journal does not know this server any more")
        self._chain.reset((found[0]["seq"], found[0]["chain"]))
        self.held, self.epoch = found[0]["held"], found[0]["epoch"]

    def commit(self) -> None:
        """Commit it; an answer that was lost on the way is asked for again."""
        try:
            done = self._connection.execute("COMMIT")
        except LOST:
            if not self._connection.closed:
                raise
            if not self._has_committed(self._chain.mark()):
                self._was_lost = True
                raise
        else:
            if done.statusmessage != "COMMIT":
                raise psycopg.OperationalError("PostgreSQL rolled the transaction back")

    def _has_committed(self, sealed: tuple[int, str]) -> bool:
        """Whether the chain stands where the lost transaction sealed it.

        One that sealed nothing has only read, or pruned what the next pruning finds again.
        """
        ends = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                self._reconnect()
                self._enter(durable=True)
            except LOST as e:
                if time.monotonic() > ends:
                    raise JournalUnavailable(
                        "the connection was lost during COMMIT, and nobody answers since"
                    ) from e
                time.sleep(SETTLE_PAUSE)
            else:
                self.rollback()
                return self._chain.mark() == sealed

    def _reconnect(self) -> None:
        with suppress(psycopg.Error):
            self._connection.close()
        self._connection = connect(self._address, self._application)
        self.execute("end_sessions", {"application": self._application})

    def rollback(self) -> None:
        """Take it back."""
        with suppress(psycopg.Error):
            if not self._connection.closed:
                self._connection.execute("ROLLBACK")

    def step(self, operation: Callable[[Store], T]) -> T:
        """Run an operation in a savepoint, which is there before it and again after it."""
        try:
            value = operation(self)
        except BaseException:
            with suppress(psycopg.Error):  # it is lost, and whoever commits will see that
                self._connection.execute("ROLLBACK TO step")
            raise
        self._connection.execute("RELEASE step; SAVEPOINT step")
        return value

    def is_lost(self, error: Exception) -> bool:
        """Whether the database is in trouble."""
        return self._connection.closed or isinstance(error, LOST)

    def make_room(self) -> bool:
        """Connect again, if that is what failed: an outcome is worth a second try."""
        lost = self._was_lost or self._connection.closed
        self._was_lost = False
        if self._connection.closed:
            try:
                self._reconnect()
            except LOST:
                return False
        return lost

    def restore_reserve(self) -> None:
        """Nothing is held in reserve."""

    def set_up(self, doing: Operations, clock: Clock, version: str) -> bytes:
        """Make or check the tables, enter this server, and give the journal's own key."""
        self._connection.execute(
            f"{BEGIN}; SET LOCAL synchronous_commit = on;"
            f" SELECT pg_advisory_xact_lock({JOURNAL_LOCK})".encode()
        )
        try:
            if self.execute("count_journals", {})[0]["n"] == 0:
                self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS surefoot; {SCHEMA}".encode())
                key = secrets.token_bytes(32)
                for name, value in (("schema", str(SCHEMA_VERSION).encode()), ("secret", key)):
                    self.execute("insert_setting", {"name": name, "value": value})
            self._upgrade()
            check_version(self)
            for row in self.execute("last_time", {}):
                clock.advance(row["at"])
            doing.start(self, os.getpid(), version)
            secret: bytes = self.execute("get_setting", {"name": "secret"})[0]["value"]
            self.commit()
        except BaseException:
            self.rollback()
            raise
        return secret

    def _upgrade(self) -> None:
        """Bring a journal of the version before up to ours."""
        (found,) = self.execute("get_setting", {"name": "schema"}) or [{"value": b""}]
        if found["value"] == b"2":
            self._connection.execute(JOBS.encode())
            self.execute("change_setting", {"name": "schema", "value": b"3"})

    def close(self) -> None:
        """Close the connection."""
        with suppress(psycopg.Error):
            self._connection.close()


class PostgresJournal(SqlJournal):
    """See `records.Journal` for the methods.

    Args:
        url: `postgresql://user:password@host:port/database`.
        directory: Where this machine's servers spool what need not wait for a commit.
        version: Of surefoot, for the record.
        clock: Seconds since the epoch.

    Raises:
        JournalUnavailable: it cannot be opened; the message shows no password.
    """

    def __init__(
        self, url: str, *, directory: Path, version: str, clock: Clock | None = None
    ) -> None:
        address = journal_address(url)
        clock = clock or Clock()
        doing = Operations(uuid7().hex, clock)
        with ExitStack() as opened, _explained(address, directory):
            self._here = Owner(directory, doing.instance)
            opened.callback(self._here.close)
            waiting = Spool(directory / doing.instance)
            opened.callback(waiting.close)
            self._reading = Reading(address, f"surefoot reader {doing.instance}")
            opened.callback(self._reading.close)
            self._lock = PostgresOwner(address, doing.instance, self._reading)
            opened.callback(self._lock.close)
            doing.owner = self._lock.name
            self._database = PostgresDatabase(address, self._lock, doing.chain)
            opened.callback(self._database.close)
            secret = self._database.set_up(doing, clock, version)
            fold_dead(self._database, doing, self._here, directory)
            opened.pop_all()
        groups = Groups(
            self._database,
            doing.chain,
            waiting,
            lambda store, lines: doing.fold(store, lines, doing.instance),
            self._renew,
        )
        writer = Writer(self._database, groups)
        super().__init__(writer, doing, secret=secret, owner=self._lock, spool=waiting)

    def _renew(self, _store: Store) -> None:
        """Take the next epoch where this one is dead; see `postgres_owner`."""
        if not self._database.held:
            self._lock.take_epoch()
            self._doing.owner = self._lock.name
        elif self._database.epoch == self._lock.epoch:
            return
        self._database.step(self._write_epoch)

    def _write_epoch(self, store: Store) -> None:
        names = {"instance": self.instance, "epoch": self._lock.epoch}
        rows = [("instance", row) for row in store.execute("begin_epoch", names)]
        self._doing.chain.append(store, self.now(), "epoch", rows)

    async def read(self, step: Callable[[Store], Any]) -> Any:
        """Read on a connection and in a thread of its own."""
        return await self._reading.in_thread(lambda: self._reading.run(step))

    async def alive(self, owner: str) -> bool:
        """Whether the server that owns a call still holds its lock."""
        return await self._reading.in_thread(lambda: self._lock.alive(owner))

    def close(self) -> None:
        """Write what is queued, record the orderly end, and stop being an owner."""
        super().close()
        self._reading.close()
        self._here.close()


@contextmanager
def _explained(address: Address, directory: Path) -> Generator[None]:
    """Say of a failure to open the journal what it is about."""
    try:
        yield
    except OSError as e:
        raise JournalUnavailable(
            f"cannot write to {directory}: {e.strerror};"
            " set SUREFOOT_HOME to a folder that you may write to"
        ) from e
    except psycopg.Error as e:
        raise JournalUnavailable(f"cannot open the journal at {address.place}: {e}") from e
