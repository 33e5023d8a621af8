"""Parts that the tests of the database tools share."""

from collections.abc import Callable, Generator
from pathlib import Path

import apsw
import pytest
from tests.support import at_mysql, at_postgres
from tests.support.execute import Hook
from tests.support.mariadb import Mariadb
from tests.support.postgres import Postgres


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with an empty table `t`."""
    path = tmp_path / "main.db"
    connection = apsw.Connection(str(path))
    connection.pragma("synchronous", "off")
    connection.execute("create table t(id integer primary key, name text unique not null)")
    connection.close()
    return path


@pytest.fixture
def hook() -> Generator[Callable[[Hook], None]]:
    """Adds what is done to every connection that is opened."""
    added: list[Hook] = []

    def add(hook: Hook) -> None:
        apsw.connection_hooks.append(hook)
        added.append(hook)

    yield add
    for one in added:
        apsw.connection_hooks.remove(one)


@pytest.fixture
def url(postgres: Postgres) -> str:
    """A PostgreSQL database with an empty table `t`."""
    url = postgres.fresh_database()
    at_postgres.ask(
        url, "create table t(id integer generated always as identity, name text unique not null)"
    )
    return url


@pytest.fixture
def mysql_url(mariadb: Mariadb) -> str:
    """A MariaDB database with an empty table `t`."""
    url = mariadb.fresh_database()
    at_mysql.ask(
        url, "create table t(id bigint auto_increment primary key, name varchar(200) unique)"
    )
    return url
