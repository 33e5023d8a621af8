"""What is in a SQLite file: tables, columns, keys, indexes, and about how many rows."""

import time

import apsw

from surefoot_tools.database.engine import INBOX, Column, ForeignKey, Index, Table
from surefoot_tools.database.interruption import Interruption
from surefoot_tools.database.sqlite_connection import PROGRESS_STEPS, table_names
from surefoot_tools.errors import Code, ToolError

COUNT_SECONDS = 0.05
"""Seconds that counting one table may take."""

ALL_COUNTS_SECONDS = 1.0
"""Seconds that counting may take in one call; tables after that have no estimate."""

_COLUMNS = (
    'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_xinfo(?, ?)'
    " WHERE hidden <> 1 ORDER BY cid"
)
_KEYS = 'SELECT id, "from", "table", "to" FROM pragma_foreign_key_list(?, ?) ORDER BY id, seq'
_INDEXES = 'SELECT name, "unique" FROM pragma_index_list(?, ?) ORDER BY name'
_INDEX_COLUMNS = "SELECT name FROM pragma_index_info(?, ?) ORDER BY seqno"
_TABLES = (
    "SELECT name, type FROM pragma_table_list WHERE schema = 'main'"
    " AND type IN ('table', 'view', 'virtual')"
    " AND lower(substr(name, 1, 7)) <> 'sqlite_' AND lower(name) <> ? ORDER BY name"
)


def read_tables(
    connection: apsw.Connection, only: str | None, interruption: Interruption
) -> list[Table]:
    """The tables of the file sorted by name, or the one named `only` (case does not matter).

    Shadow tables, which virtual tables keep their data in, are left out.

    Raises:
        ToolError: NOT_FOUND with the tables there are.
        apsw.Error: the file cannot be read.
    """
    found = [(str(name), str(kind)) for name, kind in connection.execute(_TABLES, (INBOX,))]
    if only is not None:
        found = [entry for entry in found if entry[0].lower() == only.lower()]
        if not found:
            raise ToolError(
                Code.NOT_FOUND,
                f"there is no table {only[:100]!r}",
                hint="the tables are: " + (", ".join(table_names(connection)) or "none"),
            )
    estimates = _statistics(connection)
    counter = _Counter(connection, interruption)
    tables: list[Table] = []
    for name, kind in found:
        interruption.check()
        estimate = estimates.get(name)
        if estimate is None and kind == "table":
            estimate = counter.count(name)
        tables.append(
            Table(
                name,
                kind,
                _columns(connection, name),
                _keys(connection, name),
                _indexes(connection, name),
                estimate,
            )
        )
    return tables


def _columns(connection: apsw.Connection, table: str) -> list[Column]:
    try:
        rows = connection.execute(_COLUMNS, (table, "main")).fetchall()
    except apsw.SQLError:
        return []  # a view over what is gone, or a virtual table whose module is not here
    return [
        Column(
            str(name),
            str(declared),
            nullable=not notnull,
            default=None if default is None else str(default),
            primary_key=bool(position),
        )
        for name, declared, notnull, default, position in rows
    ]


def _keys(connection: apsw.Connection, table: str) -> list[ForeignKey]:
    keys: dict[object, ForeignKey] = {}
    for number, column, target, reference in connection.execute(_KEYS, (table, "main")):
        key = keys.setdefault(number, ForeignKey([], str(target), []))
        key.columns.append(str(column))
        if reference is not None:
            key.references.append(str(reference))
    return list(keys.values())


def _indexes(connection: apsw.Connection, table: str) -> list[Index]:
    indexes: list[Index] = []
    for name, unique in connection.execute(_INDEXES, (table, "main")).fetchall():
        columns = [
            "<expression>" if column is None else str(column)
            for (column,) in connection.execute(_INDEX_COLUMNS, (name, "main"))
        ]
        indexes.append(Index(str(name), bool(unique), columns))
    return indexes


def _statistics(connection: apsw.Connection) -> dict[str, int]:
    """Rows by table as of the last ANALYZE; a partial index counts fewer, so the most wins."""
    there = connection.execute("SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_stat1'")
    if not there.fetchall():
        return {}
    rows: dict[str, int] = {}
    for table, statistics in connection.execute("SELECT tbl, stat FROM main.sqlite_stat1"):
        first = str(statistics).split(" ", 1)[0]
        if first.isdigit():
            rows[str(table)] = max(int(first), rows.get(str(table), 0))
    return rows


class _Counter:
    """Counts tables as long as that is quick."""

    def __init__(self, connection: apsw.Connection, interruption: Interruption) -> None:
        self._connection = connection
        self._interruption = interruption
        self._all_end = time.monotonic() + ALL_COUNTS_SECONDS

    def count(self, table: str) -> int | None:
        """The number of rows, or None if counting takes too long."""
        end = min(time.monotonic() + COUNT_SECONDS, self._all_end)
        stop = self._interruption.should_stop
        # A plain count(*) is one step of the virtual machine and would hear of no time limit.
        quoted = table.replace('"', '""')
        sql = f'SELECT count(*) FROM (SELECT 1 FROM main."{quoted}" LIMIT 1000000000)'  # noqa: S608 -- a name out of the schema, quoted
        self._connection.set_progress_handler(
            lambda: stop() or time.monotonic() >= end, PROGRESS_STEPS // 10
        )
        try:
            rows = self._connection.execute(sql).fetchall()
        except (apsw.InterruptError, apsw.SQLError):
            self._interruption.check()
            return None
        finally:
            self._connection.set_progress_handler(stop, PROGRESS_STEPS)
        return int(str(rows[0][0]))
