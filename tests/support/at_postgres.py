"""The database tools called at their own seam, on a PostgreSQL database with an empty table `t`."""

from typing import Any

import anyio
import psycopg
from psycopg import sql
from tests.support.at_database import (
    INSERT,
    databases,
    execute,
    failure,
    query,
    query_failure,
)

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
    "until_one_waits",
]

ENDLESS = "select pg_sleep(600)"


def ask(url: str, text: str) -> list[Any]:
    """Run a statement past the tools, and see its rows."""
    with psycopg.connect(url) as connection:
        cursor = connection.execute(sql.SQL(text))  # pyright: ignore[reportArgumentType] -- of ours
        return [] if cursor.description is None else cursor.fetchall()


def names(url: str) -> list[str]:
    """What is in `t`."""
    return [str(row[0]) for row in ask(url, "select name from t order by id")]


async def until_one_waits(url: str) -> None:
    """Return once a statement in the database waits for a lock."""
    text = (
        "select count(*) from pg_stat_activity"
        " where wait_event_type = 'Lock' and datname = current_database()"
    )
    for _ in range(3000):
        if ask(url, text) != [(0,)]:
            return
        await anyio.sleep(0.01)
    raise AssertionError("nothing waits")
