"""The screen of a job with a terminal, as an emulator shows it. Needs the extra `terminal`."""

import re
from contextlib import suppress
from typing import Any

import anyio.to_thread

from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.shell.record import Record

LAST = 128 * 1024
"""Bytes of the end that are played; an emulator in Python takes some megabytes a second."""
_CLEARS = (b"\x1b[2J", b"\x1b[?1049h", b"\x1b[H\x1b[J", b"\x1bc")
"""After one of these nothing earlier is on the screen."""
_UNKNOWN = re.compile(rb"\x1b\[[<=>][0-9;]*[a-zA-Z]")
"""Private sequences that `pyte` 0.8 takes for others, or fails at: they draw nothing."""


async def screen_of(record: Record, rows: int, columns: int) -> str:
    """The lines of the screen, and where its cursor is.

    Raises:
        ToolError: there is no emulator here.
    """
    size = record.stdout.size()
    data = record.stdout.read(max(0, size - LAST), size)
    return await anyio.to_thread.run_sync(_play, data, rows, columns)


def _play(data: bytes, rows: int, columns: int) -> str:
    try:
        import pyte
    except ImportError as e:
        raise ToolError(
            Code.UNIMPLEMENTED,
            "screen: this server has no terminal emulator",
            origin=Origin.ENVIRONMENT,
            hint="Read the output without it; whoever runs the server can install"
            " surefoot[terminal].",
        ) from e
    begin = max(data.rfind(each) for each in _CLEARS)
    data = _UNKNOWN.sub(b"", data[max(0, begin) :])
    screen = pyte.Screen(columns, rows)
    pyte.ByteStream(_Tolerant(screen)).feed(data)
    lines = [line.rstrip() for line in screen.display]
    line, column = screen.cursor.y + 1, min(screen.cursor.x + 1, columns)
    shown = "\n".join(lines).rstrip("\n")
    return f"{shown}\n[cursor: line {line}, column {column}]"


class _Tolerant:
    """A screen that passes over what it has no words for.

    `pyte` calls its screen with as many numbers as a sequence has, and `private` for any that has a
    question mark; what takes fewer raises (vim alone sends such ones).
    """

    def __init__(self, screen: Any) -> None:
        self._screen = screen

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._screen, name)
        if not callable(found):
            return found

        def call(*numbers: Any, **more: Any) -> None:
            with suppress(TypeError, ValueError, LookupError):
                found(*numbers, **more)

        return call
