"""Keeps what a tool raises from ending more than its own call. Part of `execution`.

A library that leaks a cancel, or calls `sys.exit`, raises what `except Exception` does not see: the
one would end the connection, the other the process, with every other call on it.
"""

import math
from collections.abc import Awaitable
from typing import TypeVar

import anyio

T = TypeVar("T")


class Escaped(Exception):
    """A tool raised what would have ended the server; that is its cause."""


async def contained(step: Awaitable[T]) -> T:
    """Await a step of a tool.

    Raises:
        Escaped: it raised something that is no `Exception`, and nobody had asked it to.
    """
    try:
        return await step
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as e:
        if anyio.current_effective_deadline() == -math.inf:
            raise  # this call is being cancelled
        raise Escaped(f"{type(e).__name__} out of a tool") from e
