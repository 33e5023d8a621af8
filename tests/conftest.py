"""What all tests share."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.place import Place
    from tests.support.postgres import Postgres


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


@pytest.fixture(scope="session")
def postgres() -> "Generator[Postgres]":
    """A PostgreSQL server of the tests' own."""
    from tests.support.postgres import a_server  # the driver takes time to load

    with a_server() as server:
        yield server
