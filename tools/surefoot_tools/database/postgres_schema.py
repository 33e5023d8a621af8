"""What is in a PostgreSQL database: tables, columns, keys, indexes, and about how many rows."""

from typing import Any

from psycopg import sql

from surefoot_tools.database.engine import INBOX, Column, ForeignKey, Index, Table
from surefoot_tools.database.postgres_connection import Connection
from surefoot_tools.errors import Code, ToolError

LISTED = 50
"""Most names in a hint."""

_KINDS = {"r": "table", "p": "table", "v": "view", "m": "view", "f": "virtual"}
"""By `pg_class.relkind`: tables, partitioned tables, views, materialized views, foreign tables."""

# A name is written with its schema where it would not be found without.
_TABLES = sql.SQL("""
SELECT c.oid::bigint,
       (CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname::text
             ELSE n.nspname || '.' || c.relname END) COLLATE "C" AS name,
       c.relkind::text, n.nspname || '.' || c.relname,
       CASE WHEN c.relkind IN ('r', 'p', 'm') AND c.reltuples >= 0 THEN c.reltuples::bigint END
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relname <> $1
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
 ORDER BY name
""")

_COLUMNS = sql.SQL("""
SELECT a.attrelid::bigint, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
       a.attnotnull, pg_catalog.pg_get_expr(d.adbin, d.adrelid),
       EXISTS (SELECT 1 FROM pg_catalog.pg_index i
                WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey))
  FROM pg_catalog.pg_attribute a
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum
""")

_KEYS = sql.SQL("""
SELECT k.oid::bigint, k.conrelid::bigint, k.confrelid::regclass::text, a.attname::text,
       b.attname::text
  FROM pg_catalog.pg_constraint k
  CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS u (here, there, position)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.here
  JOIN pg_catalog.pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = u.there
 WHERE k.contype = 'f' AND k.conrelid = ANY ($1::oid[])
 ORDER BY k.conname, u.position
""")

_INDEXES = sql.SQL("""
SELECT i.indrelid::bigint, c.relname::text, i.indisunique, a.attname::text
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS u (number, position)
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number
                                     AND u.number > 0
 WHERE i.indrelid = ANY ($1::oid[]) AND u.position <= i.indnkeyatts
 ORDER BY c.relname, u.position
""")


async def read_tables(connection: Connection, only: str | None) -> list[Table]:
    """The tables sorted by name, or the one named `only`, with or without its schema.

    Partitions are left out; the table that they are parts of is there.

    Raises:
        ToolError: NOT_FOUND with the tables there are.
        psycopg.Error: the catalog cannot be read.
    """
    found = await _all(connection, _TABLES, [INBOX])
    if only is not None:
        names = [str(row[1]) for row in found]
        found = [row for row in found if only in (row[1], row[3])]
        if not found:
            raise ToolError(
                Code.NOT_FOUND,
                f"there is no table {only[:100]!r}",
                hint="the tables are: " + (", ".join(names[:LISTED]) or "none"),
            )
    tables = {int(row[0]): Table(str(row[1]), _KINDS[row[2]], [], [], [], row[4]) for row in found}
    oids = [list(tables)]
    for oid, name, kind, not_null, default, primary in await _all(connection, _COLUMNS, oids):
        column = Column(name, kind, nullable=not not_null, default=default, primary_key=primary)
        tables[oid].columns.append(column)
    keys: dict[int, ForeignKey] = {}
    for number, oid, target, here, there in await _all(connection, _KEYS, oids):
        if number not in keys:
            keys[number] = ForeignKey([], target, [])
            tables[oid].keys.append(keys[number])
        keys[number].columns.append(here)
        keys[number].references.append(there)
    for oid, name, unique, column in await _all(connection, _INDEXES, oids):
        indexes = tables[oid].indexes
        if not indexes or indexes[-1].name != name:
            indexes.append(Index(name, unique, []))
        indexes[-1].columns.append("<expression>" if column is None else column)
    return list(tables.values())


async def _all(connection: Connection, query: sql.SQL, values: list[Any]) -> list[Any]:
    return await (await connection.execute(query, values)).fetchall()
