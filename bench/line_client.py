"""A client of JSON lines over blocking pipes: the same for every server, and next to free.

The SDK's client would cost more than the servers that are compared. The clock runs from the first
byte written to the last byte read; encoding, parsing and checking happen outside of it.
"""

import itertools
import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from messages import ANSWER_BOUND, EXIT_BOUND, Refused, check, request, shown


class LineClient:
    """A process that answers a line with a line; a context manager that starts and ends it.

    Args:
        command: Of the process.
        environment: Of the process, whole.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._from, select.POLLIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._to.close()
        try:
            self._process.wait(EXIT_BOUND)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._from.close()

    def exchange(self, line: bytes) -> tuple[float, bytes]:
        """Send one line and wait for one.

        Returns:
            Seconds, and the line received.

        Raises:
            Refused: no line came.
        """
        began = perf_counter()
        os.write(self._to.fileno(), line)
        received = b""
        while not received.endswith(b"\n"):
            if not self._poll.poll(ANSWER_BOUND * 1000):
                raise Refused(f"no answer within {ANSWER_BOUND:g} s")
            chunk = os.read(self._from.fileno(), 262144)
            if not chunk:
                raise Refused("the server ended without an answer")
            received += chunk
        return perf_counter() - began, received

    def ask(self, method: str, about: Mapping[str, Any] | None = None, **params: Any) -> float:
        """Make one request of the 2026-07-28 era.

        Args:
            method: Of MCP.
            about: More fields of `_meta`.
            params: The parameters but for `_meta`.

        Returns:
            Seconds from the first byte sent to the last byte received.

        Raises:
            Refused: the answer is an error, or none of this request.
        """
        request_id = next(self._ids)
        elapsed, line = self.exchange(request(request_id, method, params, about) + b"\n")
        if check(line) != request_id:
            raise Refused(f"{method}: {shown(line)}")
        return elapsed

    def call(
        self, tool: str, arguments: Mapping[str, Any], about: Mapping[str, Any] | None = None
    ) -> float:
        """Call a tool; as `ask`."""
        return self.ask("tools/call", about, name=tool, arguments=dict(arguments))
