"""One call's statements on MySQL or MariaDB: together with their record, or at most once.

Whether the transaction still is the one that claimed the key is asked of the server after every
statement that could have ended it: a savepoint lives no longer than its transaction.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

import anyio

from surefoot_tools.database import inbox
from surefoot_tools.database.budget import Budget
from surefoot_tools.database.engine import Executed, Rows, Statement, at_statement
from surefoot_tools.database.mysql_connection import run_statement, translated
from surefoot_tools.database.mysql_driver import Connection, in_transaction, run
from surefoot_tools.database.mysql_errors import (
    FAILURES,
    ROLLED_BACK,
    UNCHANGED,
    commit_error,
    number_of,
)
from surefoot_tools.database.mysql_guard import PLAIN, first_words
from surefoot_tools.database.mysql_inbox import Inbox
from surefoot_tools.database.stop import CANCEL_GRACE, Stop
from surefoot_tools.errors import Applied, Code, Origin, ToolError

RETURNED_ROWS = 1000
"""Most rows that one statement gives back."""

COMMIT_TIMEOUT = 30.0
"""Seconds for the answer to a COMMIT; then nobody knows what became of it."""

_OF_THE_CLIENT = range(2000, 3000)
"""Numbers that the driver gives for a connection that is gone, and no server."""

_MARK = "surefoot_mark"
_NO_SAVEPOINT = 1305


class _State(StrEnum):
    """Where the transaction that claimed the key stands."""

    WHOLE = "whole"
    """Open, with all that was done since the claim."""
    COMMITTED = "committed"
    """The claim is committed, and perhaps more."""
    ROLLED_BACK = "rolled back"
    """The claim is not there."""
    UNKNOWN = "unknown"


def _with(error: ToolError, applied: Applied, message: str | None = None) -> ToolError:
    return ToolError(
        error.code,
        message or error.message,
        applied=applied,
        origin=error.origin,
        hint=error.hint,
        retry_after=error.retry_after,
    )


class Transaction:
    """What one call runs.

    Args:
        connection: Without a transaction.
        books: The inbox.
        key: Of the intent.
        stop: Of the call.
    """

    def __init__(self, connection: Connection, books: Inbox, key: str, stop: Stop) -> None:
        self._connection = connection
        self._books = books
        self._key = key
        self._stop = stop
        self._atomic = True
        """Whether everything since the claim is in one transaction, the claim included."""

    async def run(self, statements: Sequence[Statement]) -> Executed:
        """Run them, or find that they have run.

        What is not committed when the connection is closed is rolled back by the server: every way
        out but COMMIT leaves nothing of the transaction that is open.
        """
        fingerprint = inbox.fingerprint(statements)
        plain = await self._books.plain_tables()
        found = await self._books.claim(self._key, fingerprint)
        if found is not None:
            inbox.same_call(found.fingerprint, fingerprint)
            return inbox.decode(found.result)
        if _touches(statements, plain):
            # No ROLLBACK takes back what is done to these tables.
            await self._begin_anew()
        with translated(self._stop):
            await run(self._connection, f"SAVEPOINT {_MARK}")
        results = await self._run_all(statements)
        executed = Executed(results, atomic=self._atomic)
        await self._books.store(self._key, executed)
        await self._commit()
        return executed

    async def _begin_anew(self) -> None:
        """Commit the claim; from here on the call acts at most once."""
        self._atomic = False
        with translated(self._stop):
            await run(self._connection, "COMMIT")
            await run(self._connection, "START TRANSACTION")

    async def _run_all(self, statements: Sequence[Statement]) -> list[Rows]:
        budget = Budget()
        results: list[Rows] = []
        for number, statement in enumerate(statements, start=1):
            first = first_words(statement.sql, 1)
            self._stop.certain = self._atomic and first in PLAIN
            try:
                rows = await run_statement(
                    self._connection,
                    statement,
                    self._stop,
                    writing=True,
                    max_rows=RETURNED_ROWS,
                    budget=budget,
                )
            except ToolError as error:
                raise await self._failed(error, number, len(statements)) from error
            results.append(rows)
            if first not in PLAIN and not await self._is_whole():
                await self._go_on(number, len(statements))
            self._stop.certain = self._atomic
        return results

    async def _is_whole(self) -> bool:
        """Whether the transaction is still the one in which the mark was made."""
        with translated(self._stop):
            if not await in_transaction(self._connection):
                return False
            try:
                await run(self._connection, f"RELEASE SAVEPOINT {_MARK}")
            except FAILURES as error:
                if number_of(error) == _NO_SAVEPOINT:
                    return False
                raise
            await run(self._connection, f"SAVEPOINT {_MARK}")
        return True

    async def _go_on(self, number: int, count: int) -> None:
        """A statement committed all before it, the claim included, and itself."""
        self._atomic = False
        with translated(self._stop):
            # What a procedure began after its COMMIT is its own; it must not be lost.
            await run(self._connection, "COMMIT")
            await run(self._connection, "START TRANSACTION")
            await run(self._connection, f"SAVEPOINT {_MARK}")
        if not await self._books.holds(self._key):
            raise ToolError(
                Code.DATA_LOSS,
                f"statement {number} of {count} rolled the transaction back and may have committed"
                " changes of its own",
                applied=Applied.UNKNOWN,
                origin=Origin.TOOL,
            )

    async def _failed(self, error: ToolError, number: int, count: int) -> ToolError:
        """What a failed statement means for the call."""
        cause = error.__cause__
        number_told = 0 if cause is None else number_of(cause)
        answered = number_told > 0 and number_told not in _OF_THE_CLIENT
        refused = cause is None and not self._stop.asked  # before it was sent
        if self._atomic and (self._stop.certain or refused):
            return at_statement(error, number, count)
        state = await self._state() if answered or cause is None else _State.UNKNOWN
        if state is _State.WHOLE or (state is _State.ROLLED_BACK and number_told in ROLLED_BACK):
            return at_statement(_with(error, Applied.NO), number, count)
        if state is _State.UNKNOWN:
            # Another attempt finds the claim, or that there is none.
            told = f"statement {number} of {count}: {error.message}; whether it was carried out is"
            return _with(error, Applied.UNKNOWN, message=f"{told} not known")
        if number == 1 and (cause is None or number_told in UNCHANGED):
            await self._books.drop(self._key)
            told = f"statement 1 of {count}: {error.message}; nothing was changed"
            return _with(error, Applied.NO, message=told)
        # In part, and no retry: the key finds its claim, and never runs again.
        return ToolError(
            error.code if number > 1 else Code.DATA_LOSS,
            f"statement {number} of {count}: {error.message}; this call was not one transaction:"
            " statements before it are there, and it may have been carried out in part",
            applied=Applied.YES if number > 1 else Applied.UNKNOWN,
            origin=error.origin,
            hint="look at what is there; the key will not run again",
        )

    async def _state(self) -> "_State":
        """Where the transaction stands after a failure."""
        if not self._atomic:
            return _State.COMMITTED
        with anyio.move_on_after(CANCEL_GRACE, shield=True):
            try:
                if await self._is_whole():
                    return _State.WHOLE
                there = await self._books.holds(self._key)
            except ToolError:
                return _State.UNKNOWN
            return _State.COMMITTED if there else _State.ROLLED_BACK
        return _State.UNKNOWN

    async def _commit(self) -> None:
        self._stop.begin_final_step()
        done = False
        try:
            with anyio.move_on_after(COMMIT_TIMEOUT):
                await run(self._connection, "COMMIT")
                done = True
        except FAILURES as error:
            raise commit_error(error) from error
        if not done:
            raise commit_error(RuntimeError("no answer in time"))


def _touches(statements: Sequence[Statement], tables: Sequence[str]) -> bool:
    """Whether a statement names one of the tables, or runs a procedure that could."""
    if not tables:
        return False
    named = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in tables), re.I)
    return any(
        named.search(each.sql) is not None or first_words(each.sql, 1) == "call"
        for each in statements
    )


async def try_out(connection: Connection, statements: Sequence[Statement], stop: Stop) -> Executed:
    """Run the statements and roll back.

    In an XA transaction, in which the server refuses whatever would commit by itself, before it
    does anything. Source: MySQL's manual, 'XA Transaction States'.
    """
    books = Inbox(connection, "", stop)
    if _touches(statements, await books.plain_tables()):
        raise ToolError(
            Code.FAILED_PRECONDITION,
            "a table of these statements has an engine without transactions: no dry run could take"
            " its changes back",
            hint="run it without dry_run",
        )
    with translated(stop):
        await run(connection, f"XA START '{_MARK}'")
    budget = Budget()
    results: list[Rows] = []
    for number, statement in enumerate(statements, start=1):
        try:
            rows = await run_statement(
                connection, statement, stop, writing=True, max_rows=RETURNED_ROWS, budget=budget
            )
        except ToolError as error:
            raise at_statement(error, number, len(statements)) from error
        results.append(rows)
    with translated(stop):
        await run(connection, f"XA END '{_MARK}'")
        await run(connection, f"XA ROLLBACK '{_MARK}'")
    return Executed(results)
