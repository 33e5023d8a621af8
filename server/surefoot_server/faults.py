"""Faults on purpose, so that retries and crashes are tested for real.

The driver asks for one in `_meta` of a request; a server obeys only when it was started to be
tested (`SUREFOOT_ALLOW_FAULTS=1`). Fault points are named by what lies before them.
"""

import os
import re
import signal
from enum import StrEnum

import anyio


class Point(StrEnum):
    """Where in the way of a call a fault can strike."""

    BEFORE_INTENT = "before_intent"
    AFTER_INTENT = "after_intent"
    AFTER_EFFECT = "after_effect"
    BEFORE_ANSWER = "before_answer"


_DELAY = re.compile(r"delay:(\d+(?:\.\d+)?)")


class Faults:
    """Strikes where a request asks for it.

    Args:
        allowed: Whether requests are obeyed at all.
    """

    def __init__(self, *, allowed: bool = False) -> None:
        self._allowed = allowed

    async def at(self, point: Point, fault: str | None) -> None:
        """The way of a call passed `point`; `kill:POINT` dies here as by `kill -9`.

        `delay:SECONDS` waits before the answer.
        """
        if fault is None or not self._allowed:
            return
        if fault == f"kill:{point.value}":
            os.kill(os.getpid(), signal.SIGKILL)
        delay = _DELAY.fullmatch(fault)
        if delay is not None and point is Point.BEFORE_ANSWER:
            await anyio.sleep(float(delay.group(1)))
