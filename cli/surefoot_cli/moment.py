"""Times as they are printed."""

import time


def moment(at: float | None) -> str:
    """UTC, to the second; `-` for none."""
    return "-" if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
