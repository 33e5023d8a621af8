"""A journal in memory, for tests and trials: the same statements, no file, no flush, no lock.

Several journals may share one `Memory`, as servers share a file; `crash` is `kill -9`.
"""

import os
import secrets
from collections.abc import Callable
from typing import Any

from uuid6 import uuid7

from surefoot_server.journal.chain import Store
from surefoot_server.journal.clock import Clock
from surefoot_server.journal.operations import Operations
from surefoot_server.journal.sql import SCHEMA
from surefoot_server.journal.sql_journal import SqlJournal
from surefoot_server.journal.sqlite import SqliteDatabase, connect
from surefoot_server.journal.writer import Groups, Inline


class Memory:
    """What outlives a server: the rows, and who is alive."""

    def __init__(self) -> None:
        self.database = SqliteDatabase(connect(":memory:"))
        self.database.connection.execute(SCHEMA)
        self.secret = secrets.token_bytes(32)
        self.living: set[str] = set()


class _Alive:
    def __init__(self, memory: Memory, instance: str) -> None:
        self._memory = memory
        self._instance = instance
        memory.living.add(instance)

    def alive(self, instance: str) -> bool:
        return instance in self._memory.living

    def close(self) -> None:
        self._memory.living.discard(self._instance)


class MemoryJournal(SqlJournal):
    """See `records.Journal` for the methods.

    Args:
        memory: What it shares with others.
        clock: Seconds since the epoch.
    """

    def __init__(self, memory: Memory, *, clock: Clock | None = None) -> None:
        doing = Operations(uuid7().hex, clock or Clock())
        database = memory.database
        database.begin(durable=False)
        doing.start(database, os.getpid(), "memory")
        database.commit()
        self._alive = _Alive(memory, doing.instance)
        self._memory = memory
        groups = Groups(database, doing.chain, None, lambda _store, _lines: None)
        super().__init__(
            Inline(database, groups), doing, secret=memory.secret, owner=self._alive, spool=None
        )

    def crash(self) -> None:
        """Die as by `kill -9`: what is recorded stays, and nobody is told."""
        self._alive.close()

    async def read(self, step: Callable[[Store], Any]) -> Any:
        """Read at once."""
        return step(self._memory.database)
