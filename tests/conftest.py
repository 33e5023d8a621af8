"""What all tests share."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.support.mariadb import Mariadb
    from tests.support.place import Place
    from tests.support.postgres import Postgres

settings.register_profile("shared machine", deadline=None)  # speed lives in bench/
settings.load_profile("shared machine")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that surefoot runs on."""
    return "asyncio"


@pytest.fixture
def place(tmp_path: Path) -> "Place":
    """A fresh workspace to serve."""
    # Imported here: the SDK takes a second to load, and most tests of the tools do without it.
    from tests.support.place import Place

    return Place.make(tmp_path)


def pytest_report_header() -> str:
    """How commands are confined: where they can't be, tests of the rest run without."""
    from tests.support.level import found

    one = found()
    return f"sandbox: {one.reached}{f' ({one.reason})' if one.reason else ''}"


@pytest.fixture(scope="session")
def postgres() -> "Generator[Postgres]":
    """A PostgreSQL server of the tests' own."""
    from tests.support.postgres import a_server  # the driver takes time to load

    with a_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> "Generator[Mariadb]":
    """A MariaDB server of the tests' own."""
    from tests.support.mariadb import a_server  # the driver takes time to load

    with a_server() as server:
        yield server
