"""What stands behind the proxy, and how it fails. Below `upstream`, beside `child` and `remote`."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import mcp_types as types
from mcp.shared._stream_protocols import ReadStream, WriteStream
from mcp.shared.message import SessionMessage

from surefoot_tools.errors import Applied

Streams = tuple[ReadStream[SessionMessage | Exception], WriteStream[SessionMessage]]
"""To read from and to write to, as the SDK's transports are."""


LONGEST_MESSAGE = 64 * 1024 * 1024
"""Bytes of one message of a server's."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no answer of the server's."""

    message: str
    applied: Applied
    """`no`: it has not reached the server, or was refused. `unknown`: anything."""
    wait: float | None = None
    """Seconds after which it may be asked again."""
    ended: bool = False
    """The connection is over, so that the next request needs a new one."""


class Target(Protocol):
    """A server that can be connected to again and again."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def identity(self) -> list[str]:
        """What makes it the server that it is; part of every fingerprint."""
        ...

    def streams(self) -> AbstractAsyncContextManager[Streams]:
        """Connect to it for the length of a block; a server of our own is started and ended.

        Raises:
            OSError: it cannot be started.
        """
        ...

    def over(self) -> bool:
        """Whether the last connection is gone, as far as is known."""
        ...

    def failure(self, error: types.ErrorData) -> Failure | None:
        """What an error says, if it comes from below the server and not from itself."""
        ...

    async def last_words(self) -> str:
        """What it said last on its stderr."""
        ...
