"""The programs that search: ripgrep, or Python where there is none; both killed in time."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream, Process

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files import scan
from surefoot_tools.files.text import visible

LARGEST_SEARCHED = 16 * 1024 * 1024
"""Bytes of the largest file that is searched."""
TIME_LIMIT = 30.0
"""Seconds that a search may take."""
_WIDTH = 500
"""Characters of a line that is shown; a longer one is cut around its match."""
_STDERR = 4096


@dataclass(frozen=True, slots=True)
class Query:
    """What to search for."""

    pattern: str
    """A regular expression, or a plain text."""
    regex: bool
    case: str
    glob: str | None
    context: int
    stdin: bool
    """Whether a single file comes on standard input."""

    @property
    def ignore_case(self) -> bool:
        """Smart case: a capital letter outside of escapes such as `\\S` makes case count."""
        if self.case == "smart":
            bare = re.sub(r"\\.", "", self.pattern) if self.regex else self.pattern
            return not any(character.isupper() for character in bare)
        return self.case == "insensitive"


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a program printed."""

    path: str
    """Below the directory searched; bytes that are not UTF-8 as lone surrogates."""
    line: int
    column: int | None
    """Of the match, in characters from 1; None for a line of context."""
    text: str


Parse = Callable[[bytes], Line | None]


def ripgrep_command(program: str, query: Query) -> list[str]:
    """The command line; a pattern that looks like an option is none."""
    command = [
        program,
        "--no-config",
        "--json",
        "--sort=path",
        "--no-messages",
        "--no-follow",
        "--no-require-git",
        "--no-ignore-global",
        f"--max-filesize={LARGEST_SEARCHED}",
        f"--context={query.context}",
        "--ignore-case" if query.ignore_case else "--case-sensitive",
    ]
    if not query.regex:
        command.append("--fixed-strings")
    if query.glob is not None:
        # --glob takes files in again that .gitignore leaves out; a type only narrows, but knows
        # nothing of directories.
        if "/" in query.glob or query.glob.startswith("!"):
            command.append(f"--glob={query.glob}")
        else:
            command += [f"--type-add=surefoot:{query.glob}", "--type=surefoot"]
    return [*command, "-e", query.pattern, "--", "-" if query.stdin else "./"]


def python_command(query: Query) -> list[str]:
    """The command line of the fallback, which sees nothing of the directory's own modules.

    Raises:
        ToolError: the pattern is no regular expression.
    """
    pattern = query.pattern if query.regex else re.escape(query.pattern)
    try:
        re.compile(pattern)
    except re.error as error:
        raise bad_pattern(str(error)) from error
    request = {
        "pattern": pattern,
        "ignore_case": query.ignore_case,
        "glob": query.glob,
        "context": query.context,
        "largest": LARGEST_SEARCHED,
        "stdin": query.stdin,
    }
    return [sys.executable, "-I", str(Path(scan.__file__)), json.dumps(request)]


def bad_pattern(reason: str) -> ToolError:
    """The pattern is no regular expression."""
    return ToolError(
        Code.INVALID_ARGUMENT,
        f"pattern: {visible(reason)[:1000]}",
        hint="escape special characters, or set regex to false to search for plain text; look-"
        "around and back references are not known",
    )


def parse_python(data: bytes) -> Line | None:
    """A line of `scan.py`."""
    found: dict[str, Any] = json.loads(data)
    return Line(found["path"], found["line"], found["column"], found["text"])


def parse_ripgrep(data: bytes) -> Line | None:
    """A line of `rg --json` (documented in the crate grep-printer, `JSON`); None for others."""
    message: dict[str, Any] = json.loads(data)
    if message["type"] not in ("match", "context"):
        return None
    found: dict[str, Any] = message["data"]
    path = os.fsdecode(_bytes(found["path"])).removeprefix("./")
    raw = _bytes(found["lines"])
    column = None
    begin = 0
    if message["type"] == "match":
        # An empty match of `$` has no place of its own on some lines: then it is the first.
        start = int(found["submatches"][0]["start"]) if found["submatches"] else 0
        column = len(raw[:start].decode(errors="replace")) + 1
        begin = max(0, column - 200)
    text = raw.decode(errors="replace").partition("\n")[0].removesuffix("\r")
    return Line(path, int(found["line_number"]), column, text[begin : begin + _WIDTH])


def _bytes(value: dict[str, str]) -> bytes:
    if "text" in value:
        return value["text"].encode()
    return base64.b64decode(value["bytes"])


async def output(
    command: list[str], directory: str | None, stdin: int | None, parse: Parse
) -> AsyncGenerator[Line, None]:
    """What a program finds, line by line; the program ends with the iteration, at the latest.

    Args:
        command: Program and arguments.
        directory: Where it starts.
        stdin: Descriptor of its standard input, None for nothing.
        parse: Reads a line of its output.

    Raises:
        ToolError: it cannot be started, or does not understand the pattern.
    """
    try:
        process = await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(
            Code.UNAVAILABLE, f"the search program cannot be started: {error.strerror}"
        ) from error
    try:
        if process.stdout is not None:
            async for data in _lines(process.stdout):
                found = parse(data)
                if found is not None:
                    yield found
        # Its messages on files are switched off: what is left is one complaint that fits the pipe.
        complaint = await _rest(process.stderr)
        if await process.wait() == 2 and complaint:
            raise bad_pattern(complaint)
    finally:
        await _end(process)


async def _lines(stream: ByteReceiveStream) -> AsyncIterator[bytes]:
    parts: list[bytes] = []
    async for chunk in stream:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join((*parts, line))
            parts.clear()
        parts.append(rest)


async def _rest(stream: ByteReceiveStream | None) -> str:
    data = b""
    if stream is not None:
        async for chunk in stream:
            data = (data + chunk)[:_STDERR]
    return data.decode(errors="replace").strip()


async def _end(process: Process) -> None:
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            # Its own session: the group is the program and whatever it started, and nothing else.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await process.aclose()
