"""What is in a database of MySQL or MariaDB: tables, columns, keys, indexes, and about how many
rows."""

from surefoot_tools.database.engine import INBOX, Column, ForeignKey, Index, Table
from surefoot_tools.database.mysql_driver import Connection, run
from surefoot_tools.errors import Code, ToolError

LISTED = 50
"""Most names in a hint."""

_KINDS = {"VIEW": "view", "SYSTEM VIEW": "view"}
"""By `TABLE_TYPE`; all others are tables."""

_TABLES = f"""
SELECT table_name, table_type, table_rows FROM information_schema.tables
 WHERE table_schema = DATABASE() AND table_name <> '{INBOX}' ORDER BY table_name
"""  # noqa: S608 -- a constant of ours

_COLUMNS = """
SELECT table_name, column_name, column_type, is_nullable = 'YES', column_default,
       column_key = 'PRI'
  FROM information_schema.columns
 WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position
"""

_KEYS = """
SELECT table_name, constraint_name, column_name,
       IF(referenced_table_schema = DATABASE(), referenced_table_name,
          CONCAT(referenced_table_schema, '.', referenced_table_name)), referenced_column_name
  FROM information_schema.key_column_usage
 WHERE table_schema = DATABASE() AND referenced_table_name IS NOT NULL
 ORDER BY table_name, constraint_name, ordinal_position
"""

_INDEXES = """
SELECT table_name, index_name, non_unique = 0, column_name FROM information_schema.statistics
 WHERE table_schema = DATABASE() ORDER BY table_name, index_name, seq_in_index
"""


async def read_tables(connection: Connection, only: str | None) -> list[Table]:
    """The tables sorted by name, or the one named `only`.

    Raises:
        ToolError: NOT_FOUND with the tables there are.
        MySQLError: the catalog cannot be read.
    """
    tables = {
        str(name): Table(str(name), _KINDS.get(str(kind), "table"), [], [], [], rows)
        for name, kind, rows in await run(connection, _TABLES)
    }
    if only is not None:
        if only not in tables:
            names = ", ".join(list(tables)[:LISTED]) or "none"
            raise ToolError(
                Code.NOT_FOUND,
                f"there is no table {only[:100]!r}",
                hint=f"the tables are: {names}",
            )
        tables = {only: tables[only]}
    for name, column, kind, nullable, default, primary in await run(connection, _COLUMNS):
        if str(name) in tables:
            told = None if default in (None, "NULL") else str(default)
            tables[str(name)].columns.append(
                Column(str(column), str(kind), bool(nullable), told, bool(primary))
            )
    keys: dict[tuple[str, str], ForeignKey] = {}
    for name, constraint, here, target, there in await run(connection, _KEYS):
        if str(name) not in tables:
            continue
        key = keys.get((str(name), str(constraint)))
        if key is None:
            key = keys[str(name), str(constraint)] = ForeignKey([], str(target), [])
            tables[str(name)].keys.append(key)
        key.columns.append(str(here))
        key.references.append(str(there))
    for name, index, unique, column in await run(connection, _INDEXES):
        if str(name) not in tables:
            continue
        indexes = tables[str(name)].indexes
        if not indexes or indexes[-1].name != str(index):
            indexes.append(Index(str(index), bool(unique), []))
        indexes[-1].columns.append("<expression>" if column is None else str(column))
    return list(tables.values())
