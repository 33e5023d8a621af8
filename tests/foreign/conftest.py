"""What the tests with programs of others share."""

from pathlib import Path

import pytest
from tests.foreign import kit


@pytest.fixture
def room(tmp_path: Path) -> kit.Room:
    """A home of their own, without a network."""
    home = tmp_path / "home"
    home.mkdir()
    return kit.Room(home)
