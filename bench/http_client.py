"""A client of Streamable HTTP over blocking sockets: the same for every server, and next to free.

A real HTTP client would cost more than the servers that are compared. The clock runs from the first
byte sent to the last byte received; encoding, parsing and checking happen outside of it.
"""

import itertools
import json
import select
import selectors
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from messages import ANSWER_BOUND, ENVELOPE, EXIT_BOUND, Refused, check, request, shown

HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"\r\n0\r\n\r\n"
"""How a chunked body ends. JSON and events have no bare `\\r\\n0` inside."""


class HttpClient:
    """A server process on loopback and its connections; a context manager that starts and ends it.

    Args:
        command: Of the process. It says on stderr where it listens: `{"event": "listening",
            "url": ...}`, one line of JSON.
        environment: Of the process, whole.
        callers: Connections that `crowd` uses; the first is the only one of `call`.
        token: Sent as bearer token.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        callers: int = 1,
        token: str | None = None,
    ) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._callers = callers
        self._token = token
        self._ids = itertools.count(1)
        self._connections: list[_Connection] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        try:
            url = urlsplit(self._listening())
            self._head = self._head_for(url.netloc, url.path)
            place = (url.hostname or "", url.port or 80)
            self._connections = [_Connection(place) for _ in range(self._callers)]
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        for connection in self._connections:
            connection.close()
        self._process.terminate()
        try:
            self._process.wait(EXIT_BOUND)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listening(self) -> str:
        """Where the server listens, once it says so; what else it says is thrown away.

        Raises:
            Refused: it does not say.
        """
        said, pipe = b"", self._process.stderr
        assert pipe is not None
        while True:
            ready, _, _ = select.select([pipe], [], [], ANSWER_BOUND)
            chunk = pipe.read(65536) if ready else b""
            if not chunk:
                raise Refused(f"the server does not say where it listens; it says: {shown(said)}")
            said += chunk
            for line in said.splitlines(keepends=True):
                if line.endswith(b"\n") and (url := _announced(line)) is not None:
                    # A pipe that nobody reads would stop a server that logs.
                    threading.Thread(target=pipe.read, daemon=True).start()
                    return url

    def _head_for(self, authority: str, path: str) -> str:
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {authority}",
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
            f"MCP-Protocol-Version: {ENVELOPE['io.modelcontextprotocol/protocolVersion']}",
            *([] if self._token is None else [f"Authorization: Bearer {self._token}"]),
        ]
        return "\r\n".join(lines)

    def _encode(self, method: str, params: Mapping[str, Any]) -> bytes:
        """A whole HTTP request."""
        body = request(next(self._ids), method, params)
        named = [f"Mcp-Name: {params['name']}"] if "name" in params else []
        lines = [self._head, f"Mcp-Method: {method}", *named, f"Content-Length: {len(body)}"]
        return "\r\n".join(lines).encode() + HEAD_END + body

    def ask(self, method: str, **params: Any) -> float:
        """Make one request.

        Returns:
            Seconds from the first byte sent to the last byte received.

        Raises:
            Refused: the answer is an error.
        """
        elapsed, _ = self._exchange([self._encode(method, params)], self._connections[:1])
        return elapsed

    def call(self, tool: str, arguments: Mapping[str, Any]) -> float:
        """Call a tool; as `ask`."""
        return self.ask("tools/call", name=tool, arguments=dict(arguments))

    def crowd(self, tool: str, arguments: Mapping[str, Any], each: int) -> float:
        """Call a tool by all callers at once; each sends its next call when it has an answer.

        Args:
            tool: Its name.
            arguments: Of every call.
            each: Calls a caller, on average.

        Returns:
            Seconds a call: those of all by their number.
        """
        params = {"name": tool, "arguments": dict(arguments)}
        calls = [self._encode("tools/call", params) for _ in range(each * len(self._connections))]
        elapsed, answers = self._exchange(calls, self._connections)
        if len(answers) != len(calls):
            raise Refused(f"{len(answers)} answers to {len(calls)} calls")
        return elapsed / len(calls)

    def _exchange(
        self, requests: Sequence[bytes], connections: Sequence["_Connection"]
    ) -> tuple[float, set[Any]]:
        """Send requests and wait for their answers.

        Returns:
            Seconds, and the ids that were answered.
        """
        answers: list[bytes] = []
        with selectors.DefaultSelector() as selector:
            for connection in connections:
                connection.refresh()
                selector.register(connection, selectors.EVENT_READ)
            waiting = deque(requests)
            began = perf_counter()
            for connection in connections:
                connection.send(waiting.popleft())
            while len(answers) < len(requests):
                ready = selector.select(ANSWER_BOUND)
                if not ready:
                    raise Refused(f"no answer within {ANSWER_BOUND:g} s")
                for key, _ in ready:
                    connection = key.fileobj
                    assert isinstance(connection, _Connection)
                    if connection.receive():
                        answers.append(connection.taken())
                        if waiting:
                            connection.send(waiting.popleft())
            elapsed = perf_counter() - began
        return elapsed, {check(_body(answer)) for answer in answers}


def _announced(line: bytes) -> str | None:
    """The address that a line of stderr tells."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said.get("url") if isinstance(said, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


class _Connection:
    """One TCP connection, and the answer that is coming in by it."""

    def __init__(self, place: tuple[str, int]) -> None:
        self._place = place
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._place, ANSWER_BOUND)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._coming = bytearray()

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def refresh(self) -> None:
        """Connect anew if the server has closed an idle connection meanwhile."""
        if select.select([self._socket], [], [], 0)[0]:
            self._socket.close()
            self._connect()

    def send(self, whole: bytes) -> None:
        """Send a request."""
        self._socket.sendall(whole)

    def receive(self) -> bool:
        """Receive what is there; whether the answer is whole."""
        chunk = self._socket.recv(262144)
        if not chunk:
            raise Refused(f"the server closed the connection after: {shown(bytes(self._coming))}")
        self._coming += chunk
        head, found, body = self._coming.partition(HEAD_END)
        if not found:
            return False
        length = _length(head)
        if length is None:
            return self._coming.endswith(LAST_CHUNK)
        return len(body) >= length

    def taken(self) -> bytes:
        """The answer, which the next one follows."""
        answer, self._coming = bytes(self._coming), bytearray()
        return answer

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def _length(head: bytes | bytearray) -> int | None:
    """The length of a body by its head; None if it is chunked."""
    name = b"content-length:"
    at = head.lower().find(name)
    if at < 0:
        return None
    return int(head[at + len(name) :].split(b"\r\n", 1)[0])


def _body(answer: bytes) -> bytes:
    """The message in an HTTP response.

    Raises:
        Refused: it has another status than 200.
    """
    head, _, body = answer.partition(HEAD_END)
    if not head.startswith(b"HTTP/1.1 200 "):
        raise Refused(shown(answer))
    if _length(head) is not None:
        return body
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + rest[:length], rest[length + 2 :]
    return whole
