"""What `surefoot doctor` finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    good: bool
    found: str
    fix: str | None = None
    """What mends it; None when nothing needs mending."""
