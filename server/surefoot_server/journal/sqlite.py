"""The journal in one SQLite file (WAL), shared by all server processes of a state directory."""

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import apsw
from uuid6 import uuid7

from surefoot_server.journal.owners import Owner
from surefoot_server.journal.records import (
    Closing,
    Entry,
    JournalUnavailable,
    NewCall,
    Receipt,
    Standing,
)
from surefoot_server.journal.sql import QUERIES, SCHEMA
from surefoot_server.journal.states import State
from surefoot_server.journal.writer import Writer
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error

SCHEMA_VERSION = 1
BUSY_TIMEOUT = 10_000
"""Milliseconds that one process waits for another's commit."""
OLDEST_SQLITE = (3, 51, 3)
"""Older ones (but for two backports) can lose commits of a WAL file with several connections."""
BACKPORTS = {(3, 50): 7, (3, 44): 6}

Row = dict[str, Any]


def check_sqlite(version: str) -> None:
    """Refuse an SQLite with the WAL-reset bug (sqlite.org/wal.html, 'The WAL-reset bug').

    Raises:
        JournalUnavailable: the version is too old.
    """
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    fixed_in = BACKPORTS.get((major, minor))
    if (major, minor, patch) < OLDEST_SQLITE and (fixed_in is None or patch < fixed_in):
        raise JournalUnavailable(
            f"SQLite {version} can lose commits in WAL mode; upgrade the package apsw to 3.51.3+"
        )


def connect(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """Open a journal file with the settings that all its connections share."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(BUSY_TIMEOUT)
    connection.row_trace = _as_dict
    return connection


class SqliteJournal:
    """See `records.Journal` for the methods.

    Args:
        path: The file; made with its directory, readable by its owner alone.
        version: Of surefoot, for the record.

    Raises:
        JournalUnavailable: the file cannot be opened, is of a newer version, or SQLite is too old.
    """

    def __init__(self, path: Path, *, version: str) -> None:
        check_sqlite(apsw.sqlite_lib_version())
        self.instance = uuid7().hex
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._owner = Owner(path.parent / "instances", self.instance)
        except OSError as e:
            raise JournalUnavailable(
                f"cannot make the journal {path}: {e.strerror};"
                " set SUREFOOT_HOME to a folder that you may write to"
            ) from e
        try:
            writing = connect(path)
            self.secret = _set_up(writing, self.instance, version)
            self._reading = connect(path, read_only=True)
        except apsw.Error as e:
            self._owner.close()
            raise JournalUnavailable(f"cannot open the journal {path}: {e}") from e
        self._writer = Writer(writing)

    def close(self) -> None:
        """Write what is queued, record the orderly end, and stop being an owner."""
        ended = (time.time(), self.instance)
        self._writer.post(
            lambda db: db.execute("UPDATE instance SET ended_at = ? WHERE instance = ?", ended)
        )
        self._writer.close()
        self._reading.close()
        self._owner.close()

    def find(self, principal: str, key: str) -> Entry | None:
        """The call that this key names."""
        return _entry(self._rows("find_key", (principal, key)))

    def orphans(self) -> list[Entry]:
        """Verifiable calls whose owner is dead."""
        rows = self._rows("running_verifiable", ())
        found = [entry for row in rows if (entry := _entry([row])) is not None]
        return [entry for entry in found if not self.alive(entry.owner)]

    def alive(self, owner: str) -> bool:
        """Whether that server process still runs."""
        return self._owner.alive(owner)

    async def begin(self, call: NewCall, receipt: Receipt, *, durable: bool) -> Entry | None:
        """Begin a call, or return the one that has its key."""
        return await self._writer.write(self._beginning(call, receipt), durable=durable)

    def begin_safe(self, call: NewCall, receipt: Receipt) -> None:
        """Begin a safe call without waiting."""
        self._writer.post(self._beginning(call, receipt))

    def _beginning(
        self, call: NewCall, receipt: Receipt
    ) -> Callable[[apsw.Connection], Entry | None]:
        def operation(db: apsw.Connection) -> Entry | None:
            row = {**asdict(call), "owner": self.instance, "evidence": _json(call.evidence)}
            if not _all(db, "insert_call", row):
                return _entry(_all(db, "find_key", (call.principal, call.key)))
            db.execute(QUERIES["insert_attempt"], (call.call_id, 1, self.instance, call.at))
            self._insert(db, receipt)
            return None

        return operation

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

        def operation(db: apsw.Connection) -> int | None:
            row = {
                "call_id": seen.call_id,
                "state": seen.state,
                "seen_owner": seen.owner,
                "owner": self.instance,
                "evidence": _json(evidence),
            }
            if not _all(db, "reopen_call", row):
                return None
            if closing is not None:
                db.execute(QUERIES["close_attempt"], _end(closing))
            number: int = _all(db, "last_attempt", (seen.call_id,))[0]["number"] + 1
            now = time.time()
            db.execute(QUERIES["insert_attempt"], (seen.call_id, number, self.instance, now))
            if receipt is not None:
                self._insert(db, receipt)
            return number

        return await self._writer.write(operation, durable=durable)

    async def take_over(self, seen: Standing) -> bool:
        """Become the owner of a call whose owner is dead."""
        row = {"call_id": seen.call_id, "seen_owner": seen.owner, "owner": self.instance}
        return await self._writer.write(lambda db: bool(_all(db, "take_over", row)), durable=True)

    async def finish(self, closing: Closing, *, durable: bool) -> None:
        """End an attempt and its call, in one transaction."""

        def operation(db: apsw.Connection) -> None:
            end = _end(closing)
            db.execute(QUERIES["close_attempt"], end)
            body = closing.outcome.result if closing.keep_result else None
            db.execute(
                QUERIES["close_call"], {**end, "result": None if body is None else _json(body)}
            )
            if closing.receipt_id is not None:
                mac = (closing.answer_mac, end["error"], closing.receipt_id)
                db.execute(QUERIES["close_receipt"], mac)

        await self._writer.write(operation, durable=durable)

    async def record(self, receipt: Receipt) -> None:
        """Record a request that started nothing."""
        await self._writer.write(lambda db: self._insert(db, receipt), durable=False)

    def deliver(self, receipt_id: str, at: float) -> None:
        """Record a delivery without waiting."""
        self._writer.post(lambda db: db.execute(QUERIES["deliver_receipt"], (at, receipt_id)))

    async def query(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Rows of a reading query; asked of the writer, so that it sees all that came before."""
        return await self._writer.write(lambda db: _all(db, name, parameters), durable=False)

    def _rows(self, name: str, bindings: tuple[Any, ...]) -> list[Row]:
        try:
            return _all(self._reading, name, bindings)
        except apsw.Error as e:
            raise JournalUnavailable(f"the journal cannot be read: {e}") from e

    def _insert(self, db: apsw.Connection, receipt: Receipt) -> None:
        row = {**asdict(receipt), "instance": self.instance, "error": error_json(receipt.error)}
        db.execute(QUERIES["insert_receipt"], row)


class SqliteReader:
    """A journal file that is only read, whoever writes it; see `records.Reader`.

    Raises:
        JournalUnavailable: there is no journal, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise JournalUnavailable(f"there is no journal at {path}")
        try:
            self._db = connect(path, read_only=True)
            key = self._db.execute("SELECT value FROM setting WHERE name = 'secret'").fetchall()
        except apsw.Error as e:
            raise JournalUnavailable(f"cannot read the journal {path}: {e}") from e
        self.secret: bytes = cast(list[Row], key)[0]["value"]

    async def query(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Rows of a reading query, as last committed."""
        return self.rows(name, parameters)

    def rows(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """The same for who has no event loop."""
        try:
            return _all(self._db, name, parameters)
        except apsw.Error as e:
            raise JournalUnavailable(f"cannot read the journal: {e}") from e

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _set_up(db: apsw.Connection, instance: str, version: str) -> bytes:
    """Make or check the tables, register this process, and return the journal's own key."""
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("BEGIN IMMEDIATE")
    with_key = secrets.token_bytes(32)
    db.execute(SCHEMA)
    db.execute(
        "INSERT INTO setting VALUES ('schema', ?), ('secret', ?) ON CONFLICT DO NOTHING",
        (SCHEMA_VERSION, with_key),
    )
    settings = {row["name"]: row["value"] for row in db.execute("SELECT * FROM setting")}
    if settings["schema"] != SCHEMA_VERSION:
        db.execute("ROLLBACK")
        raise JournalUnavailable(
            f"the journal has version {settings['schema']}, this surefoot reads {SCHEMA_VERSION};"
            " use the surefoot that wrote it, or another SUREFOOT_HOME"
        )
    db.execute(
        "INSERT INTO instance (instance, pid, version, started_at) VALUES (?, ?, ?, ?)",
        (instance, os.getpid(), version, time.time()),
    )
    db.execute("COMMIT")
    return settings["secret"]


def _as_dict(cursor: apsw.Cursor, row: "apsw.SQLiteValues") -> Any:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def _all(
    db: apsw.Connection, name: str, bindings: tuple[Any, ...] | Mapping[str, Any]
) -> list[Row]:
    return cast(list[Row], db.execute(QUERIES[name], bindings).fetchall())


def _end(closing: Closing) -> Row:
    return {
        "call_id": closing.call_id,
        "number": closing.number,
        "state": State(closing.outcome.status.value),
        "error": error_json(closing.outcome.error),
        "at": closing.at,
    }


def _json(value: Any) -> str:
    # ASCII: evidence may hold names that are no UTF-8, which SQLite would not take as text.
    return json.dumps(value, separators=(",", ":"))


def error_json(error: Error | None) -> str | None:
    """An error as the journal stores it."""
    return None if error is None else _json(asdict(error))


def parse_error(text: str | None) -> Error | None:
    """An error as the journal stored it."""
    if text is None:
        return None
    row: dict[str, Any] = json.loads(text)
    return Error(
        code=Code(row["code"]),
        origin=Origin(row["origin"]),
        applied=Applied(row["applied"]),
        message=row["message"],
        hint=row["hint"],
        retry_after=row["retry_after"],
    )


def _entry(rows: list[Row]) -> Entry | None:
    if not rows:
        return None
    row = rows[0]
    return Entry(
        call_id=row["call_id"],
        tool=row["tool"],
        effect=row["effect"],
        fingerprint=row["fingerprint"],
        state=State(row["state"]),
        owner=row["owner"],
        attempts=row["attempts"],
        begun_at=row["begun_at"],
        evidence=json.loads(row["evidence"]),
        result=None if row["result"] is None else json.loads(row["result"]),
        error=parse_error(row["error"]),
    )
