"""The inbox in MySQL and MariaDB: claimed first in a transaction, filled last.

Two transactions under one key: the second one's claim waits until the first has ended, a COMMIT
still on its way included; then it finds the row, or claims the key itself. A claim that is there
without a result is of statements that committed by themselves: they may have run in part.
"""

from dataclasses import dataclass

from surefoot_tools.database import inbox
from surefoot_tools.database.engine import INBOX, Executed
from surefoot_tools.database.mysql_connection import translated
from surefoot_tools.database.mysql_driver import Connection, run
from surefoot_tools.database.mysql_errors import FAILURES, inbox_error, number_of
from surefoot_tools.database.mysql_values import text_literal
from surefoot_tools.database.stop import Stop
from surefoot_tools.errors import Applied, Code, Origin, ToolError

DUPLICATE = 1062
NO_TABLE = 1146
_NOT_ALLOWED = frozenset({1044, 1142, 1143})
_NOT_TRANSACTIONAL = (
    "SELECT t.table_name FROM information_schema.tables t JOIN information_schema.engines e"
    " ON e.engine = t.engine WHERE t.table_schema = DATABASE() AND t.table_type = 'BASE TABLE'"
    " AND e.transactions <> 'YES'"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """The key has run."""

    fingerprint: object
    result: object
    """As `inbox.encode` made it; None while statements that commit by themselves run."""


class Inbox:
    """The inbox of one database, on one connection.

    Args:
        connection: Of the call.
        database: The name of the database, since a statement of the caller may lead names astray.
        stop: Of the call.
    """

    def __init__(self, connection: Connection, database: str, stop: Stop) -> None:
        self._connection = connection
        self._table = f"`{database.replace('`', '``')}`.{INBOX}"
        self._stop = stop

    async def claim(self, key: str, fingerprint: str) -> Stored | None:
        """Begin a transaction whose first statement claims the key.

        Returns:
            What the key gave when it ran; None for a new one.

        Raises:
            ToolError: the inbox cannot be used.
        """
        with translated(self._stop):
            try:
                return await self._claim(key, fingerprint)
            except FAILURES as error:
                if number_of(error) != NO_TABLE:
                    raise
            await run(self._connection, "ROLLBACK")
            await self._create()
            return await self._claim(key, fingerprint)

    async def _claim(self, key: str, fingerprint: str) -> Stored | None:
        await run(self._connection, "START TRANSACTION")
        values = f"{_key(key)}, {text_literal(fingerprint)}"
        insert = f"INSERT INTO {self._table} (`key`, fingerprint) VALUES ({values})"  # noqa: S608 -- names of ours, literals in hexadecimal
        try:
            await run(self._connection, insert)
        except FAILURES as error:
            if number_of(error) in _NOT_ALLOWED:
                raise self._refused(error) from error
            if number_of(error) != DUPLICATE:
                raise
        else:
            return None
        found = await run(
            self._connection,
            f"SELECT fingerprint, result FROM {self._table} WHERE `key` = {_key(key)}",  # noqa: S608
        )
        if not found:
            raise ToolError(
                Code.ABORTED,
                "the record of this key was taken away while it was read; nothing was done",
                origin=Origin.ENVIRONMENT,
                retry_after=0.0,
            )
        return Stored(*found[0])

    async def _create(self) -> None:
        """Make the table, which commits by itself: before the transaction of the caller."""
        try:
            await run(
                self._connection,
                f"CREATE TABLE IF NOT EXISTS {self._table} (`key` VARBINARY(760) PRIMARY KEY,"
                " fingerprint CHAR(64) CHARACTER SET ascii NOT NULL, result LONGTEXT CHARACTER SET"
                " utf8mb4, at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)) ENGINE = InnoDB",
            )
        except FAILURES as error:
            if number_of(error) in _NOT_ALLOWED:
                raise self._refused(error) from error
            raise

    def _refused(self, error: BaseException) -> ToolError:
        assert isinstance(error, FAILURES)  # noqa: S101 -- for the type checker
        wanted = (
            f"GRANT CREATE ON {self._table.rpartition('.')[0]}.* TO the_user",
            f"or, where the table is there: GRANT SELECT, INSERT, UPDATE, DELETE ON {self._table}"
            " TO the_user",
        )
        return inbox_error(error, INBOX, wanted)

    async def plain_tables(self) -> list[str]:
        """The tables of the database whose changes no ROLLBACK takes back (MyISAM, Aria).

        Raises:
            ToolError: the inbox is one of them.
        """
        with translated(self._stop):
            found = [str(row[0]) for row in await run(self._connection, _NOT_TRANSACTIONAL)]
        if INBOX in found:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"the table {INBOX} has an engine without transactions",
                origin=Origin.ENVIRONMENT,
                hint=f"ALTER TABLE {INBOX} ENGINE = InnoDB",
            )
        return found

    async def holds(self, key: str) -> bool:
        """Whether the claim is there, without a result."""
        with translated(self._stop):
            found = await run(
                self._connection,
                f"SELECT 1 FROM {self._table} WHERE `key` = {_key(key)} AND result IS NULL",  # noqa: S608
            )
        return bool(found)

    async def drop(self, key: str) -> None:
        """Take a claim back: nothing of it has happened."""
        with translated(self._stop):
            await run(
                self._connection,
                f"DELETE FROM {self._table} WHERE `key` = {_key(key)} AND result IS NULL",  # noqa: S608
            )

    async def store(self, key: str, executed: Executed) -> None:
        """Put the results beside the claim.

        Raises:
            ToolError: the claim is not there any more; the transaction must not commit.
        """
        if not await self.holds(key):
            raise ToolError(
                Code.FAILED_PRECONDITION if executed.atomic else Code.DATA_LOSS,
                f"the statements removed their own record from {INBOX}"
                + ("; all was rolled back" if executed.atomic else ""),
                applied=Applied.NO if executed.atomic else Applied.UNKNOWN,
            )
        result = text_literal(inbox.encode(executed))
        with translated(self._stop):
            await run(
                self._connection,
                f"UPDATE {self._table} SET result = {result} WHERE `key` = {_key(key)}",  # noqa: S608
            )

    async def look(self, key: str) -> Stored | None:
        """What the inbox has of a key, once no transaction under it is in flight.

        Leaves a transaction open, to be rolled back.
        """
        with translated(self._stop):
            try:
                return await self._claim(key, "")
            except FAILURES as error:
                if number_of(error) != NO_TABLE:
                    raise
                return None

    async def purge(self, older_than: float) -> int:
        """Remove the rows made before a Unix time; the number of them."""
        with translated(self._stop):
            try:
                await run(
                    self._connection,
                    f"DELETE FROM {self._table} WHERE at < TIMESTAMP'1970-01-01 00:00:00'"  # noqa: S608
                    f" + INTERVAL {older_than:.6f} SECOND",
                )
                ((count,),) = await run(self._connection, "SELECT ROW_COUNT()")
            except FAILURES as error:
                if number_of(error) != NO_TABLE:
                    raise
                return 0
        return int(count)


def _key(key: str) -> str:
    return f"X'{key.encode().hex()}'"
