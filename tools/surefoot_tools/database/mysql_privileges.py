"""What a user of MySQL or MariaDB must not be able to do, looked at when we connect.

A read-only transaction holds against writes to tables. It does not hold against privileges that
reach files, other users or the server: whoever has one of those is refused.
"""

import re

from surefoot_tools.database.mysql_driver import Connection, run
from surefoot_tools.errors import Code, Origin, ToolError

POWERS = frozenset(
    {
        "ALL PRIVILEGES",
        "FILE",
        "SUPER",
        "SHUTDOWN",
        "RELOAD",
        "CREATE USER",
        "CREATE TABLESPACE",
        "SYSTEM_USER",
        "SYSTEM_VARIABLES_ADMIN",
        "CONNECTION ADMIN",
        "CONNECTION_ADMIN",
        "SET USER",
        "SET_USER_ID",
        "SET_ANY_DEFINER",
    }
)
"""Global privileges that nobody here may have; the last reach what other users may do."""

_GLOBAL = re.compile(r"GRANT (.+?) ON \*\.\* TO ")

_WRITES = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, SHOW VIEW"
_READS = "SELECT, SHOW VIEW"


async def refuse_powers(connection: Connection, name: str, database: str, *, writing: bool) -> None:
    """Look at what the user may do, roles included.

    Raises:
        ToolError: PERMISSION_DENIED, with the statements that make a fit user.
    """
    lines = await _grants(connection)
    held: set[str] = set()
    for line in lines:
        if found := _GLOBAL.match(line):
            held |= POWERS & {word.strip().upper() for word in found[1].split(",")}
    if held:
        rights = _WRITES if writing else _READS
        raise ToolError(
            Code.PERMISSION_DENIED,
            f"database {name!r}: its user may do more than a tool should: "
            + ", ".join(sorted(held)),
            origin=Origin.ENVIRONMENT,
            hint="make a user for it: CREATE USER surefoot IDENTIFIED BY '...'; GRANT"
            f" {rights} ON `{database}`.* TO surefoot",
        )


async def _grants(connection: Connection) -> list[str]:
    """The lines of SHOW GRANTS, those of active roles included."""
    lines = await run(connection, "SHOW GRANTS")
    ((role,),) = await run(connection, "SELECT CURRENT_ROLE()")
    if role is not None and "@" in str(role):
        # MySQL names the roles here as it wants them quoted, and shows what they hold only so.
        lines += await run(connection, f"SHOW GRANTS FOR CURRENT_USER() USING {role}")
    elif role not in (None, "NONE"):
        lines += await run(connection, "SHOW GRANTS FOR CURRENT_ROLE")
    return [str(line[0]) for line in lines]
