"""A journal in PostgreSQL that is only read: as last committed, or as it stood at one moment."""

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg

from surefoot_server.journal.chain import Store
from surefoot_server.journal.postgres_connection import STATEMENTS, Reading, connect
from surefoot_server.journal.records import JournalUnavailable, Row
from surefoot_tools.database.postgres_url import Address, read_url

SCHEMA_VERSION = 3
SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1"
"""The moment is that of the first statement."""


class PostgresReader:
    """A journal that is only read, whoever writes it; see `records.Reader`.

    Args:
        url: As for `PostgresJournal`.

    Raises:
        JournalUnavailable: there is no journal, or it cannot be read.
    """

    def __init__(self, url: str) -> None:
        address = journal_address(url)
        try:
            self._reading = Reading(address, "surefoot reader")
        except psycopg.Error as e:
            raise JournalUnavailable(f"cannot open the journal at {address.place}: {e}") from e
        try:
            if self.rows("count_journals", {})[0]["n"] == 0:
                raise JournalUnavailable(f"there is no journal at {address.place}")
            self._reading.run(check_version)
            self.secret: bytes = self.rows("get_setting", {"name": "secret"})[0]["value"]
        except BaseException:
            self.close()
            raise

    async def query(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Rows of a reading query, as last committed."""
        return await self._reading.in_thread(lambda: self.rows(name, parameters))

    def rows(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """The same for who has no event loop."""
        return self._reading.run(lambda store: store.execute(name, parameters))

    def close(self) -> None:
        """Close the connection."""
        self._reading.close()


class PostgresSnapshot:
    """See `snapshot.Snapshot` for the methods.

    Args:
        url: As for `PostgresJournal`.

    Raises:
        JournalUnavailable: there is no journal, or it cannot be read.
    """

    def __init__(self, url: str) -> None:
        PostgresReader(url).close()  # it looks whether this is a journal, of a version that we know
        address = journal_address(url)
        try:
            self._connection = connect(address, "surefoot snapshot", read_only=True)
            self._connection.execute(SNAPSHOT)
        except psycopg.Error as e:
            raise JournalUnavailable(f"cannot read the journal at {address.place}: {e}") from e
        self._asked = 0

    def rows(self, name: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Row]:
        """Rows of a named statement; PostgreSQL holds them until they are asked for."""
        self._asked += 1
        try:
            with self._connection.cursor(f"look_{self._asked}") as cursor:
                cursor.execute(STATEMENTS[name], parameters or {})
                yield from cursor
        except psycopg.Error as e:
            raise JournalUnavailable(f"the journal cannot be read: {e}") from e

    def renew(self) -> None:
        """Move on to the present."""
        try:
            self._connection.execute(b"COMMIT; " + SNAPSHOT)
        except psycopg.Error as e:
            raise JournalUnavailable(f"the journal cannot be read: {e}") from e

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def journal_address(url: str) -> Address:
    """Where a journal is.

    Raises:
        JournalUnavailable: the URL cannot be read; no part of it is shown.
    """
    try:
        return read_url("of the journal", url)
    except ValueError as e:
        raise JournalUnavailable(str(e)) from None


def check_version(store: Store) -> None:
    """Refuse a journal that another version of surefoot made.

    Raises:
        JournalUnavailable: it is one.
    """
    (found,) = store.execute("get_setting", {"name": "schema"}) or [{"value": b"none"}]
    value: bytes = found["value"]
    if value != str(SCHEMA_VERSION).encode():
        fix = "use the surefoot that wrote it, or another database"
        if value == b"2":
            fix = "start a server on it, which brings it up"
        raise JournalUnavailable(
            f"the journal has version {value.decode()}, this surefoot reads {SCHEMA_VERSION}; {fix}"
        )
