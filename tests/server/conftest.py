"""What the tests of the server share."""

from collections.abc import Generator
from pathlib import Path

import pytest
from tests.support.journals import Site
from tests.support.office import Office
from tests.support.postgres import Postgres

from surefoot_server.journal.memory import Memory


@pytest.fixture
def postgres_site(tmp_path: Path, postgres: Postgres) -> Generator[Site]:
    """A journal in an empty database."""
    site = Site(tmp_path, postgres.fresh_database())
    yield site
    site.close()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Site]:
    """A journal of each kind."""
    if request.param == "postgres":
        yield request.getfixturevalue("postgres_site")
        return
    in_memory = request.param == "memory"
    path = str(tmp_path / "journal.db")
    site = Site(tmp_path, None, Memory()) if in_memory else Site(tmp_path, path)
    yield site
    site.close()


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """An office with a state directory of its own."""
    return Office(tmp_path / "state")
