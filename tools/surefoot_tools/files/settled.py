"""Steps that are carried to their end, and what the device did not confirm."""

from collections.abc import Callable

import anyio
from anyio.lowlevel import checkpoint

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files.text import visible_name
from surefoot_tools.files.threads import in_thread
from surefoot_tools.tool import Context

_unflushed: set[str] = set()
"""What could not be flushed, in this process, by a name that no two calls share."""


def unconfirmed(name: str) -> None:
    """Remember that flushing failed: what is seen from now on may not be on the device.

    Another fsync may well succeed and prove nothing.
    """
    _unflushed.add(name)


def confirmed(name: str) -> bool:
    """Whether flushing did not fail."""
    return name not in _unflushed


async def settle_step(context: Context, path: str, step: Callable[[], None]) -> None:
    """Do in a thread what cannot be stopped half-way; cancelled before it, it does not begin.

    Args:
        context: Learns what became of a cancelled call.
        path: As the caller wrote it.
        step: Blocking.
    """
    try:
        await checkpoint()
    except anyio.get_cancelled_exc_class():
        context.interrupted = ToolError(
            Code.CANCELLED,
            f"cancelled before '{visible_name(path)}' was changed",
            applied=Applied.NO,
        )
        raise
    with anyio.CancelScope(shield=True):
        await in_thread(step)
