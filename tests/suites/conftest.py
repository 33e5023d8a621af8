"""What the tests of the shipped suites share."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from suites.generate import MEMORY


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is a place for that: thousands of flushes, and none is the point."""
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)
