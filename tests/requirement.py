"""One promised behaviour; they are listed in `requirements.py`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requirement:
    """One promise."""

    promise: str
    source: str
    """A file of the repository that makes it."""
    tests: tuple[str, ...]
    """`file::test function`, below `tests/`."""
