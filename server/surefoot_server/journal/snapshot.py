"""A journal as it stood at one moment, read row by row, whoever writes it meanwhile.

For who looks at a journal from outside: `surefoot journal`, `failures` and `doctor`. A server that
writes is neither held up nor seen half-way, because all is read in one transaction.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import apsw

from surefoot_server.journal.records import JournalUnavailable, Row
from surefoot_server.journal.sql import QUERIES, statements
from surefoot_server.journal.sqlite import SqliteReader, connect

STATEMENTS = QUERIES | statements("look.sql")
"""What may be asked, by name."""


class Snapshot(Protocol):
    """One moment of a journal."""

    def rows(self, name: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Row]:
        """Rows of a named statement, as they are asked for.

        Raises:
            JournalUnavailable: it cannot be read, or not to its end.
        """
        ...

    def renew(self) -> None:
        """Move on to the present."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class SqliteSnapshot:
    """See `Snapshot` for the methods.

    What servers that died have left beside the file is folded in first, where that can be done.

    Args:
        path: The journal's file.

    Raises:
        JournalUnavailable: there is no journal, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        SqliteReader(path).close()  # it looks whether this is a journal, of a version that we know
        try:
            self._connection = connect(path, read_only=True)
            self._connection.execute("BEGIN")
        except apsw.Error as e:
            raise JournalUnavailable(f"cannot read the journal {path}: {e}") from e

    def rows(self, name: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Row]:
        """Rows of a named statement."""
        columns: list[str] = []
        try:
            cursor = self._connection.execute(STATEMENTS[name], parameters or {})
            for row in cursor:
                columns = columns or [each[0] for each in cursor.description]
                yield dict(zip(columns, row, strict=True))
        except apsw.Error as e:
            raise JournalUnavailable(f"the journal cannot be read: {e}") from e

    def renew(self) -> None:
        """Move on to the present."""
        self._connection.execute("COMMIT; BEGIN")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
