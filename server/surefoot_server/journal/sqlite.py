"""The journal in one SQLite file (WAL), shared by all server processes of a state directory."""

import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import apsw
from uuid6 import uuid7

from surefoot_server.journal.chain import Store
from surefoot_server.journal.clock import Clock
from surefoot_server.journal.operations import Operations
from surefoot_server.journal.owners import Owner, is_held
from surefoot_server.journal.records import JournalUnavailable, Row
from surefoot_server.journal.reserve import Ballast
from surefoot_server.journal.spool import Spool, left_behind
from surefoot_server.journal.sql import QUERIES, SCHEMA, TABLES
from surefoot_server.journal.sql_journal import SqlJournal, fold_dead
from surefoot_server.journal.writer import Groups, Writer

SCHEMA_VERSION = 3
UPGRADES = {2: TABLES["jobs"]}
"""What makes a journal of an older version one of the next."""
BUSY_TIMEOUT = 10_000
"""Milliseconds that one process waits for another's commit."""
OLDEST_SQLITE = (3, 51, 3)
"""Older ones (but for two backports) can lose commits of a WAL file with several connections."""
BACKPORTS = {(3, 50): 7, (3, 44): 6}
LONGEST_WAL = 16 * 1024 * 1024
"""Bytes; a longer one is cut when it is reset, so that one busy minute does not stay on disk."""

T = TypeVar("T")
_WHOLE_FILE = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
)
"""What is not one operation's trouble but the file's."""


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


def connect(path: Path | str, *, read_only: bool = False) -> apsw.Connection:
    """Open a journal file with the settings that all its connections share."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(BUSY_TIMEOUT)
    return connection


class SqliteDatabase:
    """See `writer.Database` for the methods.

    Args:
        connection: Opened by the caller.
        ballast: Given up when the disk is full; None where there is none.
    """

    def __init__(self, connection: apsw.Connection, ballast: Ballast | None = None) -> None:
        self.connection = connection
        self._ballast = ballast
        self._synchronous = ""
        self._columns: dict[str, list[str]] = {}

    def execute(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Run a named statement."""
        found: list[Row] = []
        cursor = self.connection.execute(QUERIES[name], parameters)
        for row in cursor:
            columns = self._columns.get(name)
            if columns is None:  # once a statement: it costs as much as the statement does
                columns = self._columns[name] = [each[0] for each in cursor.description]
            found.append(dict(zip(columns, row, strict=True)))
        return found

    def begin(self, *, durable: bool) -> None:
        """Begin a transaction that writes."""
        # Cannot be changed inside a transaction; NORMAL still survives a kill, not a power cut.
        level = "FULL" if durable else "NORMAL"
        if level != self._synchronous:
            self.connection.execute(f"PRAGMA synchronous={level}")
            self._synchronous = level
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit it."""
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        """Take it back."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def step(self, operation: Callable[[Store], T]) -> T:
        """Run an operation in a savepoint."""
        self.connection.execute("SAVEPOINT step")
        try:
            value = operation(self)
        except BaseException:
            # A full disk or an error of the file ends the whole transaction by itself.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO step; RELEASE step")
            raise
        self.connection.execute("RELEASE step")
        return value

    def is_lost(self, error: Exception) -> bool:
        """Whether the file is in trouble."""
        return isinstance(error, _WHOLE_FILE)

    def make_room(self) -> bool:
        """Give up the ballast."""
        return self._ballast is not None and self._ballast.release()

    def restore_reserve(self) -> None:
        """Take ballast again."""
        if self._ballast is not None:
            self._ballast.take()

    def close(self) -> None:
        """Close the connection, and keep nothing in reserve any more."""
        self.connection.close()
        if self._ballast is not None:
            self._ballast.release()


class SqliteJournal(SqlJournal):
    """See `records.Journal` for the methods.

    Args:
        path: The file; made with its directory, readable by its owner alone.
        version: Of surefoot, for the record.
        clock: Seconds since the epoch.

    Raises:
        JournalUnavailable: the file cannot be opened, is of a newer version, or SQLite is too old.
    """

    def __init__(self, path: Path, *, version: str, clock: Clock | None = None) -> None:
        check_sqlite(apsw.sqlite_lib_version())
        clock = clock or Clock()
        doing = Operations(uuid7().hex, clock)
        instances = path.parent / "instances"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            owner = Owner(instances, doing.instance)
            waiting = Spool(instances / doing.instance)
        except OSError as e:
            raise JournalUnavailable(
                f"cannot make the journal {path}: {e.strerror};"
                " set SUREFOOT_HOME to a folder that you may write to"
            ) from e
        try:
            database = SqliteDatabase(connect(path), Ballast(instances / doing.instance))
            secret = _set_up(database, doing, clock, version)
            fold_dead(database, doing, owner, instances)
            self._reading = SqliteDatabase(connect(path, read_only=True))
            # It opens its files with its first read, and later there may be no descriptor left.
            self._reading.execute("get_setting", {"name": "schema"})
        except apsw.Error as e:
            waiting.close()
            owner.close()
            raise JournalUnavailable(f"cannot open the journal {path}: {e}") from e
        groups = Groups(
            database,
            doing.chain,
            waiting,
            lambda store, lines: doing.fold(store, lines, doing.instance),
        )
        writer = Writer(database, groups)
        super().__init__(writer, doing, secret=secret, owner=owner, spool=waiting)

    async def read(self, step: Callable[[Store], Any]) -> Any:
        """Read on a connection of its own, at once: SQLite reads while another writes."""
        try:
            return step(self._reading)
        except apsw.Error as e:
            raise JournalUnavailable(f"the journal cannot be read: {e}") from e

    def close(self) -> None:
        """Write what is queued, record the orderly end, and stop being an owner."""
        self._reading.close()  # the last to close folds the WAL in, and must be one that may write
        super().close()


class SqliteReader:
    """A journal file that is only read, whoever writes it; see `records.Reader`.

    What a server that died has left beside the file is folded in first, and a file of an older
    version becomes one of this, where that can be done.

    Raises:
        JournalUnavailable: there is no journal, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise JournalUnavailable(f"there is no journal at {path}")
        if _left_by_the_dead(path.parent / "instances") or _is_old(path):
            with suppress(JournalUnavailable):  # it may only be read: then that is all there is
                SqliteJournal(path, version="reader").close()
        try:
            self._db = SqliteDatabase(connect(path, read_only=True))
            if _version(self._db) != SCHEMA_VERSION:
                raise JournalUnavailable(_other_version(_version(self._db)))
            key = self._db.execute("get_setting", {"name": "secret"})
        except apsw.Error as e:
            raise JournalUnavailable(f"cannot read the journal {path}: {e}") from e
        self.secret: bytes = key[0]["value"]

    async def query(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Rows of a reading query, as last committed."""
        return self.rows(name, parameters)

    def rows(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """The same for who has no event loop."""
        try:
            return self._db.execute(name, parameters)
        except apsw.Error as e:
            raise JournalUnavailable(f"cannot read the journal: {e}") from e

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _left_by_the_dead(instances: Path) -> bool:
    try:
        return any(
            any(path.stat().st_size for path in paths)
            and not is_held(instances / f"{instance}.lock")
            for instance, paths in left_behind(instances).items()
        )
    except OSError:
        return False


def _is_old(path: Path) -> bool:
    """Whether it has an older version, which this surefoot can bring up to its own."""
    with suppress(apsw.Error):
        database = SqliteDatabase(connect(path, read_only=True))
        try:
            return _version(database) in UPGRADES
        finally:
            database.close()
    return False


def _version(database: SqliteDatabase) -> int:
    """Of the tables; 0 if nobody can tell."""
    (found,) = database.execute("get_setting", {"name": "schema"}) or [{"value": 0}]
    return found["value"]


def _other_version(found: object) -> str:
    return (
        f"the journal has version {found}, this surefoot reads {SCHEMA_VERSION};"
        " use the surefoot that wrote it, or another SUREFOOT_HOME"
    )


def _set_up(database: SqliteDatabase, doing: Operations, clock: Clock, version: str) -> bytes:
    """Make or check the tables, register this process, and return the journal's own key."""
    db = database.connection
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA journal_size_limit={LONGEST_WAL}")
    db.execute("PRAGMA fullfsync=1")  # macOS alone; elsewhere it does nothing
    database.begin(durable=True)
    if db.execute("SELECT count(*) FROM sqlite_master").fetchall() == [(0,)]:
        db.execute(SCHEMA)
        names = {"schema": SCHEMA_VERSION, "secret": secrets.token_bytes(32)}
        for name, value in names.items():
            database.execute("insert_setting", {"name": name, "value": value})
    while (found := _version(database)) != SCHEMA_VERSION:
        if found not in UPGRADES:
            database.rollback()
            raise JournalUnavailable(_other_version(found))
        db.execute(UPGRADES[found])
        database.execute("change_setting", {"name": "schema", "value": found + 1})
    for row in database.execute("last_time", {}):
        clock.advance(row["at"])
    doing.start(database, os.getpid(), version)
    secret: bytes = database.execute("get_setting", {"name": "secret"})[0]["value"]
    database.commit()
    return secret
