"""A client of JSON lines over blocking pipes: the same for every server, and next to free.

The SDK's client would cost more than the servers that are compared. The clock runs from the first
byte written to the last byte read; encoding, parsing and checking happen outside of it.
"""

import itertools
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from messages import ANSWER_BOUND, EXIT_BOUND, Refused, opened, request, shown


class LineClient:
    """A process that answers a line with a line; a context manager that starts and ends it.

    Args:
        command: Of the process.
        environment: Of the process, whole.
        quiet: Whether what it says on stderr is thrown away.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, quiet: bool = False
    ) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._stderr = subprocess.DEVNULL if quiet else None
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
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

    def send(self, line: bytes) -> None:
        """Send one line, whole."""
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(self._to.fileno(), rest) :]

    def received(self, until: float) -> Iterator[tuple[float, bytes]]:
        """Lines as they come, each with the moment at which it was whole.

        Args:
            until: By the monotonic clock; nothing comes after it.
        """
        parts: list[bytes] = []
        while (rest := until - time.monotonic()) > 0 and self._poll.poll(rest * 1000):
            chunk = os.read(self._from.fileno(), 262144)
            if not chunk:
                return
            at = perf_counter()
            *whole, last = chunk.split(b"\n")
            for each in whole:
                yield at, b"".join([*parts, each])
                parts.clear()
            parts.append(last)

    def answer(
        self, method: str, about: Mapping[str, Any] | None = None, **params: Any
    ) -> tuple[float, dict[str, Any]]:
        """Make one request of the 2026-07-28 era.

        Args:
            method: Of MCP.
            about: More fields of `_meta`.
            params: The parameters but for `_meta`.

        Returns:
            Seconds from the first byte sent to the last byte received, and the result.

        Raises:
            Refused: the answer is an error, or none of this request.
        """
        request_id = next(self._ids)
        elapsed, line = self.exchange(request(request_id, method, params, about) + b"\n")
        answered, result = opened(line)
        if answered != request_id:
            raise Refused(f"{method}: {shown(line)}")
        return elapsed, result

    def ask(self, method: str, about: Mapping[str, Any] | None = None, **params: Any) -> float:
        """The same; its seconds alone."""
        return self.answer(method, about, **params)[0]

    def call(
        self, tool: str, arguments: Mapping[str, Any], about: Mapping[str, Any] | None = None
    ) -> float:
        """Call a tool; as `ask`."""
        return self.ask("tools/call", about, name=tool, arguments=dict(arguments))

    def crowd(
        self, tool: str, arguments: Mapping[str, Any], abouts: Sequence[Mapping[str, Any]]
    ) -> float:
        """Call a tool many times at once.

        Args:
            tool: Its name.
            arguments: Of every call.
            abouts: More fields of `_meta`, of each.

        Returns:
            Seconds from the first byte sent to the last answer.

        Raises:
            Refused: one of the answers is an error, or missing.
        """
        params = {"name": tool, "arguments": dict(arguments)}
        waiting = {next(self._ids): about for about in abouts}
        requests = [request(each, "tools/call", params, waiting[each]) for each in waiting]
        began = perf_counter()
        for each in requests:
            self.send(each + b"\n")
        answers: list[tuple[float, bytes]] = []
        for each in self.received(time.monotonic() + ANSWER_BOUND):
            answers.append(each)
            if len(answers) == len(requests):
                break
        if {opened(line)[0] for _, line in answers} != waiting.keys():
            raise Refused(f"{len(answers)} answers to {len(requests)} calls")
        return answers[-1][0] - began
