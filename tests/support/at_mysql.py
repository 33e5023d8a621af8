"""The database tools called at their own seam, on a MariaDB database with an empty table `t`."""

import anyio
from tests.support.at_database import (
    INSERT,
    databases,
    execute,
    failure,
    query,
    query_failure,
)
from tests.support.mariadb import Mariadb, ask

__all__ = [
    "ENDLESS",
    "INSERT",
    "ask",
    "databases",
    "execute",
    "failure",
    "names",
    "query",
    "query_failure",
    "until",
    "until_one_waits",
]

ENDLESS = "select sleep(600)"


def names(url: str) -> list[str]:
    """What is in `t`."""
    return [str(row[0]) for row in ask(url, "select name from t order by id")]


async def until(url: str, text: str, wanted: object) -> None:
    """Return once a query gives one value, and it is the wanted one."""
    for _ in range(3000):
        if ask(url, text) == [(wanted,)]:
            return
        await anyio.sleep(0.01)
    raise AssertionError(f"not {wanted}: {ask(url, text)}")


async def until_one_waits(mariadb: Mariadb) -> None:
    """Return once a transaction waits for a lock on a row.

    Not by `innodb_trx`: it shows the same again to whoever asks within 0.1 s.
    """
    waiting = (
        "select variable_value > 0 from information_schema.global_status"
        " where variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS'"
    )
    await until(mariadb.url, waiting, 1)
