"""What a role of PostgreSQL must not be able to do, looked at when we connect.

A read-only transaction holds against writes to tables. It does not hold against a superuser, who
may COPY TO PROGRAM in one, nor against members of the roles that reach files and programs.
"""

from typing import Any

import psycopg

from surefoot_tools.errors import Code, Origin, ToolError

_POWERS = """
SELECT r.rolname::text FROM pg_catalog.pg_roles r
 WHERE (r.rolsuper OR r.rolname IN ('pg_read_server_files', 'pg_write_server_files',
                                    'pg_execute_server_program'))
   AND pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER')
 ORDER BY r.rolname
"""


async def refuse_powers(
    connection: psycopg.AsyncConnection[Any], name: str, *, writing: bool
) -> None:
    """Look at what the role may become.

    Raises:
        ToolError: PERMISSION_DENIED, with the statements that make a fit role.
        psycopg.Error: it cannot be asked.
    """
    found = await (await connection.execute(_POWERS)).fetchall()
    if found:
        rights = "SELECT, INSERT, UPDATE, DELETE" if writing else "SELECT"
        raise ToolError(
            Code.PERMISSION_DENIED,
            f"database {name!r}: its role may do more than a tool should: it is a superuser, or a"
            f" member of: {', '.join(str(row[0]) for row in found)}",
            origin=Origin.ENVIRONMENT,
            hint="make a role for it: CREATE ROLE surefoot LOGIN PASSWORD '...'; GRANT"
            f" {rights} ON ALL TABLES IN SCHEMA public TO surefoot"
            + ("; GRANT CREATE ON SCHEMA public TO surefoot" if writing else ""),
        )
