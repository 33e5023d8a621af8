"""How long the crash tests go on: `TORTURE` is `fast` (make test), `ci` (make test-all) or `full`.

`make torture` runs them in full, about 15 minutes on 2 cores, and prints the figures reached.
"""

import os
from typing import Any

MODE = os.environ.get("TORTURE", "fast")


def rounds(*, fast: int, ci: int, full: int) -> int:
    """How often to do it."""
    return {"fast": fast, "ci": ci, "full": full}[MODE]


def figure(what: str, **numbers: Any) -> None:
    """Print a figure that was reached; `make torture` shows it."""
    shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in numbers.items())
    print(f"\nfigure: {what}: {shown}", flush=True)
