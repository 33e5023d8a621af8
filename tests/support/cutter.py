"""A TCP proxy before PostgreSQL or MySQL that cuts a connection at its COMMIT.

It reads the messages of both sides (PostgreSQL's manual, 'Message Formats'; MySQL's 'Client/Server
Protocol') and changes none.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup

GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
PLAIN = (80877103, 80877104)
"""Codes of the requests for TLS and for GSSAPI, which are answered with 'no'."""


class Cut(StrEnum):
    """What is cut off."""

    BEFORE = "before"
    """The COMMIT: the server never sees it, and rolls back."""
    LATE = "late"
    """The client, while its COMMIT is still on the way: it reaches the server after the next
    client's claim of an inbox row has."""
    AFTER = "after"
    """The answer: the server has committed."""


class Messages(Protocol):
    """Cuts a stream of bytes into messages."""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The whole messages that are there now: type (empty at the start), and all of it."""
        ...


class MysqlMessages:
    """Length (3 bytes), number (1 byte), payload; the type is the payload's first byte."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """As of `Messages`."""
        self._buffer += data
        while len(self._buffer) >= 4:
            size = 4 + int.from_bytes(self._buffer[:3], "little")
            if len(self._buffer) < size:
                return
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            yield message[4:5], message


class _Messages:
    """Those of PostgreSQL. The first ones of a client have no type."""

    def __init__(self, *, starting: bool) -> None:
        self._buffer = b""
        self._starting = starting

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The whole messages that are there now: type (empty at the start), and all of it."""
        self._buffer += data
        while True:
            head = 0 if self._starting else 1
            if len(self._buffer) < head + 4:
                return
            size = head + int.from_bytes(self._buffer[head : head + 4])
            if len(self._buffer) < size:
                return
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            if self._starting and int.from_bytes(message[4:8]) not in PLAIN:
                self._starting = False
            yield message[:head], message


@dataclass
class _Link:
    """A client and its server."""

    client: SocketStream
    server: SocketStream
    cut: Cut | None = None
    released: anyio.Event = field(default_factory=anyio.Event)
    """A late COMMIT may go on."""


class Cutter:
    """The proxy.

    Args:
        port: Of the server, at 127.0.0.1.
        mysql: Whether it speaks MySQL's protocol, and not PostgreSQL's.
    """

    def __init__(self, port: int, *, mysql: bool = False) -> None:
        self._upstream = port
        self._mysql = mysql
        self.port = 0
        """Its own port, while it is open."""
        self.next: Cut | None = None
        """What to do at the next COMMIT; then it is None again."""
        self.cuts: list[Cut] = []
        """What was cut."""
        self._late: list[_Link] = []

    def url(self, url: str) -> str:
        """The URL of a database of the server, through here."""
        parts = urlsplit(url)
        return url.replace(f":{parts.port}/", f":{self.port}/")

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["Cutter"]:
        """Take connections for as long as this is open; then cut them all."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = listener.extra(SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._serve)
            yield self
            group.cancel_scope.cancel()

    async def _serve(self, client: SocketStream) -> None:
        async with client, await anyio.connect_tcp("127.0.0.1", self._upstream) as server:
            link = _Link(client, server)
            async with anyio.create_task_group() as group:
                group.start_soon(self._answers, link, group)
                await self._requests(link)
                group.cancel_scope.cancel()

    async def _requests(self, link: _Link) -> None:
        """Client to server, until one of them goes away or is cut."""
        messages = self._messages(starting=True)
        try:
            while True:
                for kind, message in messages.feed(await link.client.receive()):
                    if not self._mysql and not kind and int.from_bytes(message[4:8]) in PLAIN:
                        await link.client.send(b"N")
                        continue
                    if self._is_commit(kind, message) and self.next is not None:
                        link.cut, self.next = self.next, None
                        self.cuts.append(link.cut)
                        if link.cut is Cut.BEFORE:
                            return
                        if link.cut is Cut.LATE:
                            await self._commit_later(link, message)
                            return
                    await link.server.send(message)
                    if _is_claim(message):
                        for late in self._late:
                            late.released.set()
        except GONE:
            return

    async def _commit_later(self, link: _Link, message: bytes) -> None:
        await link.client.aclose()
        self._late.append(link)
        await link.released.wait()
        self._late.remove(link)
        await link.server.send(message)
        await anyio.sleep_forever()  # until `_answers` sees what came of it

    async def _answers(self, link: _Link, group: TaskGroup) -> None:
        """Server to client; nothing more once the answer to a COMMIT is to be cut."""
        messages = self._messages(starting=False)
        try:
            while True:
                for kind, message in messages.feed(await link.server.receive()):
                    # In MySQL's, whatever comes after a COMMIT is the answer to it.
                    done = self._mysql or (kind == b"C" and message[5:] == b"COMMIT\0")
                    if done and link.cut in (Cut.AFTER, Cut.LATE):
                        group.cancel_scope.cancel()
                        return
                    await link.client.send(message)
        except GONE:
            group.cancel_scope.cancel()

    def _messages(self, *, starting: bool) -> Messages:
        return MysqlMessages() if self._mysql else _Messages(starting=starting)

    def _is_commit(self, kind: bytes, message: bytes) -> bool:
        if self._mysql:
            return kind == b"\3" and message[5:] == b"COMMIT"
        return _is_commit(kind, message)


def _is_commit(kind: bytes, message: bytes) -> bool:
    """Whether it is a simple query, or a statement to prepare, that says COMMIT."""
    texts = message[5:].split(b"\0")
    text = texts[0] if kind == b"Q" else texts[1] if kind == b"P" else b""
    return text.strip(b" ;").upper() == b"COMMIT"


def _is_claim(message: bytes) -> bool:
    return b"INSERT INTO" in message and b"surefoot_inbox" in message
