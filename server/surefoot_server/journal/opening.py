"""Opens a journal by its place: a file, or the URL of a database."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from surefoot_server.journal.clock import Clock
from surefoot_server.journal.records import JournalUnavailable, Reader, Row
from surefoot_server.journal.snapshot import Snapshot, SqliteSnapshot
from surefoot_server.journal.sql_journal import SqlJournal
from surefoot_server.journal.sqlite import SqliteJournal, SqliteReader
from surefoot_tools.database.postgres_url import SCHEMES

FORMS = "a path, sqlite:///PATH, or postgresql://USER@HOST/DATABASE"
DRIVER = "a journal in PostgreSQL needs its driver: pip install 'surefoot[postgres]'"


class JournalReader(Reader, Protocol):
    """A journal that is only read, for the command line."""

    secret: bytes
    """The journal's own key."""

    def rows(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Rows of one of the named reading queries."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def open_journal(
    place: str | Path, *, state: Path, version: str, clock: Clock | None = None
) -> SqlJournal:
    """The journal at a place.

    Args:
        place: A path, `sqlite:///PATH` or `postgresql://USER@HOST/DATABASE`.
        state: The state directory; a journal elsewhere keeps its files of this machine there.
        version: Of surefoot, for the record.
        clock: Seconds since the epoch.

    Raises:
        JournalUnavailable: it cannot be opened; the message shows no password.
    """
    url = _postgres_url(place)
    if url is None:
        return SqliteJournal(_path(place), version=version, clock=clock)
    try:
        from surefoot_server.journal.postgres import PostgresJournal
        from surefoot_server.journal.postgres_reader import journal_address
    except ImportError as e:  # also: there is a psycopg, but no libpq
        raise JournalUnavailable(DRIVER) from e
    # What a server left behind goes into the journal that it was written for.
    name = hashlib.sha256(journal_address(url).place.encode()).hexdigest()[:16]
    return PostgresJournal(url, directory=state / f"journal-{name}", version=version, clock=clock)


def open_reader(place: str | Path) -> JournalReader:
    """A journal that is only read, while others may write it.

    Args:
        place: As for `open_journal`.

    Raises:
        JournalUnavailable: there is none, or it cannot be read.
    """
    url = _postgres_url(place)
    if url is None:
        return SqliteReader(_path(place))
    try:
        from surefoot_server.journal.postgres_reader import PostgresReader
    except ImportError as e:
        raise JournalUnavailable(DRIVER) from e
    return PostgresReader(url)


def open_snapshot(place: str | Path) -> Snapshot:
    """A journal as it stands now.

    Args:
        place: As for `open_journal`.

    Raises:
        JournalUnavailable: there is none, or it cannot be read.
    """
    url = _postgres_url(place)
    if url is None:
        return SqliteSnapshot(_path(place))
    try:
        from surefoot_server.journal.postgres_reader import PostgresSnapshot
    except ImportError as e:
        raise JournalUnavailable(DRIVER) from e
    return PostgresSnapshot(url)


def _postgres_url(place: str | Path) -> str | None:
    text = str(place)
    is_url = isinstance(place, str) and text.startswith(tuple(f"{each}://" for each in SCHEMES))
    return text if is_url else None


def _path(place: str | Path) -> Path:
    if isinstance(place, Path):
        return place
    if place.startswith("sqlite:///"):
        return Path(place.removeprefix("sqlite:///"))
    scheme, found, _ = place.partition("://")
    if found:
        raise JournalUnavailable(f"no journal can be kept in {scheme}; supported: {FORMS}")
    return Path(place)
