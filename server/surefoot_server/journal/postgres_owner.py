"""Who is alive among the servers of a journal in PostgreSQL: whoever holds its advisory lock.

A session-level lock on a connection of its own needs no clock, and PostgreSQL frees it when that
connection ends. But a connection can end while its server lives, and then others may take its calls
over. So a server owns calls under a name with a fencing epoch, `INSTANCE/EPOCH`, and each epoch has
a lock of its own. One rule follows from that: an epoch whose lock was lost is dead, and for good.
Its server takes the next one in the first transaction after that, before anything else is written,
and is to the calls of the epoch before what any other server is: it cannot finish them (`Fenced`),
it can take them over and ask their tools. So an opaque effect ends in doubt, for its tool cannot
tell, and all others end as the world tells; the journal needs no exception for any effect. It would
be wrong to let the old epoch finish as long as nobody took its calls over: others may have looked
and told their callers already that nobody knows.
"""

import hashlib
from contextlib import suppress

import psycopg

from surefoot_server.journal.chain import Store
from surefoot_server.journal.postgres_connection import Connection, Reading, connect, execute
from surefoot_server.journal.records import JournalUnavailable
from surefoot_tools.database.postgres_url import Address


def lock_key(name: str) -> int:
    """The key of an advisory lock: 64 bits, signed, as PostgreSQL has them."""
    digest = hashlib.sha256(f"surefoot {name}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def halves(key: int) -> tuple[int, int]:
    """A key as `pg_locks` shows it: `classid` and `objid`."""
    return key >> 32 & 0xFFFFFFFF, key & 0xFFFFFFFF


class PostgresOwner:
    """This server as an owner of calls; alive as long as its connection holds the lock.

    Args:
        address: Of the database.
        instance: This process's own name, unique for ever.
        reading: Looks at the locks.

    Raises:
        psycopg.OperationalError: it cannot be reached.
    """

    def __init__(self, address: Address, instance: str, reading: Reading) -> None:
        self.instance = instance
        self.epoch = 0
        self._address = address
        self._reading = reading
        self._connection: Connection | None = None
        self.take_epoch()

    @property
    def name(self) -> str:
        """As whom it owns the calls that it begins now."""
        return f"{self.instance}/{self.epoch}"

    def take_epoch(self) -> None:
        """Begin the next epoch, with a lock that nobody has held before."""
        self.close()
        self._connection = connect(self._address, f"surefoot owner {self.instance}")
        self.epoch += 1
        (row,) = execute(self._connection, "take_lock", {"key": lock_key(self.name)})
        if not row["taken"]:
            raise JournalUnavailable(f"somebody else is {self.name}")

    def alive(self, instance: str) -> bool:
        """Whether an owner holds its lock; a name without an epoch: whichever that server has.

        Looks without taking anything.
        """
        return self._reading.run(lambda store: _holds_lock(store, instance))

    def close(self) -> None:
        """Stop being alive."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                # PostgreSQL may take a while to see that a connection is closed.
                self._connection.execute("SELECT pg_advisory_unlock_all()")
            with suppress(psycopg.Error):
                self._connection.close()


def _holds_lock(store: Store, name: str) -> bool:
    if "/" not in name:
        rows = store.execute("find_instance", {"instance": name})
        if not rows:
            return False
        name = f"{name}/{rows[0]['epoch']}"
    high, low = halves(lock_key(name))
    return bool(store.execute("owner_lock", {"high": high, "low": low}))
